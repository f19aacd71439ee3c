#!/usr/bin/env bash
# Compute Kaldi's energy VAD in nj jobs: a float vector for each utterance of a data dir, 1 for frames of speech, else 0.
#
# Reads   <data-dir>/wav.scp, segments if there are, fbank.yaml if there is (frame length and shift)
# Leaves  <data-dir>/vad.scp, <ark-dir>/vad.JOB.{ark,scp}, log/compute_vad_decision.JOB.log
#
# Kaldi takes the log energy from C0 of its MFCC. Fbank has none, so it is computed from the waveform as Kaldi's
# --use-energy --raw-energy does: the logarithm of a frame's sum of squares on 16-bit scale, mean removed, before
# pre-emphasis and window, without dither. A vector has as many values as the features have frames. After a kill, a run
# with the same nj keeps the finished parts. A complete vad.scp is not made again.
#
# Usage: steps/compute_vad_decision.sh [options] <data-dir> [<ark-dir>]
#    or: steps/compute_vad_decision.sh [options] <data-dir> <log-dir> <ark-dir>
# e.g.: steps/compute_vad_decision.sh --nj 8 --vad-energy-threshold 5.5 data/train fbank/train
#       (<ark-dir> is for one data dir only; default: <data-dir>/fbank; <log-dir>: <ark-dir>/log)
set -euo pipefail
[ -e path.sh ] || { echo "compute_vad_decision.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options (the defaults are those of Kaldi's compute-vad; its VoxCeleb recipe has 5.5, 0.5, 2 and 0.12)
vad_energy_threshold=5.0        # a frame is loud if its log energy is above this,
vad_energy_mean_scale=0.5       #   plus this times the utterance's mean log energy
vad_frames_context=0            # number of frames to either side that vote on a frame
vad_proportion_threshold=0.6    # it is speech if at least this share of the votes is loud
vad_config=                     # FILE: Kaldi's conf/vad.conf; the four options above override its lines
config=                         # FILE: YAML of a system, for frame length and shift if there is no fbank.yaml
allow_pipes=false               # true|false: run the commands in wav.scp (speed copies need none)
. steps/options/jobs.sh
nj=4
. tools/parse_options.sh
. tools/guard.sh
. tools/run_parts.sh

find_arks "$@"
args=("$data" "$ark_dir" --allow-pipes "$allow_pipes")
if [ -n "$vad_config" ]; then
  args+=(--vad-config "$vad_config")
fi
declare -A settings=([energy_threshold]=$vad_energy_threshold [energy_mean_scale]=$vad_energy_mean_scale
  [frames_context]=$vad_frames_context [proportion_threshold]=$vad_proportion_threshold)
for name in "${!settings[@]}"; do
  if [ -z "$vad_config" ] || is_given "vad_$name"; then
    args+=("--${name//_/-}" "${settings[$name]}")
  fi
done
if [ -n "$config" ]; then
  args+=(--config "$config")
fi
before_jobs=(tools/validate_data_dir.sh --no-text --no-feats "$data")
run_parts "$log_dir/compute_vad_decision.JOB.log" steps/compute_vad_decision.py "${args[@]}"
