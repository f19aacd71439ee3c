#!/usr/bin/env bash
# shellcheck disable=SC2154  # options come from steps/options
# Make the features of a recipe's training and test set (stage 2): log-mel fbank in ark files, also of speed-perturbed
# and augmented copies of the training set. If training reads waveforms, make its durations or tar shards instead; with
# --backend-augment also features.
#
# Reads   <train-data>, <test-data>: {wav.scp,utt2spk,spk2utt}, and segments if there are; to augment, noises and rirs
#         beside <train-data> (local/prepare_augmentation.sh)
# Leaves  in <train-data>, its copies and <test-data>: feats.scp, utt2num_frames, utt2dur, fbank.yaml, with the VAD
#         vad.scp; the union of <train-data> and its copies in <train-data>_sp, _aug or _sp_aug, for back-ends in
#         <train-data>_backend, with the names of the copies in the file `copies`
#
# Usage: steps/prepare_features.sh [options] <train-data> <test-data>
# e.g.: steps/prepare_features.sh --config exp/x/system.yaml --fbank fbank --speeds "0.9 1.1" data/train data/test
set -euo pipefail
[ -e path.sh ] || { echo "prepare_features.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
config=               # FILE: YAML of the system, whose front-end is used
. steps/options/jobs.sh
. steps/options/features.sh
. tools/parse_options.sh
. steps/recipe.sh
. tools/run_parts.sh

[ -n "$config" ] || usage_error "--config must be given"
train=$1 test=$2
system=$config
train_feats=$(system_value train_feats)
data=$(dirname "$train")
fbank=${fbank:-$data/fbank}
make=(steps/prepare_features.py --config "$config" --fbank "$fbank" --verify "$verify" --allow-pipes "$allow_pipes"
  --noise-data "$data/noises" --reverb-data "$data/rirs" "$test")

featured=("$test") # data dirs with features

copy() { # <data-dir> <suffix for the step> <tool> <argument>: list a copy of the training data
  "$3" "$4" "$train" "$1"
  featured+=("$1")
  make+=("$1$2")
}

unite() { # <union> <its copies> <data-dir>...
  tools/combine_data.sh "$1" "${@:3}"
  printf '%s\n' "$2" >"$1/copies"
}

validate() {
  tools/validate_data_dir.sh --quiet true --no-text --no-feats "$train"
  tools/validate_data_dir.sh --quiet true --no-text --no-feats "$test"
}

case $train_feats in
  online) ;; # training and stage 4 compute the features of <train-data> when they read it
  shard)
    hold_lock "$train/shards/.lock" "$train/shards is being filled"
    make+=("$train")
    ;;
  ark)
    featured+=("$train")
    make+=("$train")
    for speed in $speeds; do
      copy "${train}_sp$speed" "" tools/perturb_data_dir_speed.sh "$speed"
    done
    for type in $augment; do
      copy "${train}_$type" ":$type" tools/augment_data_dir.sh "$type"
    done
    ;;
esac
training=("${featured[@]:1}") # with arks, the data dirs that stage 3 reads
if [ -n "$backend_augment" ] && [ "$train_feats" = online ]; then
  featured+=("$train")
  make+=("$train")
fi
backends=("$train") # the data dirs that back-ends are trained on
for type in $backend_augment; do
  if [[ " ${featured[*]} " != *" ${train}_$type "* ]]; then
    copy "${train}_$type" ":$type" tools/augment_data_dir.sh "$type"
  fi
  backends+=("${train}_$type")
done
for dir in "${featured[@]}"; do
  hold_lock "$fbank/$(basename "$dir")/.lock" "$fbank/$(basename "$dir") is being filled"
done
all=$(name_training_set "$train")
backend_set=$(name_backend_set "$train")
for union in "$all" "$backend_set"; do
  if [ "$union" != "$train" ]; then
    rm -f "$union"/{feats.scp,copies} # feats.scp points into archives that may be made anew
  fi
done

begin_parts "${make[@]}" # before the check, which takes long, so that a full disk is reported first
if [ "$check_audio" = true ]; then
  steps/check_data.sh --once true --nj "$nj" --cmd "$cmd" --config "$config" --allow-pipes "$allow_pipes" \
    "$train" "$test" >/dev/null # the table is in check_data/table
fi
if [ "$train_feats" != ark ]; then
  tools/get_utt2dur.sh --nj "$nj" --cmd "$cmd" --allow-pipes "$allow_pipes" "$train"
fi
before_jobs=(validate)
finish_parts "$fbank/log/make_fbank.JOB.log" "${make[@]}"
if [ "$num_jobs" -gt 0 ]; then
  for dir in "${featured[@]}"; do
    tools/validate_data_dir.sh --quiet true --no-text "$dir"
  done
fi
if [ "$all" != "$train" ]; then
  copies=$(list_copies "$speeds" "$augment")
  unite "$all" "$copies" "${training[@]}"
fi
if [ "$backend_set" != "$train" ]; then
  copies=$(list_copies "" "$backend_augment")
  unite "$backend_set" "$copies" "${backends[@]}"
fi
