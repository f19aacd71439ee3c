#!/usr/bin/env bash
# Speaker verification on VoxCeleb: train on vox2_dev, test on Vox1-O, -E and -H.
# Corpora, disk and time needed: egs/voxceleb/README.md.  Numbers: egs/voxceleb/RESULTS.md.
#
#   bash egs/voxceleb/run.sh --vox1 DIR --vox2 DIR --loss sphereface2 --margin-type A --gpus 0,1
#   bash egs/voxceleb/run.sh --stage 3 --loss aam        # another loss on the same features
#
# Stages: 0 download (only when asked)   1 data lists   2 fbank to ark files   3 training
#         4 averaging and embeddings     5 cosine scores and results
#         9 large-margin fine-tuning of the trained system, with all stages from 3 on (only when asked)
set -euo pipefail
start_dir=$PWD # paths given by the user are relative to it
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
start_dir="$start_dir" tools/setup.sh --quiet true
. ./path.sh

# Options
stage=1               # first stage to run
stop_stage=5          # last stage to run (9, large-margin fine-tuning, only when asked)
nj=16                 # parallel jobs
cmd="run.pl"          # how jobs run; run.pl: on this machine
gpus=auto             # "0,1": those, a process each; auto: one if there is one; none: CPU
num_procs=1           # training processes on the CPU, where no GPU is used
num_threads=0         # threads a training process on the CPU; 0: all cores
# Data
corpora=egs/voxceleb/corpora # DIR: where stage 0 puts what it downloads
vox1=                 # DIR: VoxCeleb1, as distributed or unpacked (default: <corpora>/voxceleb1)
vox2=                 # DIR: VoxCeleb2, the same (default: <corpora>/voxceleb2)
lists=                # DIR: veri_test2.txt, list_test_all2.txt, list_test_hard2.txt (default: looked for beside VoxCeleb1)
source=hf             # stage 0: hf, mmai, oxford, an address or a folder; see local/download_voxceleb.py --help
audio_format=flac     # flac|wav: what m4a files are turned into
audio_dir=            # DIR: where those go (default: beside the m4a files, in <vox2>)
data=egs/voxceleb/data # DIR: data lists
fbank=                # DIR: feature archives (default: <data>/fbank)
speeds="0.9 1.1"      # speed-perturbed copies of the training data, each with speakers of its own; "" for none
check_audio=false     # decode every file before stage 2
trials=               # trial lists (default: vox1_{O,E,H}_cleaned.kaldi, as far as stage 1 could make them)
# System; an empty option leaves what the configuration file says
config=egs/voxceleb/conf/resnet34.yaml # FILE: encoder, loss, schedules
loss=                 # softmax, am, aam, sphereface2
margin_type=          # C or A, of sphereface2
margin=               # final margin
scale=                # s
lambda=               # weight of the target pair in sphereface2
t=                    # exponent of sphereface2's g
num_epochs=           # length of training
seed=                 # of initialization, held-out speakers, order and crops
batch_size=           # utterances a step and process
lr=                   # learning rate, before it is scaled with the batch
precision=            # fp32, bf16 or fp16
heldout_speakers=     # training speakers set aside to measure the EER
head_init=            # head where training starts from another's model: auto, load, class_means or random
set=                  # further keys, as in "scheduler_args.final_lr=1e-4 clip_grad_norm=5"
exp_dir=              # DIR: the system's folder (default: egs/voxceleb/exp/<model>-<loss>-m<margin>-seed<N>)
checkpoint=           # FILE: start training from the weights of this model
num_avg=              # checkpoints averaged in stage 4
# Large-margin fine-tuning
lm_config=egs/voxceleb/conf/any_lm.yaml # FILE: what differs from the trained system
lm_set=               # further keys, as in "num_epochs=3 margin_update.final_margin=0.35"
. tools/parse_options.sh

check_stages 0 5 9
fbank=${fbank:-$data/fbank}
read -ra trial_lists <<<"$trials"
if [ -d "$start_dir/$source" ]; then
  source=$start_dir/$source
fi
vox1=${vox1:-$corpora/voxceleb1}
vox2=${vox2:-$corpora/voxceleb2}
train_set=vox2_dev${speeds:+_sp}
system=(--config "$config" --loss "$loss" --margin-type "$margin_type" --margin "$margin" --scale "$scale"
  --lambda "$lambda" --t "$t" --num-epochs "$num_epochs" --seed "$seed" --num-avg "$num_avg"
  --batch-size "$batch_size" --lr "$lr" --precision "$precision" --heldout-speakers "$heldout_speakers"
  --head-init "$head_init")
