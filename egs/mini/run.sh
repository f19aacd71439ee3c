#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154  # options come from steps/options and are read by steps/recipe.sh
# The VoxCeleb recipe on a small synthetic corpus: from nothing to a table of results in some minutes, on a laptop.
# What the corpus is, and what its numbers mean: egs/mini/README.md.
#
#   bash egs/mini/run.sh
#   bash egs/mini/run.sh --loss aam       # another loss; what is done already is not done again
#
# Stages: 0 synthetic corpus   1 data lists   2 to 9 as those of egs/voxceleb/run.sh
set -euo pipefail
start_dir=$PWD # paths given by the user are relative to it
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
start_dir="$start_dir" tools/setup.sh --quiet true
. ./path.sh

# Options
. steps/options/stages.sh
stage=0
# Corpus
corpora=egs/mini/corpora # DIR: the synthetic corpus
data=egs/mini/data    # DIR: data lists
. steps/options/jobs.sh
nj=2
. steps/options/processes.sh
gpus=none
. steps/options/features.sh
. steps/options/system.sh
config=egs/mini/conf/resnet_small.yaml
. steps/options/rounds.sh
. steps/options/scoring.sh
trials="vox1_O_cleaned.kaldi vox1_E_cleaned.kaldi vox1_H_cleaned.kaldi" # trial lists (default: those of stage 1)
top_n=20              # number of nearest speakers of the cohort, for asnorm; the cohort has 34
lda_dim=30            # dimensions that LDA keeps before PLDA, below 34; 0: no LDA
lm_config=egs/mini/conf/any_lm.yaml
. tools/parse_options.sh
. steps/recipe.sh

begin_recipe 0 "$data/vox2_dev" "$data/vox1"

if in_stage 0 "synthetic corpus"; then
  local/make_mini_corpus.py --nj "$nj" --verify "$verify" "$corpora"
fi

if in_stage 1 "data lists"; then
  local/prepare_voxceleb.py --vox1 "$corpora/voxceleb1" --vox2 "$corpora/voxceleb2" "$data"
  if is_augmented; then
    local/prepare_augmentation.sh --config "$config" --musan "$musan" --rirs "$rirs" "$data"/{vox2_dev,noises,rirs}
  fi
  check_lists "$data"/{vox2_dev,vox1}
fi

run_common_stages "$data"/{vox2_dev,vox1}
