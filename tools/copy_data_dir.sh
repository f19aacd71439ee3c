#!/usr/bin/env bash
# Copy a data dir, with other utterance and speaker ids if asked.
#
# Reads   <src-dir>, all of Kaldi's files there are, fbank.yaml, trials/
# Leaves  <dest-dir> with the same files, ids renamed in all of them and everything sorted again; where utterances are
#         renamed also utt2uniq (new id, old id). Arks and audio are not copied. Nothing is left if the result is not
#         valid, as when the new ids sort otherwise than their speakers (validate_data_dir.sh says what it checks).
#
# Usage: tools/copy_data_dir.sh [options] <src-dir> <dest-dir>
# e.g.: tools/copy_data_dir.sh --spk-prefix=far- --utt-prefix=far- data/train data/train_far
set -euo pipefail
export LC_ALL=C
tools=$(dirname "${BASH_SOURCE[0]}")

# Options
spk_prefix=    # put before each speaker
spk_suffix=    # put behind each speaker
utt_prefix=    # put before each utterance
utt_suffix=    # put behind each utterance
validate_opts= # for validate_data_dir.sh, such as "--no-spk-sort"
# shellcheck source=tools/parse_options.sh
. "$tools/parse_options.sh"
# shellcheck source=tools/data_dir_lib.sh
. "$tools/data_dir_lib.sh"

src=${1%/}
dest=${2%/}
read -ra checks <<<"$validate_opts"
if [[ $spk_prefix$spk_suffix$utt_prefix$utt_suffix == *[[:space:]]* ]]; then
  die "a prefix or suffix with a blank in it; ids have none"
fi
check_target "$dest" "$src"
check_source "$src"
make_work_dir "$dest"

rename_data_dir "$src" "$work"
for file in $(list_files other "$src"); do
  cp "$src/$file" "$work/$file"
done
check_result "$work" "$dest" ${checks[@]+"${checks[@]}"}
install_data_dir "$work" "$dest"
copy_trials "$src" "$dest" "$src/utt2spk" "$utt_prefix" "$utt_suffix"
say "copied $src to $dest"
