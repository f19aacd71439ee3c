#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154  # options come from steps/options and are read by steps/recipe.sh
# Speaker verification on a corpus of your own: folders of speakers, or a list. The recipe holds out test speakers. It
# chooses how many, and all settings that depend on the number of speakers, and prints them: egs/own/README.md.
#
#   bash egs/own/run.sh --corpus /corpora/calls          # a folder with a folder for each speaker
#   bash egs/own/run.sh --csv calls.csv                  # path,speaker[,start,end][,sex,age,session,language]
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
corpus=               # DIR: the corpus, with a folder for each speaker; with --csv, where relative paths start
csv=                  # FILE: a list of files and speakers instead (local/prepare_folder.py --help)
ignore_columns=       # columns of the list that are not read, as in "transcript note"
leave_out_bad=false   # true|false: leave out files that cannot be used
test_speakers=0       # number of test speakers; 0: a fifth of all, at most 100
data=egs/own/data     # DIR: data lists
. steps/options/jobs.sh
nj=2
. steps/options/processes.sh
. steps/options/features.sh
. steps/options/system.sh
config=egs/own/conf/resnet_small.yaml
. steps/options/rounds.sh
. steps/options/scoring.sh
top_n=0               # nearest speakers of the cohort, for asnorm (default: half of the training speakers, at most 300)
lda_dim=0             # dimensions that LDA keeps before PLDA (default: chosen, below the number of training speakers)
lm_config=egs/speechocean762/conf/any_lm.yaml
. tools/parse_options.sh
. steps/recipe.sh

lists=(--ignore-columns "$ignore_columns" ${csv:+--csv "$csv"})

choose_sizes() { # <option>...: set new_lists, train_speakers, and what depends on their number and was not given
  local sizes heldout embed_dim chosen_top_n chosen_lda_dim chosen_num_epochs copies chosen=() given_heldout=()
  read -ra copies <<<"$speeds $augment"
  if [[ " $train_feats $data_type $set " =~ [\ =](online|shard|raw)\  ]]; then
    copies=() # speeds are drawn
  fi
  if [[ " $set " =~ .*\ heldout_speakers=([0-9]{1,9})\  ]]; then
    given_heldout=(--heldout-speakers "${BASH_REMATCH[1]}")
  fi
  sizes=$(SV_STAGE_LOG=/dev/null local/plan_corpus.py --test-speakers "$test_speakers" --copies "${#copies[@]}" \
    --dry-run "$dry_run" "${given_heldout[@]}" "$@" "$data")
  read -r test_speakers heldout embed_dim chosen_top_n chosen_lda_dim chosen_num_epochs new_lists train_speakers \
    <<<"$sizes"
  if [[ " $set" != *" heldout_speakers="* ]]; then
    set="heldout_speakers=$heldout $set"
  fi
  if ! is_given config && ! is_given model && ! is_given checkpoint && [[ " $set" != *" model_args.embed_dim="* ]]; then
    set="model_args.embed_dim=$embed_dim $set"
    chosen+=(", embed_dim $embed_dim")
  fi
  if ! is_given top_n; then
    top_n=$chosen_top_n
    chosen+=(", --top-n $top_n")
  fi
  if ! is_given lda_dim; then
    lda_dim=$chosen_lda_dim
    chosen+=(", --lda-dim $lda_dim")
  fi
  if ! is_given config && ! is_given num_epochs && ! is_given checkpoint && [[ " $set" != *" num_epochs="* ]]; then
    set="num_epochs=$chosen_num_epochs $set"
    chosen+=(", --num-epochs $chosen_num_epochs")
  fi
  if [ "${#chosen[@]}" -gt 0 ]; then
    SV_STAGE_LOG=/dev/null tell "chosen: $(printf %s "${chosen[@]}" | cut -c 3-)"
  fi
}

check_stages 1 8 9
if ((stage > 1)); then
  if [ -e "$data/train/spk2utt" ] && [ -e "$data/test/spk2utt" ]; then
    choose_sizes --prepared true
  fi
elif [ -n "$corpus$csv" ]; then
  choose_sizes "${lists[@]}" --leave-out-bad "$leave_out_bad" --config "$config" --set "$set" \
    ${corpus:+--corpus "$corpus"}
elif [ "$dry_run" = false ]; then
  refuse "no corpus; give --corpus DIR, a folder with a folder for each speaker, or --csv FILE"
fi

begin_recipe 1 "$data/train" "$data/test"

if in_stage 1 "data and trial lists"; then
  local/prepare_folder.py "${lists[@]}" --leave-out-bad "$leave_out_bad" --test-speakers "$test_speakers" \
    --trials true --config "$system" ${corpus:+"$corpus"} "$data"
  if is_augmented; then
    local/prepare_augmentation.sh --config "$config" --musan "$musan" --rirs "$rirs" "$data"/{train,noises,rirs}
  fi
  check_lists "$data"/{train,test}
fi

run_common_stages "$data"/{train,test}
