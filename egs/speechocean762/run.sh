#!/usr/bin/env bash
# Speaker verification on speechocean762: real speech on a laptop. Train on the corpus's `train` speakers, test on its `test` speakers.
# The corpus, time and disk needed: egs/speechocean762/README.md.  Numbers: egs/speechocean762/RESULTS.md.
#
#   bash egs/speechocean762/run.sh --corpus DIR          # a copy that is there already
#   bash egs/speechocean762/run.sh --download true       # fetches OpenSLR 101 first (520 MB)
#   bash egs/speechocean762/run.sh --stage 3 --loss aam  # another loss on the same features
#
# Stages: 1 data and trial lists   2 fbank to ark files   3 training   4 averaging and embeddings   5 cosine scores and results
#         6 score normalization (AS-norm)   7 PLDA and calibration   8 report
#         9 large-margin fine-tuning of the trained system, with all stages from 3 on (only when asked)
set -euo pipefail
start_dir=$PWD # paths given by the user are relative to it
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
start_dir="$start_dir" tools/setup.sh --quiet true
. ./path.sh

# Options
stage=1               # first stage to run
stop_stage=8          # last stage to run (9, large-margin fine-tuning, only when asked)
nj=2                  # parallel jobs
cmd="${SV_CMD:-run.pl}" # how jobs run; run.pl: on this machine (docs/cluster.md)
gpus=auto             # "0,1": those, a process each; auto: one if there is one; none: CPU
num_procs=1           # training processes on the CPU, where no GPU is used
num_threads=0         # threads a training process on the CPU; 0: all cores
dry_run=false         # true|false: print what each stage would do and why, and do nothing
num_nodes=1           # jobs that train together, each with these GPUs or processes (docs/cluster.md)
# Data
corpus=egs/speechocean762/corpora/speechocean762 # DIR: the corpus, as distributed or with FLAC files
download=false        # true|false: fetch the corpus into that folder first
data=egs/speechocean762/data # DIR: data lists
fbank=                # DIR: feature archives (default: <data>/fbank)
speeds=""             # speed-perturbed copies of the training data, each with speakers of its own, for instance "0.9 1.1"
train_feats=ark       # ark: from the arks of stage 2; online: waveforms, augmented on the way; shard: from shards
data_type=            # WeSpeaker's names of the same: feat, raw, shard
augment=""            # with ark: augmented copies of the training data, of "reverb noise music babble"
musan=                # DIR: MUSAN, to augment with (default: made-up noise)
rirs=                 # DIR: RIRS_NOISES, to augment with (default: made-up rooms)
check_audio=true      # decode every file before stage 2, look for faults, print a table of hours; once
verify=false          # true|false: compare features that are there with their checksums, not by size alone
trials="O.kaldi H.kaldi" # trial lists: O of any speakers, H of the same sex and age band
# System; an empty option leaves what the configuration file says
config=egs/speechocean762/conf/resnet_small.yaml # FILE: encoder, loss, schedules
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
exp_dir=              # DIR: the system's folder (default: egs/speechocean762/exp/<model>-<loss>-m<margin>-seed<N>)
checkpoint=           # FILE: start training from the weights of this model
num_avg=              # checkpoints averaged in stage 4
# Scoring
score_norm_method=asnorm # asnorm|snorm|znorm|tnorm: stage 6
top_n=50              # nearest speakers of the cohort (training speakers that were not held out), for asnorm
lda_dim=100           # dimensions that LDA keeps before PLDA, below the number of training speakers; 0: no LDA
# Large-margin fine-tuning
lm_config=egs/speechocean762/conf/any_lm.yaml # FILE: what differs from the trained system
lm_stop_stage=8       # last stage that the fine-tuned system goes through
lm_set=               # further keys, as in "num_epochs=3 margin_update.final_margin=0.35"
. tools/parse_options.sh
. tools/guard.sh

check_stages 1 8 9
fbank=${fbank:-$data/fbank}
read -ra trial_lists <<<"$trials"
given_set=$set
case ${data_type:-$train_feats} in
  ark | feat) train_feats=ark ;;
  online | raw) train_feats=online ;;
  *) train_feats=${data_type:-$train_feats} ;; # shard, or what make_config.py refuses
esac
train_set=train
noises=() # folders that training and features augment from
if [ "$train_feats" = ark ]; then
  train_set=train${speeds:+_sp}${augment:+_aug}
else
  set="dataset_args.speeds=[${speeds// /,}] $set"
fi
if [ "$train_feats" != ark ] || [ -n "$augment" ]; then
  noises=(--noise-data "$data/noises" --reverb-data "$data/rirs")
fi
if [ -n "$augment" ] && [ "$train_feats" != ark ]; then
  die "--augment makes copies for --train-feats ark; with $train_feats waveforms are augmented on the way: leave it out"
