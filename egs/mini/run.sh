#!/usr/bin/env bash
# shellcheck disable=SC2034  # most options are handed on as they are, in option_args
# The whole VoxCeleb recipe on a small synthetic corpus: from nothing to a table of results in some minutes, on a laptop.
# What the corpus is, and what its numbers mean: egs/mini/README.md.
#
#   bash egs/mini/run.sh
#   bash egs/mini/run.sh --loss aam       # another loss; what is done already is not done again
set -euo pipefail
start_dir=$PWD # paths given by the user are relative to it
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
start_dir="$start_dir" tools/setup.sh --quiet true
. ./path.sh

# Options
stage=0               # first stage to run (0 makes the corpus; the others are those of egs/voxceleb/run.sh)
stop_stage=8          # last stage to run (9, large-margin fine-tuning, only when asked)
nj=2                  # parallel jobs
cmd="${SV_CMD:-run.pl}" # how jobs run; run.pl: on this machine (docs/cluster.md)
gpus=none             # "0,1": those, a process each; auto: one if there is one; none: CPU
num_procs=1           # training processes on the CPU, where no GPU is used
num_threads=0         # threads a training process on the CPU; 0: all cores
dry_run=false         # true|false: print what each stage would do and why, and do nothing
num_nodes=1           # jobs that train together, each with these GPUs or processes (docs/cluster.md)
corpora=egs/mini/corpora # DIR: the synthetic corpus
data=egs/mini/data    # DIR: data lists
fbank=                # DIR: feature archives (default: <data>/fbank)
speeds=""             # speed-perturbed copies of the training data, each with speakers of its own, for instance "0.9 1.1"
train_feats=ark       # ark: from the arks of stage 2; online: waveforms, augmented on the way; shard: from shards
data_type=            # WeSpeaker's names of the same: feat, raw, shard
augment=""            # with ark: augmented copies of the training data, of "reverb noise music babble"
musan=                # DIR: MUSAN, to augment with
rirs=                 # DIR: RIRS_NOISES, to augment with
builtin_noise=true    # true|false: made-up noise and rooms instead of these
check_audio=true      # decode every file before stage 2, look for faults, print a table of hours; once
verify=false          # true|false: compare corpus and features that are there with their checksums, not by size alone
trials=               # trial lists (default: vox1_O_cleaned.kaldi and vox1_H_cleaned.kaldi)
# System; an empty option leaves what the configuration file says
config=egs/mini/conf/resnet_small.yaml # FILE: encoder, loss, schedules
loss=                 # sphereface2, aam, am, softmax, sphere, triplet, ge2e, ...; an unknown name lists them all
margin_type=          # C, A or M, of sphereface2
margin=               # final margin
scale=                # s
lambda=               # weight of the target pair in sphereface2
t=                    # exponent of sphereface2's g
num_epochs=           # length of training
seed=                 # of initialization, held-out speakers, order and crops
batch_size=           # utterances a step and process
lr=                   # learning rate, before it is scaled with the batch
precision=            # fp32, bf16 or fp16
split_head=           # true: each training process owns the weight vectors of some speakers
sync_bn=              # true: batch norm over the batches of all training processes (GPUs)
heldout_speakers=     # training speakers set aside to measure the EER
head_init=            # head where training starts from another's model: auto, load, class_means or random
set=                  # further keys, as in "scheduler_args.final_lr=1e-4 clip_grad_norm=5"
exp_dir=              # DIR: the system's folder (default: egs/mini/exp/<model>-<loss>-m<margin>-seed<N>)
checkpoint=           # FILE: start training from the weights of this model
num_avg=              # checkpoints averaged in stage 4
# Scoring
score_norm_method=asnorm # asnorm|snorm|znorm|tnorm: stage 6
top_n=20              # nearest speakers of the cohort, for asnorm; 34 are in it
lda_dim=30            # dimensions that LDA keeps before PLDA, below 34; 0: no LDA
# Large-margin fine-tuning
lm_config=egs/mini/conf/any_lm.yaml # FILE: what differs from the trained system
lm_stop_stage=8       # last stage that the fine-tuned system goes through
lm_set=               # further keys, as in "num_epochs=3 margin_update.final_margin=0.35"
. tools/parse_options.sh
. tools/guard.sh
check_stages 0 8 9

name=$(steps/make_config.py --config "$config" --loss "$loss" --margin-type "$margin_type" --margin "$margin" \
  --scale "$scale" --lambda "$lambda" --t "$t" --seed "$seed" \
  --train-feats "$train_feats" --data-type "$data_type" --split-head "$split_head" --head-init "$head_init" \
  --checkpoint "$checkpoint" --gpus "$gpus" --print-name)
exp_dir=${exp_dir:-egs/mini/exp/$name}

if [ "$dry_run" = false ] && in_stage 0 "synthetic corpus"; then
  local/make_mini_corpus.py --nj "$nj" --verify "$verify" "$corpora"
fi

if ((stop_stage >= 1)); then
  egs/voxceleb/run.sh "${option_args[@]}" --stage $((stage > 1 ? stage : 1)) --exp-dir "$exp_dir"
fi
