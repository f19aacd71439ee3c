#!/usr/bin/env bash
# Copy a data dir, with a prefix or suffix for its utterances and speakers if asked; --speaker-prefix renames
# utterances that do not sort as their speakers do.
#
# Reads   <src-dir>: all of Kaldi's files that it has, fbank.yaml, trials/
# Leaves  <dest-dir> with the same files, ids renamed in all of them and sorted again; if utterances are renamed, also
#         utt2uniq (new id, old id). Arks and audio are not copied. Nothing is left if the result is not valid, for
#         example if the new ids and their speakers sort differently (validate_data_dir.sh).
#
# Usage: tools/copy_data_dir.sh [options] <src-dir> <dest-dir>
# e.g.: tools/copy_data_dir.sh --spk-prefix=far- --utt-prefix=far- data/train data/train_far
set -euo pipefail
export LC_ALL=C
tools=$(dirname "${BASH_SOURCE[0]}")

# Options
spk_prefix=    # prefix of each speaker
spk_suffix=    # suffix of each speaker
utt_prefix=    # prefix of each utterance
speaker_prefix=false # true|false: put its speaker before each utterance, so that utterances sort as their speakers do
utt_suffix=    # suffix of each utterance
validate_opts= # options of validate_data_dir.sh, such as "--no-spk-sort"
# shellcheck source=tools/parse_options.sh
. "$tools/parse_options.sh"
# shellcheck source=tools/data_dir_lib.sh
. "$tools/data_dir_lib.sh"

src=${1%/}
dest=${2%/}
read -ra checks <<<"$validate_opts"
if [[ $spk_prefix$spk_suffix$utt_prefix$utt_suffix == *[[:space:]]* ]]; then
  refuse "a prefix or suffix contains a blank; ids cannot, give another"
fi
check_target "$dest" "$src"
check_source "$src"
make_work_dir "$dest"

if [ "$speaker_prefix" = true ]; then
  [ -z "$utt_prefix" ] || usage_error "--speaker-prefix and --utt-prefix both put something before an utterance"
  between=-
  if ! awk '{ print $1 }' "$src/spk2utt" | sort | sed 's/$/-/' | sort -c 2>/dev/null; then
    between='#' # "-" comes after some characters of ids: a-b/... is before a-x, but speaker a before a-b
  fi
  utt_prefix=$(realpath "$work")/.prefixes
  awk -v between="$between" '{ print $1, $2 between }' "$src/utt2spk" >"$utt_prefix"
fi
rename_data_dir "$src" "$work"
rebase_scps "$src" "$work" "$dest"
for file in $(list_files other "$src"); do
  cp "$src/$file" "$work/$file"
done
check_result "$work" "$dest" ${checks[@]+"${checks[@]}"}
install_data_dir "$work" "$dest"
copy_trials "$src" "$dest" "$src/utt2spk" "$utt_prefix" "$utt_suffix"
say "copied $src to $dest"
