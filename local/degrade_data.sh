#!/usr/bin/env bash
# Make degraded copies of test sets (local/degrade_data.py), with features, one for each condition:
#
#   noise5      in noise at an SNR of 5 dB         room   in a synthetic room
#   telephone   over a telephone line              2s     cut to 2 s
#
# Reads   <test-data> with trials/; --noises: recordings of noise
# Leaves  <test-data>_<condition> with features and trial lists such as O_noise5.kaldi
#         <work-dir>/{test_noises,test_rirs}: what was added
#
# Usage: local/degrade_data.sh [options] <work-dir> <test-data>...
# e.g.: local/degrade_data.sh --conditions "noise5 2s" data data/test
set -euo pipefail
[ -e path.sh ] || { echo "degrade_data.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
conditions=           # as in "noise0 noise5 room telephone 2s"
noises=               # DIR: recordings of noise (default: synthetic, of another seed than that of trainings)
config=               # FILE: YAML of a system, to use its features (default: 16 kHz, 80 bins)
. steps/options/jobs.sh
nj=2
. tools/parse_options.sh

work=$1
shift
config=(${config:+--config "$config"})
for condition in $conditions; do
  case $condition in
    noise*)
      if [ -n "$noises" ]; then
        local/prepare_musan.py --add noise="$noises" "$work/test_noises"
      else
        local/make_noises.py --seed 2 "${config[@]}" "$work/test_noises"
      fi
      how=(--noises "$work/test_noises" --snr "${condition#noise}")
      ;;
    room)
      local/make_rirs.py --seed 2 "${config[@]}" "$work/test_rirs"
      how=(--rirs "$work/test_rirs")
      ;;
    telephone) how=(--telephone true) ;;
    *[0-9]s) how=(--seconds "${condition%s}") ;;
    *) refuse "--conditions $condition: give noise<dB>, room, telephone or <seconds>s, as in noise5 and 2s" ;;
  esac
  for test in "$@"; do
    local/degrade_data.py "${how[@]}" "${config[@]}" "$test" "$condition" "${test}_$condition"
    steps/make_fbank.sh --nj "$nj" --cmd "$cmd" "${config[@]}" "${test}_$condition"
  done
done
