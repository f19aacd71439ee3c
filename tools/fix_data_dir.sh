#!/usr/bin/env bash
# Repair a data dir: sort its files, drop empty and repeated lines, byte-order marks and DOS line ends, and keep only
# utterances that all files have.
#
# Reads   all of Kaldi's files that <data-dir> has
# Leaves  the repaired files, with the old ones in <data-dir>/.backup. If several lines have the same id, the first is
#         kept; ids whose lines contradict one another are reported. With --leave-out, the utterances of that list are
#         left out. A missing utt2spk is made from spk2utt; spk2utt is always made from utt2spk. utt2dur and
#         utt2num_frames are removed if they lack utterances, since they can be made again. trials/ does not change. If
#         no utterance would be left, nothing changes.
#
# Usage: tools/fix_data_dir.sh [options] <data-dir>
# e.g.: tools/fix_data_dir.sh data/train
#       tools/fix_data_dir.sh --leave-out data/train/check_data/faults data/train
set -euo pipefail
export LC_ALL=C
tools=$(dirname "${BASH_SOURCE[0]}")

# Options
utt_extra_files= # names of more files to filter by utterance
spk_extra_files= # names of more files to filter by speaker
leave_out=       # FILE: utterances to leave out, in its first column, such as the faults of steps/check_data.sh
# shellcheck source=tools/parse_options.sh
. "$tools/parse_options.sh"
# shellcheck source=tools/data_dir_lib.sh
. "$tools/data_dir_lib.sh"

dir=${1%/}
[ -d "$dir" ] || die "$dir is not a data dir; prepare it first (stage 1)"
[ -s "$dir/utt2spk" ] || [ -s "$dir/spk2utt" ] || die "$dir has neither utt2spk nor spk2utt; prepare it first (stage 1)"
if [ -n "$leave_out" ] && { [ ! -r "$leave_out" ] || [ -d "$leave_out" ]; }; then
  die "--leave-out $leave_out cannot be read; name a file with an utterance in each line"
fi
make_work_dir "$dir"

clean_table() { # <file>, to stdout: "id value" lines, sorted, one an id; lines without a value are left out
  sed -e '1s/^\xEF\xBB\xBF//' -e 's/\r$//' -e 's/^[[:blank:]]*//' -e 's/[[:blank:]]*$//' \
    -e 's/[[:blank:]]\{1,\}/ /' "$1" | awk 'NF > 1' |
    sort -s -t ' ' -k1,1 | contradicting=$work/.contradicting awk '
      { id = $1 "" }
      id != last { print; kept = $0 }
      id == last && $0 != kept && id != told { print id >ENVIRON["contradicting"]; told = id }
      { last = id }'
  if [ -e "$work/.contradicting" ]; then
    say "$1: ids whose lines contradict one another; of each the first line is kept: $(list_ids "$work/.contradicting")"
    rm "$work/.contradicting"
  fi
}

leave_out_utts() { # take those that --leave-out names from $work/.utts
  [ -n "$leave_out" ] || return 0
  awk 'NF { print $1 }' "$leave_out" | sort -u >"$work/.leave_out"
  filter_file "$work/.leave_out" "$work/.utts" "$work/.left_out"
  [ -s "$work/.left_out" ] || die "$leave_out has no utterance of $dir; is it of another data dir, or applied already?"
  "$tools/filter_scp.pl" --exclude "$work/.leave_out" "$work/.utts" >"$work/.kept"
  [ -s "$work/.kept" ] || die "$leave_out has all utterances of $dir; prepare it again"
  mv "$work/.kept" "$work/.utts"
  say "left out as in $leave_out: $(list_ids "$work/.left_out")"
}

