#!/usr/bin/env bash
# shellcheck disable=SC2034  # options are read by their names
# Train a network from the features or waveforms of a data dir, or continue an interrupted training.
#
# Reads   <exp-dir>/system.yaml (steps/make_system.py); <data-dir>/{feats.scp,utt2spk,utt2num_frames,fbank.yaml}; with
#         train_feats online {wav.scp,utt2spk}, and segments and utt2dur if there are; with train_feats shard shard.list
# Leaves  <exp-dir>/{config.yaml,spk2id,heldout_spk,train.log,metrics.jsonl,tensorboard/}, models/{model_N,best}.pt and
#         checkpoints/; the same command continues a killed training, and does nothing when training is complete
#
# Usage: steps/train.sh [options] <data-dir> <exp-dir>
# e.g.: steps/train.sh --gpus 0,1 data/vox2_dev exp/resnet34
set -euo pipefail
[ -e path.sh ] || { echo "steps/train.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
. steps/options/jobs.sh
. steps/options/processes.sh
. tools/parse_options.sh
. tools/guard.sh
. tools/run_parts.sh

data_dir=$1
exp_dir=$2
resources=()
if [ "${cmd%% *}" != run.pl ]; then
  if [ "$gpus" = auto ]; then
    refuse "--gpus auto: a scheduler must be told how many; give 0 for one, 0,1 for two and so on, or none"
  elif [ "$gpus" = none ]; then
    num_threads=$((num_threads > 0 ? num_threads : 1))
    resources=(--num-threads "$((num_procs * num_threads))")
  else
    IFS=, read -ra numbers <<<"$gpus"
    resources=(--gpu "${#numbers[@]}")
  fi
fi
train=(steps/train.py --gpus "$gpus" --num-procs "$num_procs" --num-threads "$num_threads")
if [ "${cmd%% *}" != run.pl ]; then # check now: the job may wait for hours before it finds an error
  plan=$("${train[@]}" --num-nodes "$num_nodes" --dry-run true "$data_dir" "$exp_dir")
  state=${plan%%$'\n'*}
  if [[ $state =~ ": complete ("[0-9]+" epochs)"$ ]]; then # before it the folder, as Python writes it
    say "$state; nothing to do"
    exit 0
  fi
fi
if [ "$num_nodes" -gt 1 ]; then
  if [ "${cmd%% *}" = run.pl ] && [ "$gpus" != none ]; then
    refuse "--num-nodes $num_nodes: run.pl knows one machine; give --gpus 0,1 alone, or a --cmd that knows more"
  elif [[ $cmd != *--max-retries* ]]; then
    resources+=(--max-retries 3) # starts a lost node again
  fi
  node=$(free_name NODE "$data_dir" "$exp_dir")
  $cmd "${resources[@]}" --together true --max-jobs-run "$num_nodes" "$node=1:$num_nodes" \
    "$exp_dir/log/train.$node.log" "${train[@]}" --num-nodes "$num_nodes" --node "$node" "$data_dir" "$exp_dir"
elif [ "${cmd%% *}" = run.pl ]; then # without run.pl, so that the terminal shows the progress
  exec "${train[@]}" "$data_dir" "$exp_dir"
else
  $cmd "${resources[@]}" "$exp_dir/log/train.log" "${train[@]}" "$data_dir" "$exp_dir"
fi
