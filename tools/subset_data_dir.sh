#!/usr/bin/env bash
# Make a data dir of some utterances of another one: evenly spaced ones, unless an option says which.
#
# Reads   <src-dir>: all of Kaldi's files that it has, fbank.yaml, trials/
# Leaves  <dest-dir> with the same files; of trials/, the lists whose utterances are all still there
#
# Usage: tools/subset_data_dir.sh [options] <src-dir> <num-utt> <dest-dir>
#    or: tools/subset_data_dir.sh --spk-list FILE|--utt-list FILE <src-dir> <dest-dir>
# e.g.: tools/subset_data_dir.sh --per-spk data/train 10 data/train_10each
set -euo pipefail
export LC_ALL=C
tools=$(dirname "${BASH_SOURCE[0]}")

# Options
per_spk=false  # <num-utt> of each speaker, evenly spaced; all if a speaker has fewer
speakers=false # whole speakers, drawn at random until there are at least <num-utt> utterances
first=false    # the first <num-utt>
last=false     # the last <num-utt>
shortest=false # the shortest <num-utt>, by utt2num_frames or utt2dur
spk_list=      # speakers to keep, in the first column of this file
utt_list=      # utterances to keep, in the first column of this file
seed=0         # seed of --speakers
# shellcheck source=tools/parse_options.sh
. "$tools/parse_options.sh"
# shellcheck source=tools/data_dir_lib.sh
. "$tools/data_dir_lib.sh"

modes=()
[ "$per_spk" = false ] || modes+=(--per-spk)
[ "$speakers" = false ] || modes+=(--speakers)
[ "$first" = false ] || modes+=(--first)
[ "$last" = false ] || modes+=(--last)
[ "$shortest" = false ] || modes+=(--shortest)
[ -z "$spk_list" ] || modes+=(--spk-list)
[ -z "$utt_list" ] || modes+=(--utt-list)
[ ${#modes[@]} -le 1 ] || usage_error "only one of ${modes[*]} at a time"
mode=${modes[0]:-evenly}
list=$spk_list$utt_list
known=utt2spk # has the ids that the list may name
[ -z "$spk_list" ] || known=spk2utt
src=${1%/}
dest=${*: -1}
dest=${dest%/}
num_utt=0
if [[ $mode == *-list ]]; then
  [ $# -eq 2 ] || usage_error "with $mode, the arguments are <src-dir> <dest-dir>"
  if [ ! -r "$list" ] || [ -d "$list" ]; then
    die "$list cannot be read; name a file with an id in each line"
  fi
else
  [ $# -eq 3 ] || usage_error "expected <src-dir> <num-utt> <dest-dir>"
  num_utt=$2
  [[ $num_utt =~ ^[1-9][0-9]{0,11}$ ]] || usage_error "<num-utt> is a whole number from 1, not '$num_utt'"
fi
check_target "$dest" "$src"
check_source "$src"
total=$(awk 'END { print NR }' "$src/utt2spk")
if [[ $mode != --per-spk && $num_utt -gt $total ]]; then
  die "$src has $total utterances, not $num_utt; ask for fewer"
fi

# Is i one of n numbers spaced evenly from 1 to total?
evenly='function share(i, n, total) { return int((2 * i - 1) * n / (2 * total) + 0.5) }
  function chosen(i, n, total) { return n >= total || share(i, n, total) > share(i - 1, n, total) }'

shuffled_speakers() { # "spk number-of-utterances", in an order that the seed decides
  awk '{ print $1, NF - 1 }' "$src/spk2utt" |
    perl -MList::Util=shuffle -e 'srand shift; print shuffle <STDIN>' "$seed"
}

durations() { # "utt length"
  local file
  for file in utt2num_frames utt2dur; do
    if [ -e "$src/$file" ]; then
      cat "$src/$file"
      return
    fi
  done
  die "$src has neither utt2num_frames nor utt2dur; run tools/get_utt2dur.sh $src"
}

choose() { # lines that begin with the utterances, in any order
  case $mode in
    --per-spk)
      awk -v n="$num_utt" "$evenly"' { for (i = 1; i < NF; i++) if (chosen(i, n, NF - 1)) print $(i + 1) }' \
        "$src/spk2utt"
      ;;
    --speakers)
      shuffled_speakers | awk -v n="$num_utt" 'sum < n { print $1 } { sum += $2 }' >"$work/.speakers"
      "$tools/filter_scp.pl" -f 2 "$work/.speakers" "$src/utt2spk"
      ;;
    --first) awk -v n="$num_utt" 'NR <= n' "$src/utt2spk" ;;
    --last) awk -v n="$num_utt" -v total="$total" 'NR > total - n' "$src/utt2spk" ;;
    --shortest) durations | sort -s -k2,2g | awk -v n="$num_utt" 'NR <= n' ;;
    --spk-list) "$tools/filter_scp.pl" -f 2 "$work/.list" "$src/utt2spk" ;;
    --utt-list) "$tools/filter_scp.pl" "$work/.list" "$src/utt2spk" ;;
    evenly) awk -v n="$num_utt" -v total="$total" "$evenly"' chosen(NR, n, total)' "$src/utt2spk" ;;
  esac
}

make_work_dir "$dest"
[ -z "$list" ] || cat "$list" >"$work/.list" # which may be a pipe, as <(...) is
choose | awk '{ print $1 }' | sort -u >"$work/.utts"
[ -s "$work/.utts" ] || die "$src has none of the ids in $list; are they from another data dir?"
if [ -n "$list" ]; then
  "$tools/filter_scp.pl" --exclude "$src/$known" "$work/.list" >"$work/.unknown"
  if [ -s "$work/.unknown" ]; then
    say "$list names $(list_ids "$work/.unknown") that are not in $src"
  fi
fi
filter_data_dir "$src" "$work/.utts" "$work"
rebase_scps "$src" "$work" "$dest"
install_data_dir "$work" "$dest"
copy_trials "$src" "$dest" "$work/.utts"
say "$dest has $(awk 'END { print NR }' "$work/.utts") of the $total utterances of $src"
