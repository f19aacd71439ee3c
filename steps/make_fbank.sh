#!/usr/bin/env bash
# Log-mel filter bank of a data dir's utterances, in nj jobs; two bytes a value (Kaldi's CM2), without mean subtraction.
#
# Reads   <data-dir>/wav.scp, segments if there are (16-bit scale, hamming window, 80 bins; --config sets others)
# Leaves  <data-dir>/{feats.scp,utt2num_frames,utt2dur,fbank.yaml}, <ark-dir>/fbank.JOB.{ark,scp}, log/make_fbank.JOB.log
#         with --augment also <data-dir>/utt2augment: what each utterance was given ("noise 7.31 noise/0012.wav")
#
# fbank.yaml holds the settings. Any nj gives the same features: dither and augmentation are seeded by utterance. Killed and
# started again with the same nj, whole parts are kept. A data dir that is complete is left alone; after a change of
# settings, of wav.scp or of segments it is made again.
#
# Usage: steps/make_fbank.sh [options] <data-dir> [<ark-dir>]
#    or: steps/make_fbank.sh [options] <data-dir> <log-dir> <ark-dir>
# e.g.: steps/make_fbank.sh --nj 8 --dither true data/train fbank/train
#       (<ark-dir> serves one data dir alone; default: <data-dir>/fbank; <log-dir>: <ark-dir>/log)
set -euo pipefail
if ! [ -e path.sh ]; then
  echo "make_fbank.sh: error: no path.sh in $PWD; run it from the root of the repository" >&2
  exit 1
fi
. ./path.sh

# Options
nj=4                  # parallel jobs
cmd="${SV_CMD:-run.pl}" # how jobs run; run.pl: on this machine (docs/cluster.md)
config=               # FILE: YAML of a system; its dataset_args.fbank_args are used (default: theirs)
dither=false          # true|false: add fbank_args.dither of noise; for training features only
augment=              # reverb, noise, music or babble: add it to the audio (of a copy by tools/augment_data_dir.sh)
noise_data=           # DIR: noise for it, as local/prepare_musan.py or local/make_noises.py leave it
reverb_data=          # DIR: impulse responses for it, as local/prepare_rirs.py or local/make_rirs.py leave them
allow_pipes=false     # true|false: run the commands in wav.scp (speed copies need none)
verify=false          # true|false: look at archives that are there already by content, not by size alone
. tools/parse_options.sh
. tools/guard.sh

data=$1
ark_dir=${2:-$data/fbank}
log_dir=$ark_dir/log
if [ $# -eq 3 ]; then # as Kaldi's own script is called
  log_dir=$2
  ark_dir=$3
fi

[ -d "$data" ] || die "$data is not a data dir; prepare it first (stage 1)"
mkdir -p "$ark_dir" "$log_dir"
hold_lock "$ark_dir/.lock" "$ark_dir is being filled"
args=("$data" "$ark_dir" --dither "$dither" --allow-pipes "$allow_pipes")
if [ -n "$config" ]; then
  args+=(--config "$config")
fi
if [ -n "$augment" ]; then
  args+=(--augment "$augment" --noise-data "$noise_data" --reverb-data "$reverb_data")
fi
num_parts=$(steps/make_fbank.py begin "${args[@]}" --num-parts "$nj" --verify "$verify")
if [ "$num_parts" -eq 0 ]; then
  echo "make_fbank.sh: $data/feats.scp is there already" >&2
  exit 0
fi
tools/validate_data_dir.sh --no-text --no-feats "$data"
$cmd JOB=1:"$num_parts" "$log_dir/make_fbank.JOB.log" \
  steps/make_fbank.py part "${args[@]}" --part JOB --num-parts "$num_parts"
steps/make_fbank.py join "${args[@]}" --num-parts "$num_parts"
tools/validate_data_dir.sh --no-text "$data"
