#!/usr/bin/env bash
# Lists of noise and impulse responses for augmentation: MUSAN and RIRS_NOISES, or what local/make_noises.py and
# local/make_rirs.py make up where these are not at hand.
#
# Reads   <speech-data>, to mix babble of where there is no MUSAN
# Leaves  <noise-data>/wav.scp (noise/..., music/..., speech/...), <reverb-data>/wav.scp (rir/...)
#
# Usage: local/prepare_augmentation.sh [options] <speech-data> <noise-data> <reverb-data>
# e.g.: local/prepare_augmentation.sh --musan corpora/musan --rirs corpora/RIRS_NOISES data/train data/noises data/rirs
set -euo pipefail
. ./path.sh

# Options
musan=                # DIR: MUSAN; empty: coloured noise, and babble of <speech-data>
rirs=                 # DIR: RIRS_NOISES; empty: rooms by the image method
config=               # FILE: YAML of a system, whose sample rate what is made up gets (default: 16 kHz)
. tools/parse_options.sh

if [ -n "$musan" ]; then
  local/prepare_musan.py --musan "$musan" "$2"
else
  local/make_noises.py --speech "$1" ${config:+--config "$config"} "$2"
fi
if [ -n "$rirs" ]; then
  local/prepare_rirs.py --rirs "$rirs" "$3"
else
  local/make_rirs.py ${config:+--config "$config"} "$3"
fi