check_trials() { # say which trial lists name utterances that are left out
  local list enroll
  for list in "$dir"/trials/*; do
    if [[ -f $list && -s $work/.left_out ]]; then
      enroll=$(clean_trials "$list" "$work/.clean")
      trial_ids "$work/.clean" "$enroll" >"$work/.named"
      filter_file "$work/.left_out" "$work/.named" "$work/.lost"
      if [ -s "$work/.lost" ]; then
        say "$list names $(list_ids "$work/.lost") of these; make it again, or leave their trials out"
      fi
    fi
  done
}

clean_all() { # from $dir into $clean
  local file
  for file in $(list_files all "$dir") $utt_extra_files $spk_extra_files; do
    case $file in
      fbank.yaml | frame_shift) cp "$dir/$file" "$clean/$file" ;;
      *) clean_table "$dir/$file" >"$clean/$file" ;;
    esac
  done
  if [ ! -s "$clean/utt2spk" ]; then
    "$tools/spk2utt_to_utt2spk.pl" "$clean/spk2utt" | sort >"$clean/utt2spk"
  fi
  bad=$(awk 'NF != 2 && !found { print; found = 1 }' "$clean/utt2spk")
  [ -z "$bad" ] || die "$dir/utt2spk: '${bad:0:80}' is not an utterance and a speaker; correct it"
}

common_utts() { # write to $work/.utts the utterances that all files of $clean have
  local file
  awk '{ print $1 }' "$clean/utt2spk" >"$work/.utts"
  if [[ -e $clean/segments && -e $clean/wav.scp ]]; then
    "$tools/filter_scp.pl" -f 2 "$clean/wav.scp" "$clean/segments" >"$work/.segments"
    mv "$work/.segments" "$clean/segments"
  fi
  for file in $(list_files utt "$clean"); do
    if [[ $file != utt2* ]]; then
      filter_file "$clean/$file" "$work/.utts" "$work/.common"
      mv "$work/.common" "$work/.utts"
      [ -s "$work/.utts" ] || die "$dir: no utterance is in $file and in all other files; are they of other data?"
    fi
  done
}

num_lines() { # <file>: print how many it has; 0 if it does not exist
  if [ -e "$1" ]; then
    awk 'END { print NR }' "$1"
  else
    echo 0
  fi
}

drop_incomplete() { # <file> <file that has its ids>: remove the first if it lacks any; both are in $fixed
  if [[ -e $fixed/$1 && -e $fixed/$2 && $(num_lines "$fixed/$1") -lt $(num_lines "$fixed/$2") ]]; then
    rm "$fixed/$1"
  fi
}

report_and_install() {
  local file changed=false
  for file in $({ list_files all "$dir" && list_files all "$fixed"; } | sort -u) $utt_extra_files $spk_extra_files; do
    if cmp -s "$dir/$file" "$fixed/$file"; then
      continue
    fi
    changed=true
    mkdir -p "$dir/.backup"
    if [ -e "$dir/$file" ]; then
      cp -p "$dir/$file" "$dir/.backup/$file"
    fi
    if [ -e "$fixed/$file" ]; then
      say "$dir/$file: $(num_lines "$fixed/$file") lines, was $(num_lines "$dir/$file")"
      mv -f "$fixed/$file" "$dir/$file"
    else
      say "$dir/$file: removed, as it was incomplete"
      rm -f "$dir/$file"
    fi
  done
  if [ "$changed" = true ]; then
    say "kept $(num_lines "$dir/utt2spk") utterances; the old files are in $dir/.backup"
  else
    say "nothing to repair in $dir: $(num_lines "$dir/utt2spk") utterances"
  fi
}

clean=$work/clean
fixed=$work/fixed
mkdir "$clean" "$fixed"
for file in $utt_extra_files $spk_extra_files; do
  [ -f "$dir/$file" ] || die "$dir/$file does not exist; leave it out of the extra files"
done
clean_all
common_utts
leave_out_utts
filter_data_dir "$clean" "$work/.utts" "$fixed"
for file in $utt_extra_files; do
  filter_file "$work/.utts" "$clean/$file" "$fixed/$file"
done
for file in $spk_extra_files; do
  filter_file "$fixed/spk2utt" "$clean/$file" "$fixed/$file"
done
for file in utt2num_frames utt2dur utt2uniq utt2lang; do
  drop_incomplete "$file" utt2spk
done
drop_incomplete reco2dur wav.scp
drop_incomplete reco2file_and_channel wav.scp
drop_incomplete cmvn.scp spk2utt
find "$fixed" -type f -empty -delete
report_and_install
check_trials
check_source "$dir"
