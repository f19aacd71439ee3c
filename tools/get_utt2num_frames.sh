#!/usr/bin/env bash
# Write the number of frames of each utterance, from the headers of the archives; without features, from durations.
#
# Reads   <data-dir>/feats.scp and 32 bytes of each matrix, else utt2dur
# Leaves  <data-dir>/utt2num_frames; unchanged if it already has all utterances of feats.scp (or utt2dur)
#
# Usage: tools/get_utt2num_frames.sh [options] <data-dir>
# e.g.: tools/get_utt2num_frames.sh data/train
set -euo pipefail
if ! [ -e path.sh ]; then
  echo "get_utt2num_frames.sh: error: no path.sh here; call it from the repository root" >&2
  exit 1
fi
. ./path.sh

# Options
nj=8                  # number of headers that are read at a time
cmd=                  # command that runs the job, such as "queue.pl", with a log in <data-dir>/log (default: run here)
frame_shift=0.01      # seconds; used if there are no features
frame_overlap=0.015   # seconds that a frame shares with the next; used if there are no features
. tools/parse_options.sh

job=()
if [ -n "$cmd" ]; then
  read -ra job <<<"$cmd"
  job+=("$1/log/get_utt2num_frames.log")
fi
${job[@]+"${job[@]}"} tools/get_utt2num_frames.py "$1" --nj "$nj" \
  --frame-shift "$frame_shift" --frame-overlap "$frame_overlap"
