#!/usr/bin/env bash
# shellcheck disable=SC2034  # options are read by their names
# Train a network from the features of a data dir, or go on with a training that was ended.
# Usage: steps/train.sh [options] <data-dir> <exp-dir>
# e.g.: steps/train.sh --config egs/voxceleb/conf/resnet34.yaml --loss sphereface2 --gpus 0,1 data/vox2_dev exp/resnet34
#
# Reads   <data-dir>/{feats.scp,utt2spk,utt2num_frames,fbank.yaml}
# Leaves  <exp-dir>/{config.yaml,spk2id,heldout_spk,train.log,metrics.jsonl,tensorboard/}, models/{model_N,best}.pt and
#         checkpoints/; the same command goes on where a killed one was, and does nothing when training is complete.
set -euo pipefail
[ -e path.sh ] || { echo "steps/train.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
cmd="run.pl"          # how the job runs; run.pl: here, with a progress bar
gpus=auto             # "0,1": those, a process each; auto: one if there is one; none: CPU
num_procs=1           # training processes on the CPU, where no GPU is used
num_threads=0         # threads of each training process on the CPU; 0: all cores, shared
checkpoint=           # FILE: start from the weights of this model
head_init=            # head where training starts from another's model: auto, load, class_means or random
# System; an empty option leaves what the configuration file says
config=               # FILE: YAML of encoder, loss and schedules (must be given)
model=                # encoder
loss=                 # softmax, am, aam, sphereface2
margin_type=          # C or A, of sphereface2
margin=               # final margin
scale=                # s
lambda=               # weight of the target pair in sphereface2
t=                    # exponent of sphereface2's g
seed=                 # of initialization, held-out speakers, order and crops
num_epochs=           # length of training
num_avg=              # models averaged afterwards
batch_size=           # utterances a step and process
lr=                   # learning rate, before it is scaled with the batch
precision=            # fp32, bf16 or fp16
heldout_speakers=     # training speakers set aside to measure the EER
set=                  # further keys, as in "scheduler_args.final_lr=1e-4 clip_grad_norm=5"
. tools/parse_options.sh

[ -n "$config" ] || usage_error "--config must be given"
data_dir=$1
exp_dir=$2
options=()
for name in config model loss margin_type margin scale lambda t seed num_epochs num_avg batch_size lr precision \
  heldout_speakers head_init gpus num_procs num_threads checkpoint; do
  if [ -n "${!name}" ]; then
    options+=("--$name" "${!name}")
  fi
done
for word in $set; do
  options+=(--set "$word")
done

if [ "${cmd%% *}" = run.pl ]; then # a job of this machine: its progress is worth seeing
  exec steps/train.py "${options[@]}" "$data_dir" "$exp_dir"
fi
if [ "$gpus" = none ] || [ "$gpus" = auto ]; then
  resources=(--num-threads "$((num_procs * (num_threads > 0 ? num_threads : 1)))")
else
  IFS=, read -ra numbers <<<"$gpus"
  resources=(--gpu "${#numbers[@]}")
fi
$cmd "${resources[@]}" "$exp_dir/log/train.log" steps/train.py "${options[@]}" "$data_dir" "$exp_dir"