fi
for type in $augment; do
  case $type in
    reverb | noise | babble) ;;
    music) [ -n "$musan" ] || die "--augment music takes MUSAN (--musan DIR), there is no made-up music; leave it out" ;;
    *) die "--augment $type: the types are reverb, noise, music and babble" ;;
  esac
done
system=(--config "$config" --loss "$loss" --margin-type "$margin_type" --margin "$margin" --scale "$scale"
  --lambda "$lambda" --t "$t" --num-epochs "$num_epochs" --seed "$seed" --num-avg "$num_avg"
  --batch-size "$batch_size" --lr "$lr" --precision "$precision" --split-head "$split_head"
  --sync-bn "$sync_bn" --heldout-speakers "$heldout_speakers" --train-feats "$train_feats" --head-init "$head_init")
name=$(steps/make_config.py "${system[@]}" "${noises[@]}" --checkpoint "$checkpoint" --gpus "$gpus" --print-name) # wrong options end here
exp_dir=${exp_dir:-egs/speechocean762/exp/$name}
set_options "$set"
if [ "${#set_options[@]}" -gt 0 ]; then
  steps/make_config.py "${system[@]}" "${noises[@]}" --checkpoint "$checkpoint" "${set_options[@]}" --print-name >/dev/null # these, too
fi

feature_sets=("$data/train") # of training
if [ "$train_feats" = ark ]; then
  for speed in $speeds; do
    feature_sets+=("$data/train_sp$speed")
  done
  for type in $augment; do
    feature_sets+=("$data/train_$type")
  done
fi

if [ "$dry_run" = true ]; then
  steps/show_plan.py "${system[@]}" "${noises[@]}" --stage "$stage" --stop-stage "$stop_stage" --fbank "$fbank" \
    --features "${feature_sets[@]}" --nj "$nj" --gpus "$gpus" --num-procs "$num_procs" --num-nodes "$num_nodes" \
    --checkpoint "$checkpoint" --trials "${trial_lists[@]}" --score-norm-method "$score_norm_method" --top-n "$top_n" \
    --lda-dim "$lda_dim" "${set_options[@]}" "$exp_dir" "$data/$train_set" "$data/test"
  exit
fi

if ((stage <= 2)); then
  hold_lock "$data/.run.lock" "$data is being prepared"
fi

if in_stage 1 "data and trial lists"; then
  if [ "$download" = true ]; then
    local/download_speechocean762.py "$corpus"
  fi
  local/prepare_speechocean762.py "$corpus" "$data"
  if [ "${#noises[@]}" -gt 0 ]; then
    local/prepare_augmentation.sh --config "$config" --musan "$musan" --rirs "$rirs" \
      "$data/train" "$data/noises" "$data/rirs"
  fi
fi

if ((stop_stage >= 5)) && [ -d "$data/test/trials" ]; then # what stage 5 would not find is better known now
  for list in "${trial_lists[@]}"; do
    [ -e "$data/test/trials/$list" ] || die "--trials $list: $data/test/trials has $(ls -mw 0 "$data/test/trials")"
  done
fi

if in_stage 2 "fbank to ark files"; then
  steps/check_disk.py --nj "$nj" --config "$config" "${noises[@]}" --train-feats "$train_feats" --fbank "$fbank" \
    --test-set "$data/test" "${feature_sets[@]}"
  if [ "$check_audio" = true ]; then
    steps/check_data.sh --once true --nj "$nj" --cmd "$cmd" --config "$config" "$data/train" "$data/test"
  fi
  fbank_options=(--nj "$nj" --cmd "$cmd" --config "$config" --verify "$verify")
  parts=()
  if [ "$train_feats" = ark ]; then
    parts=("$data/train")
    for speed in $speeds; do
      tools/perturb_data_dir_speed.sh "$speed" "$data/train" "$data/train_sp$speed"
      parts+=("$data/train_sp$speed")
    done
  fi
  if [ "$train_set" != train ]; then
    rm -f "$data/$train_set/feats.scp" # it points into archives that may be made anew
  fi
  for part in ${parts[@]+"${parts[@]}"}; do
    steps/make_fbank.sh "${fbank_options[@]}" --dither true "$part" "$fbank/$(basename "$part")"
  done
  if [ "$train_feats" = ark ]; then
    for type in $augment; do
      part=train_$type
      tools/augment_data_dir.sh "$type" "$data/train" "$data/$part"
      steps/make_fbank.sh "${fbank_options[@]}" --dither true --augment "$type" "${noises[@]}" \
        "$data/$part" "$fbank/$part"
      parts+=("$data/$part")
    done
  fi
  if [ "$train_set" != train ]; then
    tools/combine_data.sh "$data/$train_set" "${parts[@]}"
  fi
  steps/make_fbank.sh "${fbank_options[@]}" --dither false "$data/test" "$fbank/test"
  if [ "$train_feats" != ark ]; then # what training and stage 4 need of train is worked out when it is read
    tools/get_utt2dur.sh --nj "$nj" --cmd "$cmd" "$data/train"
  fi
  if [ "$train_feats" = shard ]; then
    steps/make_shards.sh --nj "$nj" --cmd "$cmd" --config "$config" --verify "$verify" "$data/train"
  fi
