#!/usr/bin/env bash
# Make lists of noise and impulse responses for augmentation: of MUSAN and RIRS_NOISES, or of synthetic files
# (local/make_noises.py, local/make_rirs.py) where you do not have them.
#
# Reads   <speech-data>, whose speech is mixed to babble if there is no MUSAN
# Writes  <noise-data>/wav.scp (noise/..., music/..., speech/...), <reverb-data>/wav.scp (rir/...)
#
# Usage: local/prepare_augmentation.sh [options] <speech-data> <noise-data> <reverb-data>
# e.g.: local/prepare_augmentation.sh --musan corpora/musan --rirs corpora/RIRS_NOISES data/train data/noises data/rirs
set -euo pipefail
. ./path.sh

# Options
musan=                # DIR: MUSAN; empty: synthetic noise, and babble of <speech-data>
noises=               # DIR: recordings of noise, where there is no MUSAN; babble of <speech-data>
rirs=                 # DIR: RIRS_NOISES; empty: synthetic rooms
config=               # FILE: YAML of a system; synthetic files get its sample rate (default: 16 kHz)
. tools/parse_options.sh

if [ -n "$musan" ]; then
  local/prepare_musan.py --musan "$musan" "$2"
elif [ -n "$noises" ]; then
  local/prepare_musan.py --add noise="$noises" --speech "$1" "$2"
else
  local/make_noises.py --speech "$1" ${config:+--config "$config"} "$2"
fi
if [ -n "$rirs" ]; then
  local/prepare_rirs.py --rirs "$rirs" "$3"
else
  local/make_rirs.py ${config:+--config "$config"} "$3"
fi
