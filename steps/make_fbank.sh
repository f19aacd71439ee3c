#!/usr/bin/env bash
# Compute log-mel filter banks of a data dir's utterances, in nj jobs: two bytes per value (Kaldi's CM2), without mean
# subtraction.
#
# Reads   <data-dir>/wav.scp, segments if there are (16-bit scale, hamming window, 80 bins; --config sets others)
# Leaves  <data-dir>/{feats.scp,utt2num_frames,utt2dur,fbank.yaml}, <ark-dir>/fbank.JOB.{ark,scp}, log/*.JOB.log;
#         with --augment also <data-dir>/utt2augment, the augmentation of each utterance ("noise 7.31 noise/0012.wav")
#
# fbank.yaml holds the settings. nj does not change the features: dither and augmentation are seeded by utterance. After
# a kill, a run with the same nj keeps the finished parts. Complete features are kept; after a change of settings, of
# wav.scp or of segments they are made again.
#
# Usage: steps/make_fbank.sh [options] <data-dir> [<ark-dir>]
#    or: steps/make_fbank.sh [options] <data-dir> <log-dir> <ark-dir>
# e.g.: steps/make_fbank.sh --nj 8 --dither true data/train fbank/train
#       (<ark-dir> is for one data dir only; default: <data-dir>/fbank; <log-dir>: <ark-dir>/log)
set -euo pipefail
[ -e path.sh ] || { echo "make_fbank.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
config=               # FILE: YAML of a system; its dataset_args.fbank_args are used (default: those of sv/config.py)
dither=false          # true|false: add fbank_args.dither of noise; for training features only
augment=              # reverb, noise, music, babble or mixed: augment the audio (of a copy by tools/augment_data_dir.sh)
noise_data=           # DIR: noise for the augmentation, as local/prepare_musan.py or local/make_noises.py leave it
reverb_data=          # DIR: impulse responses for reverb, from local/prepare_rirs.py or local/make_rirs.py
allow_pipes=false     # true|false: run the commands in wav.scp (speed copies need none)
verify=false          # true|false: compare existing archives by checksum, not only by size
. steps/options/jobs.sh
nj=4
. tools/parse_options.sh
. tools/guard.sh
. tools/run_parts.sh

find_arks "$@"
args=("$data" "$ark_dir" --dither "$dither" --allow-pipes "$allow_pipes" --verify "$verify")
if [ -n "$config" ]; then
  args+=(--config "$config")
fi
if [ -n "$augment" ]; then
  args+=(--augment "$augment" --noise-data "$noise_data" --reverb-data "$reverb_data")
fi
before_jobs=(tools/validate_data_dir.sh --no-text --no-feats "$data")
run_parts "$log_dir/make_fbank.JOB.log" steps/make_fbank.py "${args[@]}"
if [ "$num_jobs" -gt 0 ]; then
  tools/validate_data_dir.sh --no-text "$data"
fi
