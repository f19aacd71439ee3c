#!/usr/bin/env bash
# Number of feature frames of each utterance, from the headers of the archives.
#
# Reads   <data-dir>/feats.scp and 32 bytes of each matrix
# Leaves  <data-dir>/utt2num_frames; left alone where it already has all utterances of feats.scp
#
# Usage: tools/get_utt2num_frames.sh [options] <data-dir>
# e.g.: tools/get_utt2num_frames.sh data/train
set -euo pipefail
if ! [ -e path.sh ]; then
  echo "get_utt2num_frames.sh: error: no path.sh in $PWD; run it from the root of the repository" >&2
  exit 1
fi
. ./path.sh

# Options
nj=8                  # headers read at a time
. tools/parse_options.sh

tools/get_utt2num_frames.py "$1" --nj "$nj"
