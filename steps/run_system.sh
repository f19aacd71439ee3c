#!/usr/bin/env bash
# shellcheck disable=SC2154  # options come from steps/options
# Train and test one system (stages 3 to 9 of every recipe).
#
#   3 training   4 embeddings   5 cosine scores   6 score normalization   7 PLDA and calibration   8 report
#   9 large-margin fine-tuning into <exp-dir>-LM, and its stages 3 to 8 (only when asked)
#
# Reads   <exp-dir>/system.yaml (steps/make_system.py); <train-data>, <test-data> with features
#         (steps/prepare_features.sh) and <test-data>/trials/*
# Leaves  <exp-dir>: config.yaml, models/, embeddings/, scores/, plda/, thresholds.json, results.{json,md}, report.html
#
# Usage: steps/run_system.sh [options] <train-data> <test-data> <exp-dir>
# e.g.: steps/run_system.sh --gpus 0,1 --stage 3 data/train data/test exp/resnet34
set -euo pipefail
[ -e path.sh ] || { echo "run_system.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
stage=3               # first stage to run
stop_stage=8          # last stage to run
training_set=         # DIR: data dir that training reads (default: that of stage 3, or <train-data>)
backend_set=          # DIR: data dir with features that back-ends are trained and calibrated on (default: <train-data>)
. steps/options/jobs.sh
. steps/options/processes.sh
. steps/options/scoring.sh
. tools/parse_options.sh
. steps/recipe.sh

check_stages 3 8 9
train=$1 test=$2 exp_dir=$3
system=$exp_dir/system.yaml
[ -e "$system" ] || die "$system does not exist; make it with steps/make_system.py"
if ((stage > 3)) && [ -e "$exp_dir/training_set" ]; then
  training_set=$(dirname "$train")/$(<"$exp_dir/training_set")
fi
training_set=${training_set:-$train}
backend_set=${backend_set:-$train}
read -ra lists <<<"$trials"
if ((stop_stage >= 5)); then
  check_has_trials "$test"
  if ((${#lists[@]} == 0)); then
    for list in "$test"/trials/*; do
      lists+=("$(basename "$list")")
    done
  fi
fi
check_matched
check_lists "$train" "$test"
if [ "${SV_HELD_LOCK:-}" != "$exp_dir/.run.lock" ]; then # else the recipe holds it
  hold_lock "$exp_dir/.run.lock" "$exp_dir is being made"
  log_stages "$exp_dir"
fi
stage_logs=$exp_dir/log

score() { # <option>...; its output is also in scores/*_result
  steps/score.py --top-n "$top_n" --lda-dim "$lda_dim" ${enroll_map:+--enroll-map "$enroll_map"} "$@" >/dev/null
}

if in_stage 3 "training"; then
  teacher=$(system_value teacher)
  if [ -n "$teacher" ]; then # its embeddings of whole utterances serve all trainings
    hold_lock "$teacher/distillation/.lock" "the embeddings of $teacher are being extracted" wait
    steps/extract_embeddings.sh --nj "$nj" --cmd "$cmd" --gpus "$gpus" --feats auto "$teacher" "$training_set" \
      "$teacher/distillation$(realpath "$training_set")" # as sv/training/teacher.py
    release_lock "$teacher/distillation/.lock"
  fi
  options_of steps/options/{jobs,processes}.sh
  steps/train.sh "${options[@]}" "$training_set" "$exp_dir"
  basename "$training_set" >"$exp_dir/training_set"
fi

if in_stage 4 "embeddings"; then
  steps/average_models.py "$exp_dir"
  read_as=()
  if [ "$backend_set" != "$train" ]; then
    read_as=(--train-feats ark) # its copies are augmented features of clean waveforms
  fi
  steps/extract_embeddings.sh --nj "$nj" --cmd "$cmd" --gpus "$gpus" --train-data "$backend_set" "${read_as[@]}" \
    "$exp_dir" "$test"
fi

if in_stage 5 "cosine scores"; then
  score --backend cos "$exp_dir" "$backend_set" "$test" "${lists[@]}"
fi

if in_stage 6 "score normalization"; then
  score --prepare true --backend "$score_norm_method" "$exp_dir" "$backend_set" "$test" "${lists[@]}"
fi

if in_stage 7 "PLDA and calibration"; then
  if [ -s "$exp_dir/heldout_spk" ] && [ ! -e "$exp_dir/embeddings/$(basename "$backend_set")/spk_xvector.scp" ]; then
    die "$exp_dir has no spk_xvector.scp of $backend_set; run stage 6 first, since its scores are calibrated, too"
  fi
  score --prepare true --backend plda "$exp_dir" "$backend_set" "$test" "${lists[@]}"
  if [ -s "$exp_dir/heldout_spk" ]; then # calibrate on the held-out training speakers
    calibrate=(--prepare true --backend "cos $score_norm_method plda")
    any=() matched=()
    for list in "${lists[@]}"; do
      if [[ " $matched_trials " == *" $list "* ]]; then
        matched+=("$list")
      else
        any+=("$list")
      fi
    done
    score "${calibrate[@]}" --calibrate-on heldout.kaldi "$exp_dir" "$backend_set" "$test" "${any[@]}"
    if [ "${#matched[@]}" -gt 0 ]; then
      score "${calibrate[@]}" --calibrate-on heldout_H.kaldi --same "$matched_by" "$exp_dir" "$backend_set" "$test" \
        "${matched[@]}"
    fi
  fi
fi

if ((stage <= 7 && stop_stage >= 5)); then
  cat "$exp_dir/results.txt"
fi

if in_stage 8 "report"; then
  steps/make_report.py --train-data "$training_set" --test-data "$test" "$exp_dir"
fi

if in_stage 9 "large-margin fine-tuning"; then
  steps/make_system.py --fine-tune "$exp_dir" --config "$lm_config" --set "$lm_set" "$exp_dir-LM" >/dev/null
  options_of steps/options/{jobs,processes,scoring}.sh
  with_stage exec steps/run_system.sh "${options[@]}" --training-set "$training_set" --backend-set "$backend_set" \
    --stage 3 --stop-stage "$lm_stop_stage" "$train" "$test" "$exp_dir-LM"
else
  end_stages
fi
