#!/usr/bin/env bash
# Check the audio of data dirs, decoding every file to its end, and print a table of hours, speakers and utterances.
#
# Reads   <data-dir>/{wav.scp,utt2spk}, segments where there is one, and all audio
# Leaves  the table on stdout and in <first data-dir>/check_data/table; check_data/log/*.log; check_data/faults if there are faults
#
# Faults, each a line, and exit status 1: files that are missing, unreadable, truncated, of another rate, with several
# channels, shorter than a frame, or silent; ids that come twice or are not in both tables; speakers of the first
# data-dir (training) in another one (test); with --find-duplicates, utterances with the same samples as another.
#
# Usage: steps/check_data.sh [options] <data-dir> ...
# e.g.: steps/check_data.sh --nj 16 data/vox2_dev data/vox1
set -euo pipefail
if ! [ -e path.sh ]; then
  echo "check_data.sh: error: no path.sh in $PWD; run it from the root of the repository" >&2
  exit 1
fi
. ./path.sh

# Options
nj=4                  # parts, each a job
cmd="${SV_CMD:-run.pl}" # how jobs run; run.pl: on this machine (docs/cluster.md)
sample_rate=16000     # Hz, of all files
config=               # FILE: YAML of a system, whose sample rate it is then
min_duration=0.025    # seconds; what is shorter is a fault
find_duplicates=false # true|false: compare the samples of all utterances, too
once=false            # true|false: no second time, as long as tables and options are those that had no fault
allow_pipes=false     # true|false: run commands in wav.scp
. tools/parse_options.sh
. tools/guard.sh

checks=(--sample-rate "$sample_rate" --min-duration "$min_duration" --find-duplicates "$find_duplicates")
if [ -n "$config" ]; then
  checks+=(--config "$config")
fi
num_parts=$(steps/check_data.py begin --num-parts "$nj" --once "$once" "${checks[@]}" "$@")
if [ "$num_parts" -eq 0 ]; then
  say "$* have been checked already"
  cat "$1/check_data/table"
  exit 0
fi
$cmd JOB=1:"$num_parts" "$1/check_data/log/check.JOB.log" \
  steps/check_data.py part --part JOB --num-parts "$num_parts" "${checks[@]}" --allow-pipes "$allow_pipes" "$@"
steps/check_data.py report --num-parts "$num_parts" "${checks[@]}" "$@"
