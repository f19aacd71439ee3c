#!/usr/bin/env bash
# Check the audio of data dirs, decoding every file to its end, and print a table of hours, speakers and utterances.
#
# Reads   <data-dir>/{wav.scp,utt2spk}, segments if there is one, and all audio
# Leaves  the table on stdout and in <first data-dir>/check_data/table; check_data/log/*.log; in each data dir with
#         faults check_data/faults, one a line: the utterance, what is wrong and what to do
#
# Each fault gives a line, and exit status 1. Faults are files that are missing, unreadable, truncated, longer than
# their header says, of another rate, with several channels, shorter than a frame, or silent; ids that come twice or are
# not in both tables; audio of two speakers; speakers named as speed copies of others; speakers of the first data-dir
# (training) in another one (test); with --find-duplicates, utterances with the same samples as another. To leave these
# utterances out: tools/fix_data_dir.sh --leave-out <data-dir>/check_data/faults <data-dir>. After a kill, a run with
# the same nj keeps the finished parts.
#
# Usage: steps/check_data.sh [options] <data-dir> ...
# e.g.: steps/check_data.sh --nj 16 data/vox2_dev data/vox1
set -euo pipefail
[ -e path.sh ] || { echo "check_data.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
sample_rate=16000     # Hz, of all files
config=               # FILE: YAML of a system, whose sample rate is used instead
min_duration=0.025    # seconds; a shorter utterance is a fault
find_duplicates=false # true|false: also find utterances with the same samples
once=false            # true|false: skip the check if these tables were checked with these options and had no fault
allow_pipes=false     # true|false: run commands in wav.scp
. steps/options/jobs.sh
nj=4
. tools/parse_options.sh
. tools/guard.sh
. tools/run_parts.sh

args=("$@" --sample-rate "$sample_rate" --min-duration "$min_duration" --find-duplicates "$find_duplicates"
  --allow-pipes "$allow_pipes" --once "$once")
if [ -n "$config" ]; then
  args+=(--config "$config")
fi
run_parts "$1/check_data/log/check.JOB.log" steps/check_data.py "${args[@]}"
if [ "$num_jobs" -eq 0 ]; then
  cat "$1/check_data/table"
fi
