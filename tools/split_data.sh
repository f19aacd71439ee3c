#!/usr/bin/env bash
# Split a data dir into smaller data dirs, for parallel jobs.
#
# Reads   <data-dir>: all of Kaldi's files that it has
# Leaves  <data-dir>/split<N>/{1..N}/, or split<N>utt/ with --per-utt. Made again only if a file has changed since.
#
# Usage: tools/split_data.sh [options] <data-dir> <num-parts>
# e.g.: tools/split_data.sh --per-utt data/train 40
set -euo pipefail
export LC_ALL=C
tools=$(dirname "${BASH_SOURCE[0]}")

# Options
per_utt=false # true|false: parts have equal numbers of utterances, and may share a speaker
# shellcheck source=tools/parse_options.sh
. "$tools/parse_options.sh"
# shellcheck source=tools/data_dir_lib.sh
. "$tools/data_dir_lib.sh"

dir=${1%/}
num_parts=$2
[[ $num_parts =~ ^[1-9][0-9]{0,5}$ ]] || usage_error "<num-parts> is a whole number from 1, not '$num_parts'"
[ -d "$dir" ] || die "$dir is not a data dir; prepare it first (stage 1)"
target=$dir/split$num_parts
unit=spk
if [ "$per_utt" = true ]; then
  target+=utt
  unit=utt
fi

state() { # print the names, sizes and times of the files of the data dir
  (cd "$dir" && list_files all . | xargs -r stat -c '%n %s %.9Y %i')
}

up_to_date() {
  [ -e "$target/.done" ] && [ "$(cat "$target/.done")" = "$1" ]
}

before=$(state)
if up_to_date "$before"; then
  exit 0
fi
check_source "$dir"
make_work_dir "$dir"
mkdir "$work/split"
mapfile -t per_utt_files < <(list_files utt "$dir")
mapfile -t per_spk_files < <(list_files spk "$dir")
"$tools/split_data.pl" "$dir" "$work/split" "$num_parts" "$unit" utt2spk ${per_utt_files[@]+"${per_utt_files[@]}"}
for ((part = 1; part <= num_parts; part++)); do
  out=$work/split/$part
  make_spk2utt "$out"
  for file in ${per_spk_files[@]+"${per_spk_files[@]}"}; do
    filter_file "$out/spk2utt" "$dir/$file" "$out/$file"
  done
  recordings=$out/utt2spk
  if [ -e "$out/segments" ]; then
    recordings=$work/.recordings
    awk '{ print $2 }' "$out/segments" | sort -u >"$recordings"
  fi
  for file in $(list_files reco "$dir"); do
    filter_file "$recordings" "$dir/$file" "$out/$file"
  done
  for file in $(list_files other "$dir"); do
    cp "$dir/$file" "$out/$file"
  done
  rebase_scps "$dir" "$out" # absolute paths, which serve scripts for Kaldi as well
done
printf '%s\n' "$before" >"$work/split/.done"
if [ "$(state)" != "$before" ]; then
  die "$dir changed while it was split; run this again"
fi
if [ -e "$target" ]; then
  mv -T "$target" "$work/old"
fi
if ! mv -T "$work/split" "$target" 2>/dev/null && ! up_to_date "$before"; then
  die "cannot make $target"
fi
