#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154  # options come from steps/options and are read by steps/recipe.sh
# Speaker verification on CN-Celeb: train on its 1 (dev) and 2, test on its 1 (eval), with results by genre.
# The corpora, and what is made of them: egs/cnceleb/README.md.
#
#   bash egs/cnceleb/run.sh --cnceleb1 /corpora/CN-Celeb_flac --cnceleb2 /corpora/CN-Celeb2_flac --gpus 0,1
#
# Stages: 1 data and trial lists   2 features   3 training   4 embeddings   5 cosine scores   6 score normalization
#         7 PLDA and calibration   8 report   9 large-margin fine-tuning, with all stages from 3 on (only when asked)
set -euo pipefail
start_dir=$PWD # paths given by the user are relative to it
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
start_dir="$start_dir" tools/setup.sh --quiet true
. ./path.sh

# Options
. steps/options/stages.sh
# Corpus
cnceleb1=egs/cnceleb/corpora/CN-Celeb_flac # DIR: CN-Celeb 1, as unpacked
cnceleb2=egs/cnceleb/corpora/CN-Celeb2_flac # DIR: CN-Celeb 2, as unpacked ("": train on CN-Celeb 1 only)
min_duration=5        # seconds; shorter training utterances are joined with others of their speaker and genre; 0: never
data=egs/cnceleb/data # DIR: data lists, and the joined utterances
. steps/options/jobs.sh
. steps/options/processes.sh
. steps/options/features.sh
speeds="0.9 1.1"
. steps/options/system.sh
config=egs/cnceleb/conf/resnet34.yaml
. steps/options/rounds.sh
. steps/options/scoring.sh
enroll_map=           # FILE: utterances of the enroll models (default: <data>/test/enroll.map, as in the corpus)
lm_config=egs/voxceleb/conf/any_lm.yaml
. tools/parse_options.sh
. steps/recipe.sh

is_given enroll_map || enroll_map=$data/test/enroll.map

for name in cnceleb1 cnceleb2; do
  if ((stage == 1)) && [ "$dry_run" = false ] && [ -n "${!name}" ] && [ ! -e "${!name}" ]; then
    die "--$name ${!name} does not exist; give --cnceleb1 DIR and --cnceleb2 DIR," \
      "or --cnceleb2 \"\" to train on the first alone"
  fi
done

begin_recipe 1 "$data/train" "$data/test"

if in_stage 1 "data and trial lists"; then
  local/prepare_cnceleb.py --cnceleb1 "$cnceleb1" ${cnceleb2:+--cnceleb2 "$cnceleb2"} --min-duration "$min_duration" \
    --nj "$nj" "$data"
  if is_augmented; then
    local/prepare_augmentation.sh --config "$config" --musan "$musan" --rirs "$rirs" "$data"/{train,noises,rirs}
  fi
  check_lists "$data"/{train,test}
fi

run_common_stages "$data"/{train,test}
