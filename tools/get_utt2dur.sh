#!/usr/bin/env bash
# Write the duration of each utterance in seconds, without decoding the audio.
#
# Reads   <data-dir>/wav.scp, and segments if it exists; without wav.scp, feats.scp (frames times --frame-shift)
# Leaves  <data-dir>/utt2dur; unchanged if it already has all utterances. A segment that ends after its recording is cut
#         at its end, as in steps/make_fbank.sh
#
# Usage: tools/get_utt2dur.sh [options] <data-dir>
# e.g.: tools/get_utt2dur.sh data/train
set -euo pipefail
if ! [ -e path.sh ]; then
  echo "get_utt2dur.sh: error: no path.sh here; call it from the repository root" >&2
  exit 1
fi
. ./path.sh

# Options
nj=8                  # number of headers that are read at a time
cmd=                  # command that runs the job, such as "queue.pl", with a log in <data-dir>/log (default: run here)
frame_shift=0.01      # seconds; used if there are only features, and no fbank.yaml
allow_pipes=false     # true|false: run the commands in wav.scp (speed copies need none)
. tools/parse_options.sh

job=()
if [ -n "$cmd" ]; then
  read -ra job <<<"$cmd"
  job+=("$1/log/get_utt2dur.log")
fi
${job[@]+"${job[@]}"} tools/get_utt2dur.py "$1" --nj "$nj" --frame-shift "$frame_shift" --allow-pipes "$allow_pipes"
