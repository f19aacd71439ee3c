#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154  # options come from steps/options and are read by steps/recipe.sh
# Speaker verification on speechocean762: real speech on a laptop. Train on the corpus's `train` speakers, test on its
# `test` speakers. Corpus, time and disk needed: README.md beside this file. Numbers: RESULTS.md.
#
#   bash egs/speechocean762/run.sh --corpus DIR          # a copy that is there already
#   bash egs/speechocean762/run.sh --download true       # fetch OpenSLR 101 first (520 MB)
#   bash egs/speechocean762/run.sh --stage 3 --loss aam  # another loss on the same features
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
corpus=egs/speechocean762/corpora/speechocean762 # DIR: the corpus, as distributed or with FLAC files
download=false        # true|false: first download the corpus into that folder
data=egs/speechocean762/data # DIR: data lists
. steps/options/jobs.sh
nj=2
. steps/options/processes.sh
. steps/options/features.sh
speeds="0.9 1.1"
. steps/options/system.sh
config=egs/speechocean762/conf/default.yaml
. steps/options/rounds.sh
. steps/options/scoring.sh
trials="O.kaldi H.kaldi" # trial lists: O of any speakers, H of the same sex and age band
matched_trials="H.kaldi"
matched_by="spk2gender spk2age"
top_n=50
lda_dim=100
lm_config=egs/speechocean762/conf/any_lm.yaml
. tools/parse_options.sh
. steps/recipe.sh

if ((stage == 1)) && [ "$dry_run" = false ] && [ "$download" = false ] && [ ! -e "$corpus" ]; then
  die "--corpus $corpus does not exist; give --corpus DIR, or --download true"
fi

begin_recipe 1 "$data/train" "$data/test"

if in_stage 1 "data and trial lists"; then
  if [ "$download" = true ]; then
    local/download_speechocean762.py "$corpus"
  fi
  local/prepare_speechocean762.py "$corpus" "$data"
  if is_augmented; then
    local/prepare_augmentation.sh --config "$config" --musan "$musan" --rirs "$rirs" "$data"/{train,noises,rirs}
  fi
  check_lists "$data"/{train,test}
fi

run_common_stages "$data"/{train,test}