fi

release_lock "$data/.run.lock"
if ((stop_stage >= 3)) && { ((stage <= 3)) || [ -d "$exp_dir" ]; }; then
  hold_lock "$exp_dir/.run.lock" "$exp_dir is being made"
fi

if in_stage 3 "training into $exp_dir"; then
  steps/train.sh --cmd "$cmd" --gpus "$gpus" --num-procs "$num_procs" --num-threads "$num_threads" \
    --num-nodes "$num_nodes" --checkpoint "$checkpoint" --set "$set" "${system[@]}" "${noises[@]}" \
    "$data/$train_set" "$exp_dir"
fi

if in_stage 4 "embeddings"; then
  steps/average_models.py --num-avg "$num_avg" "$exp_dir"
  extract_options=(--nj "$nj" --cmd "$cmd" --gpus "$gpus")
  steps/extract_embeddings.sh "${extract_options[@]}" --feats "$train_feats" --skip-bad true "$exp_dir" "$data/train"
  steps/extract_embeddings.sh "${extract_options[@]}" "$exp_dir" "$data/test"
  steps/compute_mean.py "$exp_dir/embeddings/train/xvector.scp" "$exp_dir/embeddings/train/mean_vec.npy"
fi

if in_stage 5 "cosine scores"; then
  steps/score.py --backend cos "$exp_dir" "$data/train" "$data/test" "${trial_lists[@]}"
  steps/summarize_results.py "$exp_dir"
fi

if in_stage 6 "score normalization"; then
  steps/score.py --prepare true --backend "$score_norm_method" --top-n "$top_n" "$exp_dir" "$data/train" "$data/test" "${trial_lists[@]}"
  steps/summarize_results.py "$exp_dir"
fi

if in_stage 7 "PLDA and calibration"; then
  if [ -s "$exp_dir/heldout_spk" ] && [ ! -e "$exp_dir/embeddings/train/spk_xvector.scp" ]; then
    die "$exp_dir/embeddings/train/spk_xvector.scp does not exist; run stage 6 first, whose scores are calibrated, too"
  fi
  steps/score.py --prepare true --backend plda --lda-dim "$lda_dim" "$exp_dir" "$data/train" "$data/test" "${trial_lists[@]}"
  if [ -s "$exp_dir/heldout_spk" ]; then # log-likelihood ratios and thresholds, measured on training speakers set aside
    # What non-target trials share (tables of the data dir) is the same in calibration as in the test lists.
    any=() hard=() # lists, by the speakers of their non-target trials: any two, or two of a sex and age band
    for name in "${trial_lists[@]}"; do
      if [ "$name" = H.kaldi ]; then
        hard+=("$name")
      else
        any+=("$name")
      fi
    done
    options=(--prepare true --backend "cos $score_norm_method plda" --top-n "$top_n")
    steps/score.py "${options[@]}" --calibrate-on heldout.kaldi "$exp_dir" "$data/train" "$data/test" "${any[@]}"
    if [ "${#hard[@]}" -gt 0 ]; then
      steps/score.py "${options[@]}" --calibrate-on heldout_H.kaldi --same "spk2gender spk2age" \
        "$exp_dir" "$data/train" "$data/test" "${hard[@]}"
    fi
  fi
  steps/summarize_results.py "$exp_dir"
fi

if in_stage 8 "report"; then
  steps/make_report.py --train-data "$data/$train_set" --test-data "$data/test" "$exp_dir"
fi

if in_stage 9 "large-margin fine-tuning into $exp_dir-LM"; then
  if [ "$stage" -eq 9 ] && [ -n "$given_set" ]; then
    die "--set changes the training of stage 3; what changes in stage 9 goes into --lm-set"
  fi
  set_options "$lm_set"
  steps/make_config.py "${system[@]}" "${noises[@]}" --config "$lm_config" --fine-tune "$exp_dir" "${set_options[@]}" \
    --output "$exp_dir-LM/finetune.yaml"
  in_config=() # the options of the system are in that file now
  for ((i = 0; i < ${#system[@]}; i += 2)); do
    in_config+=("${system[i]}" "")
  done
  egs/speechocean762/run.sh "${option_args[@]}" "${in_config[@]}" --set "" --config "$exp_dir-LM/finetune.yaml" \
    --stage 3 --stop-stage "$lm_stop_stage" --train-feats "$train_feats" --checkpoint "$exp_dir/models/avg_model.pt" --exp-dir "$exp_dir-LM"
fi
