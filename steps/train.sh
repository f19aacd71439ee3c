#!/usr/bin/env bash
# shellcheck disable=SC2034  # options are read by their names
# Train a network from the features or waveforms of a data dir, or go on with a training that was ended.
# Usage: steps/train.sh [options] <data-dir> <exp-dir>
# e.g.: steps/train.sh --config egs/voxceleb/conf/resnet34.yaml --loss sphereface2 --gpus 0,1 data/vox2_dev exp/resnet34
#
# Reads   <data-dir>/{feats.scp,utt2spk,utt2num_frames,fbank.yaml}; with --train-feats online {wav.scp,utt2spk}, and segments
#         and utt2dur if there are; with --train-feats shard shard.list
# Leaves  <exp-dir>/{config.yaml,spk2id,heldout_spk,train.log,metrics.jsonl,tensorboard/}, models/{model_N,best}.pt and
#         checkpoints/; the same command goes on where a killed one was, and does nothing when training is complete.
set -euo pipefail
[ -e path.sh ] || { echo "steps/train.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
cmd="${SV_CMD:-run.pl}" # how the job runs; run.pl: here, with a progress bar (docs/cluster.md)
gpus=auto             # "0,1": those, a process each; auto: one if there is one; none: CPU
num_procs=1           # training processes on the CPU, where no GPU is used
num_threads=0         # threads of each training process on the CPU; 0: all cores, shared (through a scheduler: 1)
num_nodes=1           # jobs of the scheduler that train together, each with these GPUs or processes (docs/cluster.md)
checkpoint=           # FILE: start from the weights of this model
head_init=            # head where training starts from another's model: auto, load, class_means or random
# Data; an empty option leaves what the configuration file says
train_feats=          # ark: features of <data-dir>; online: its waveforms, augmented on the way; shard: so, from shards
data_type=            # WeSpeaker's names of the same: feat, raw, shard
noise_data=           # DIR: noise for online and shard, as local/prepare_augmentation.sh leaves it
reverb_data=          # DIR: impulse responses for online and shard
# System; an empty option leaves what the configuration file says
config=               # FILE: YAML of encoder, loss and schedules (must be given)
model=                # encoder
loss=                 # sphereface2, aam, am, softmax, sphere, triplet, ge2e, ...; an unknown name lists them all
margin_type=          # C, A or M, of sphereface2
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
split_head=           # true: each training process owns the weight vectors of some speakers
sync_bn=              # true: batch norm over the batches of all training processes (GPUs)
heldout_speakers=     # training speakers set aside to measure the EER
set=                  # further keys, as in "scheduler_args.final_lr=1e-4 clip_grad_norm=5"
. tools/parse_options.sh
. tools/guard.sh

[ -n "$config" ] || usage_error "--config must be given"
data_dir=$1
exp_dir=$2
resources=()
if [ "${cmd%% *}" != run.pl ]; then
  if [ "$gpus" = auto ]; then
    die "--gpus auto: a scheduler must be told how many; give 0 for one, 0,1 for two and so on, or none"
  elif [ "$gpus" = none ]; then
    num_threads=$((num_threads > 0 ? num_threads : 1))
    resources=(--num-threads "$((num_procs * num_threads))")
  else
    IFS=, read -ra numbers <<<"$gpus"
    resources=(--gpu "${#numbers[@]}")
  fi
fi
options=()
for name in config model loss margin_type margin scale lambda t seed num_epochs num_avg batch_size lr precision \
  split_head sync_bn heldout_speakers train_feats data_type noise_data reverb_data head_init gpus num_procs \
  num_threads checkpoint; do
  if [ -n "${!name}" ]; then
    options+=("--$name" "${!name}")
  fi
done
set_options "$set"
options+=("${set_options[@]}")

train=(steps/train.py "${options[@]}")
if [ "${cmd%% *}" != run.pl ]; then # what the job would stop for is better known before it waits in the queue
  plan=$("${train[@]}" --num-nodes "$num_nodes" --dry-run true "$data_dir" "$exp_dir")
  if [[ $plan == "$exp_dir: complete"* ]]; then
    say "${plan%%$'\n'*}; nothing to do"
    exit 0
  fi
fi
if [ "$num_nodes" -gt 1 ]; then
  if [ "${cmd%% *}" = run.pl ] && [ "$gpus" != none ]; then
    die "--num-nodes $num_nodes: run.pl knows one machine; give --gpus 0,1 alone, or a --cmd that knows more"
  elif [[ $cmd != *--max-retries* ]]; then
    resources+=(--max-retries 3) # brings back a node that was lost
  fi
  $cmd "${resources[@]}" --together true --max-jobs-run "$num_nodes" NODE=1:"$num_nodes" "$exp_dir/log/train.NODE.log" \
    "${train[@]}" --num-nodes "$num_nodes" --node NODE "$data_dir" "$exp_dir"
elif [ "${cmd%% *}" = run.pl ]; then # a job of this machine: its progress is worth seeing
  exec "${train[@]}" "$data_dir" "$exp_dir"
else
  $cmd "${resources[@]}" "$exp_dir/log/train.log" "${train[@]}" "$data_dir" "$exp_dir"
fi
