#!/usr/bin/env bash
# Make a data dir without labels from another one, with or without labels. Each utterance becomes a speaker of its own.
#
# Reads   <src-dir>: wav.scp, and segments if there are; or feats.scp. utt2spk is not needed, and no label is read
# Leaves  <dest-dir> with the same files, except those of speakers and transcripts. Without <dest-dir>, it only checks
#         that there are at least two utterances
#
# Usage: tools/unlabel_data_dir.sh [options] <src-dir> [<dest-dir>]
# e.g.: tools/unlabel_data_dir.sh --exclude data/train data/calls data/calls_unlabelled
set -euo pipefail
export LC_ALL=C
tools=$(dirname "${BASH_SOURCE[0]}")

# Options
exclude=      # DIR: a data dir whose utterances and recordings are left out, such as that of the labelled speakers
apart_from=   # DIR: data dir that should share nothing with this one, such as the test set; if it does, print a warning
# shellcheck source=tools/parse_options.sh
. "$tools/parse_options.sh"
# shellcheck source=tools/data_dir_lib.sh
. "$tools/data_dir_lib.sh"

src=${1%/}
dest=${2:-}
dest=${dest%/}
check_target "$dest" "$src"
[ -d "$src" ] || die "$src is not a data dir; give a folder with wav.scp, and segments if there are"

list= # the file that names the utterances
for file in feats.scp wav.scp segments; do
  [ ! -e "$src/$file" ] || list=$src/$file
done
[ -n "$list" ] || die "$src has no wav.scp; list its recordings: 'utterance file'"
[ -z "$exclude" ] || [ -e "$exclude/utt2spk" ] ||
  die "$exclude has no utt2spk; give the data dir of the labelled speakers"

without_labels() { # print the utterances that are not in --exclude, sorted
  awk '{ print $1 }' "$list" | sort -u | comm -23 - <([ -z "$exclude" ] || labelled | sort -u)
}

labelled() { # print the utterances of --exclude, and those of <src-dir> with the same audio
  awk '{ print $1 }' "$exclude/utt2spk"
  if [ -e "$exclude/wav.scp" ] && [ -e "$src/wav.scp" ]; then
    awk -F '\t' 'NR == FNR { any[$2]; if (NF == 2) whole[$2]; else segment[$2, $3]; next }
      $2 in whole || (NF == 2 && $2 in any) || (NF == 3 && ($2, $3) in segment) { print $1 }' \
      <(audio_of "$exclude") <(audio_of "$src") # other segments of a recording may be other speakers
  fi
}

audio_of() { # <data-dir>: print each utterance, its file or command, and the times of a segment, between tabs
  if [ -e "$1/segments" ]; then
    awk 'NR == FNR { id = $1; sub(/^[^ \t]+[ \t]+/, ""); file[id] = $0; next }
      { printf "%s\t%s\t%.3f %.3f\n", $1, file[$2], $3, $4 }' "$1/wav.scp" "$1/segments"
  else
    sed -E 's/^([^[:space:]]+)[[:space:]]+/\1\t/' "$1/wav.scp"
  fi
}

warn_of_shared() { # <what> <sorted file> <sorted file>: warn of lines that are in both
  comm -12 "$2" "$3" >"$work/.shared"
  if [ -s "$work/.shared" ]; then
    say "warning: $src and $apart_from share $1: $(list_ids "$work/.shared"); tests on $apart_from will be optimistic"
  fi
}

recordings() { # <data-dir>: print the files or commands of its recordings, sorted
  if [ -e "$1/wav.scp" ]; then
    sed -E 's/^[^[:space:]]+[[:space:]]+//' "$1/wav.scp" | sort -u
  fi
}

speakers() { # <data-dir>: print its speakers, sorted
  if [ -e "$1/utt2spk" ]; then
    awk '{ print $2 }' "$1/utt2spk" | sort -u
  fi
}

count=$(without_labels | wc -l)
((count > 0)) || die "$src has no utterance${exclude:+ that is not in $exclude}; give recordings without labels"
((count > 1)) || die "$src has one utterance${exclude:+ that is not in $exclude}; give at least two to cluster"
[ -n "$dest" ] || exit 0
make_work_dir "$dest"
without_labels >"$work/.utts"
left_out=$(($(awk '{ print $1 }' "$list" | sort -u | wc -l) - count))
((left_out == 0)) || say "$left_out utterances of $src are left out: they or their audio are in $exclude"
if [ -n "$apart_from" ]; then
  awk '{ print $1 }' "$apart_from/utt2spk" | sort -u >"$work/.theirs"
  warn_of_shared utterances "$work/.utts" "$work/.theirs"
  for kind in recordings speakers; do
    "$kind" "$src" >"$work/.ours"
    "$kind" "$apart_from" >"$work/.theirs"
    warn_of_shared "$kind" "$work/.ours" "$work/.theirs"
  done
fi
awk '{ print $1, $1 }' "$work/.utts" >"$work/utt2spk"
make_spk2utt "$work"
ids=$work/.utts
for file in $(list_files utt "$src"); do
  case $file in
    text | utt2spk_true) ;;
    *) filter_file "$work/.utts" "$src/$file" "$work/$file" ;;
  esac
done
if [ -e "$work/segments" ]; then
  awk '{ print $2 }' "$work/segments" | sort -u >"$work/.recordings"
  ids=$work/.recordings
fi
for file in $(list_files reco "$src"); do
  filter_file "$ids" "$src/$file" "$work/$file"
done
for file in $(list_files other "$src"); do
  cp "$src/$file" "$work/$file"
done
rebase_scps "$src" "$work" "$dest"
check_result "$work" "$dest"
install_data_dir "$work" "$dest"
say "$dest has $count utterances without labels"
