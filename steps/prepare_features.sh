#!/usr/bin/env bash
# shellcheck disable=SC2154  # options come from steps/options
# Features of a recipe's training and test set (stage 2): log-mel fbank in ark files, of speed-perturbed and augmented
# copies of the training set as well; or, where training reads waveforms, its durations or tar shards.
#
# Reads   <train-data>, <test-data>: {wav.scp,utt2spk,spk2utt}, and segments if there are; to augment, noises and rirs
#         beside <train-data> (local/prepare_augmentation.sh)
# Leaves  in <train-data>, its copies and <test-data>: feats.scp, utt2num_frames, utt2dur, fbank.yaml; the union of
#         <train-data> and its copies in <train-data>_sp, _aug or _sp_aug
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

[ -n "$config" ] || usage_error "--config must be given"
train=$1 test=$2
system=$config
train_feats=$(system_value train_feats)
data=$(dirname "$train")
fbank=${fbank:-$data/fbank}
noises=(--noise-data "$data/noises" --reverb-data "$data/rirs")
common=(--nj "$nj" --cmd "$cmd" --config "$config")

make_fbank() { # <data-dir> <option>...
  steps/make_fbank.sh "${common[@]}" --verify "$verify" "${@:2}" "$1" "$fbank/$(basename "$1")"
}

steps/check_disk.py --nj "$nj" --config "$config" "${noises[@]}" --train-feats "$train_feats" --fbank "$fbank" \
  --speeds "$speeds" --augment "$augment" "$train" "$test"
if [ "$check_audio" = true ]; then
  steps/check_data.sh --once true "${common[@]}" "$train" "$test"
fi

make_fbank "$test" --dither false
if [ "$train_feats" != ark ]; then # training and stage 4 compute the features of <train-data> when they read it
  tools/get_utt2dur.sh --nj "$nj" --cmd "$cmd" "$train"
fi
case $train_feats in
  shard) steps/make_shards.sh "${common[@]}" --verify "$verify" "$train" ;;
  ark)
    all=$(name_training_set "$train")
    parts=("$train")
    for speed in $speeds; do
      tools/perturb_data_dir_speed.sh "$speed" "$train" "${train}_sp$speed"
      parts+=("${train}_sp$speed")
    done
    if [ "$all" != "$train" ]; then
      rm -f "$all/feats.scp" # it points into archives that may be made anew
    fi
    for part in "${parts[@]}"; do
      make_fbank "$part" --dither true
    done
    for type in $augment; do
      tools/augment_data_dir.sh "$type" "$train" "${train}_$type"
      make_fbank "${train}_$type" --dither true --augment "$type" "${noises[@]}"
      parts+=("${train}_$type")
    done
    if [ "$all" != "$train" ]; then
      tools/combine_data.sh "$all" "${parts[@]}"
    fi
    ;;
esac