name=$(steps/make_config.py "${system[@]}" --print-name) # wrong options end here, not in stage 3
exp_dir=${exp_dir:-egs/voxceleb/exp/$name}

if in_stage 0 "download"; then
  local/download_voxceleb.py --source "$source" "$corpora"
fi

if in_stage 1 "data lists"; then
  local/convert_audio.sh --nj "$nj" --cmd "$cmd" --format "$audio_format" --out-dir "$audio_dir" "$vox2"
  converted=()
  if [ -n "$audio_dir" ] && [ -d "$audio_dir" ]; then
    converted=(--vox2 "$audio_dir")
  fi
  local/prepare_voxceleb.py --vox1 "$vox1" --vox2 "$vox2" "${converted[@]}" ${lists:+--lists "$lists"} "$data"
fi

if in_stage 2 "fbank to ark files"; then
  if [ "$check_audio" = true ]; then
    steps/check_data.sh --nj "$nj" --cmd "$cmd" "$data/vox2_dev" "$data/vox1"
  fi
  parts=("$data/vox2_dev")
  for speed in $speeds; do
    tools/perturb_data_dir_speed.sh "$speed" "$data/vox2_dev" "$data/vox2_dev_sp$speed"
    parts+=("$data/vox2_dev_sp$speed")
  done
  if [ -n "$speeds" ]; then
    rm -f "$data/$train_set/feats.scp" # it points into archives that may be made anew
  fi
  for part in "${parts[@]}"; do
    steps/make_fbank.sh --nj "$nj" --cmd "$cmd" --config "$config" --dither true "$part" "$fbank/$(basename "$part")"
  done
  if [ -n "$speeds" ]; then
    tools/combine_data.sh "$data/$train_set" "${parts[@]}"
  fi
  steps/make_fbank.sh --nj "$nj" --cmd "$cmd" --config "$config" --dither false "$data/vox1" "$fbank/vox1"
fi

if in_stage 3 "training into $exp_dir"; then
  steps/train.sh --cmd "$cmd" --gpus "$gpus" --num-procs "$num_procs" --num-threads "$num_threads" \
    --checkpoint "$checkpoint" --set "$set" "${system[@]}" "$data/$train_set" "$exp_dir"
fi

if in_stage 4 "embeddings"; then
  steps/average_models.py --num-avg "$num_avg" "$exp_dir"
  for set in vox2_dev vox1; do
    steps/extract_embeddings.sh --nj "$nj" --cmd "$cmd" --gpus "$gpus" "$exp_dir" "$data/$set"
  done
  steps/compute_mean.py "$exp_dir/embeddings/vox2_dev/xvector.scp" "$exp_dir/embeddings/vox2_dev/mean_vec.npy"
fi

if in_stage 5 "cosine scores"; then
  if [ "${#trial_lists[@]}" -eq 0 ]; then
    for name in vox1_O_cleaned.kaldi vox1_E_cleaned.kaldi vox1_H_cleaned.kaldi; do
      if [ -e "$data/vox1/trials/$name" ]; then
        trial_lists+=("$name")
      fi
    done
  fi
  [ "${#trial_lists[@]}" -gt 0 ] || die "no trial list in $data/vox1/trials; make them (stage 1)"
  for name in "${trial_lists[@]}"; do
    steps/score_cosine.py --mean "$exp_dir/embeddings/vox2_dev/mean_vec.npy" \
      "$data/vox1/trials/$name" "$exp_dir/embeddings/vox1/xvector.scp" "$exp_dir/scores/$name.score"
  done
  steps/compute_metrics.py "$exp_dir" vox1_cos_result "$data/vox1/trials" "${trial_lists[@]}"
  steps/summarize_results.py "$exp_dir"
fi

if in_stage 9 "large-margin fine-tuning into $exp_dir-LM"; then
  if [ "$stage" -eq 9 ] && [ -n "$set" ]; then
    die "--set changes the training of stage 3; what changes in stage 9 goes into --lm-set"
  fi
  changes=()
  for word in $lm_set; do
    changes+=(--set "$word")
  done
  steps/make_config.py "${system[@]}" --config "$lm_config" --fine-tune "$exp_dir" "${changes[@]}" \
    --output "$exp_dir-LM/finetune.yaml"
  in_config=() # the options of the system are in that file now
  for ((i = 0; i < ${#system[@]}; i += 2)); do
    in_config+=("${system[i]}" "")
  done
  egs/voxceleb/run.sh "${option_args[@]}" "${in_config[@]}" --set "" --config "$exp_dir-LM/finetune.yaml" \
    --stage 3 --stop-stage 8 --checkpoint "$exp_dir/models/avg_model.pt" --exp-dir "$exp_dir-LM"
fi
