#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154  # options come from steps/options and are read by name
# Train on labelled speakers and on recordings without labels, in rounds of clustering and training (stages 3 to 9).
#
#   3 rounds   4 to 8 as in steps/run_system.sh, for the best round
#   9 large-margin fine-tuning of the best round, without the labels that it did not trust (only when asked)
#
# Round 0 is a system trained on <train-data> alone, or --teacher. Each further round clusters the embeddings of the
# round before (steps/cluster.py), takes the clusters as speakers, and trains from the encoder of the round before.
# Rounds end after --num-rounds, when the EER on held-out labelled speakers stops falling, or when the clusters stay the
# same. Test trials decide nothing. To use the clusters of another experiment on the same data, give one of its rounds
# as --teacher.
#
# Reads   <exp-dir>/system.yaml (steps/make_system.py); <train-data> and <test-data> with features; --unlabelled, for
#         which missing features are made
# Leaves  <exp-dir>/roundN: data/all, the training data of the round; the system; embeddings/;
#         clusters/{utt2spk,clusters.json,...}
#         <exp-dir>/rounds.json, once the rounds have ended: what was measured, and the best round, whose folder has the
#         results
#         <dir of train-data>/<name of unlabelled>_unlabelled, a data dir without labels; .made_of names its sources
#
# After a kill, the same command continues.
#
# Usage: steps/train_half_labelled.sh [options] <train-data> <test-data> <exp-dir>
# e.g.: steps/train_half_labelled.sh --unlabelled data/calls data/train data/test exp/x
set -euo pipefail
[ -e path.sh ] || { echo "train_half_labelled.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
stage=3               # first stage to run
stop_stage=8          # last stage to run
fbank=                # DIR: feature archives (default: beside <train-data>)
. steps/options/jobs.sh
. steps/options/processes.sh
. steps/options/rounds.sh
. steps/options/scoring.sh
. tools/parse_options.sh
. steps/recipe.sh

check_stages 3 8 9
train=$1 test=$2 exp_dir=$3
system=$exp_dir/system.yaml
[ -e "$system" ] || die "$system does not exist; make it with steps/make_system.py"
[ -n "$unlabelled" ] || usage_error "--unlabelled must be given"
check_matched
check_unlabelled
if [ -n "$pseudo_labels" ] && ((num_rounds > 1)); then
  num_rounds=1
fi
train_feats=$(system_value train_feats)
[ "$train_feats" != shard ] || die "--train-feats shard has labels in its shards; give ark or online"
heldout=$(system_value heldout_speakers)
((heldout >= 2)) || die "heldout_speakers is $heldout, but rounds are judged by held-out speakers; set it to 2 or more"
if [ "${SV_HELD_LOCK:-}" != "$exp_dir/.run.lock" ]; then # else the recipe holds it
  hold_lock "$exp_dir/.run.lock" "$exp_dir is being made"
  log_stages "$exp_dir"
fi
stage_logs=$exp_dir/log
recordings=$(dirname "$train")/$(basename "$unlabelled")_unlabelled
fbank=${fbank:-$(dirname "$train")/fbank}

once() { # <mark> <input>... -- <command>...: run the command unless the mark says that it was done with these inputs
  local mark=$1 inputs=()
  shift
  while [ "$1" != -- ]; do
    inputs+=("$1")
    shift
  done
  shift
  if ! tools/done.py check "$mark" --options "$*" --inputs "${inputs[@]}" 2>/dev/null; then
    rm -f "$mark" # so that a killed run does not leave it beside half-made files
    "$@"
    tools/done.py write "$mark" --options "$*" --inputs "${inputs[@]}"
  fi
}

check_owner() { # stop if $recordings was made of other folders of the same names
  local calls labelled
  [ -e "$recordings/.made_of" ] || return 0
  { read -r calls && read -r labelled; } <"$recordings/.made_of"
  if [ -d "$calls" ] && [ -d "$labelled" ] && ! [[ $calls -ef $unlabelled && $labelled -ef $train ]]; then
    die "$recordings was made from $calls, without what is in $labelled; rename $unlabelled," \
      "or remove $recordings if no system needs it"
  fi
}

check_start() { # stop if round 0 was begun with another teacher, or without one
  local begun=$exp_dir/round0 remedy="give another --exp-dir, or remove this one"
  if [ -L "$begun" ] && [ -e "$begun" ]; then # else its target was moved away
    [[ $begun -ef $teacher || ! -e $exp_dir/round1 ]] ||
      die "$exp_dir was begun with --teacher $(realpath "$begun"); $remedy"
  elif [ -e "$begun/system.yaml" ]; then
    [ -z "$teacher" ] || die "$exp_dir was begun without --teacher $teacher; $remedy"
  elif [ -e "$begun/heldout_spk" ] && { [ -z "$teacher" ] || [ -e "$teacher/clusters/.done" ]; }; then
    die "$exp_dir was begun with another --teacher, a trained system; $remedy"
  fi
}

check_labels() { # stop if --truth lacks a recording, or --pseudo-labels has none of them
  local lacking found
  if [ -n "$truth" ]; then
    lacking=$(tools/filter_scp.pl --exclude "$truth" "$recordings/utt2spk")
    [ -z "$lacking" ] ||
      die "$truth lacks $(wc -l <<<"$lacking") utterances of $unlabelled, first ${lacking%% *};" \
        "give the speakers of all"
  fi
  if [ -n "$pseudo_labels" ]; then
    found=$(tools/filter_scp.pl "$pseudo_labels" "$recordings/utt2spk" | wc -l)
    ((found > 0)) || die "$pseudo_labels labels no utterance of $unlabelled; are they from another data dir?"
  fi
}

check_files() { # stop if a recording without labels has the id of another one in the labelled data
  local id
  if [ -e "$train/wav.scp" ] && [ -e "$recordings/wav.scp" ]; then
    id=$(awk 'NR == FNR { line[$1] = $0; next } $1 in line && line[$1] != $0 { print $1; exit }' \
      "$train/wav.scp" "$recordings/wav.scp")
    [ -z "$id" ] || die "recording $id is another file in $unlabelled than in $train; rename it in one of them"
  fi
}

prepare_recordings() { # the data dir without labels, and its features
  hold_lock "$recordings/.run.lock" "$recordings is being prepared" wait
  check_owner
  tools/unlabel_data_dir.sh --exclude "$train" --apart-from "$test" "$unlabelled" "$recordings"
  check_labels
  check_files
  realpath "$unlabelled" "$train" >"$recordings/.made_of"
  if [ "$train_feats" = online ]; then
    tools/get_utt2dur.sh --nj "$nj" --cmd "$cmd" "$recordings"
  elif [ ! -e "$recordings/feats.scp" ] || [ -e "$fbank/$(basename "$recordings")" ]; then
    steps/make_fbank.sh --nj "$nj" --cmd "$cmd" --config "$system" --dither true \
      "$recordings" "$fbank/$(basename "$recordings")"
  fi
  release_lock "$recordings/.run.lock"
}

embed() { # <system> <round> <feats>: embeddings of the labelled data and of the recordings
  local data
  for data in "$train" "$recordings"; do
    steps/extract_embeddings.sh --nj "$nj" --cmd "$cmd" --gpus "$gpus" --feats "$3" --skip-bad true \
      "$1" "$data" "$2/embeddings/$(basename "$data")"
  done
}

cluster() { # <round> [<round before>]
  local theirs=$1/embeddings/${train##*/} ours=$1/embeddings/${recordings##*/}
  once "$1/clusters/.done" \
    "$theirs/.done" "$ours/.done" "$1/heldout_spk" "$train/utt2spk" ${2:+"$2/clusters/utt2spk"} ${truth:+"$truth"} -- \
    steps/cluster.py --labelled "$theirs/xvector.scp" --utt2spk "$train/utt2spk" --spk-list "$1/heldout_spk" \
    --false-links "$false_links" --min-utts "$min_utts" ${truth:+--truth "$truth"} \
    ${2:+--before "$2/clusters/utt2spk"} "$ours/xvector.scp" "$1/clusters"
}

combine() { # <labels> <data> <heldout_spk> <maybe_same_spk>: join labelled data and recordings with these labels
  local table
  tools/subset_data_dir.sh --utt-list "$1" "$recordings" "$2/pseudo"
  tools/filter_scp.pl "$2/pseudo/utt2spk" <(LC_ALL=C sort "$1") >"$2/utt2spk"
  tools/utt2spk_to_spk2utt.pl "$2/utt2spk" | LC_ALL=C sort >"$2/pseudo/spk2utt"
  mv "$2/utt2spk" "$2/pseudo/utt2spk"
  tools/combine_data.sh "$2/all" "$train" "$2/pseudo"
  for table in "$train"/spk2*; do # of labelled speakers; stage 7 needs those of the held-out ones for --matched-by
    [ -e "$2/all/${table##*/}" ] || cp "$table" "$2/all"
  done
  cut -d " " -f 1 "$2/pseudo/utt2spk" >"$2/all/pseudo_utts"
  cp "$3" "$2/all/heldout_spk"
  rm -f "$2/all/maybe_same_spk"
  if [ -e "$4" ]; then # pairs of speakers that are there
    awk 'NR == FNR { there[$1]; next } $1 in there && $2 in there' "$2/all/spk2utt" "$4" >"$2/all/maybe_same_spk"
  fi
}

combine_once() { # <labels> <data> <heldout_spk> <maybe_same_spk>
  once "$2/.done" "$1" "$3" "$4" "$train"/{utt2spk,wav.scp,feats.scp} "$recordings"/{utt2spk,wav.scp,feats.scp} -- \
    combine "$@"
}

check_same_labels() { # <labels> <round>: stop if its training was begun with other labels; keep the data that it had
  [ -e "$2/data/all/utt2spk" ] || return 0
  compgen -G "$2/checkpoints/*" >/dev/null || compgen -G "$2/models/model_*" >/dev/null || return 0
  tools/filter_scp.pl "$recordings/utt2spk" <(LC_ALL=C sort "$1") | LC_ALL=C sort -u - "$train/utt2spk" |
    cmp -s - "$2/data/all/utt2spk" ||
    die "$2 was begun with other labels than those of $1; give the options and data that it had, or another --exp-dir"
}

reopen() { # <round>: the rounds have not ended if this one has yet to be trained
  [ -e "$1/models/avg_model.pt" ] || rm -f "$exp_dir/rounds.json"
}

trusted() { # <round>: make data/trusted/all, the data with the labels that its training trusted or corrected
  local labels=$1/data/trusted_labels
  mkdir -p "$1/data/trusted"
  awk '$3 != $2 || $5 >= 0.5 { print $1, $3 }' "$1/pseudo_labels" >"$labels.tmp"
  mv "$labels.tmp" "$labels"
  combine_once "$labels" "$1/data/trusted" "$1/heldout_spk" "$1/data/all/maybe_same_spk"
}

train_on() { # <data-dir> <round>
  steps/train.sh "${processes[@]}" "$1" "$2"
  steps/average_models.py "$2"
}

first_round() { # a system trained on labelled speakers, or the teacher
  local feats=$train_feats
  if [ -e "$teacher/clusters/.done" ]; then
    ln -sfn "$(realpath --relative-to "$exp_dir" "$teacher")" "$exp_dir/round0"
    return
  fi
  [ ! -L "$exp_dir/round0" ] || rm "$exp_dir/round0" # it leads to another experiment
  if [ -n "$teacher" ]; then
    feats=$(steps/begin_rounds.py "$train" "$teacher" "$exp_dir")
  else
    reopen "$exp_dir/round0"
    steps/make_system.py --config "$system" --set "pseudo_args={}" "$exp_dir/round0" >/dev/null # people gave all labels
    train_on "$train" "$exp_dir/round0"
  fi
  embed "${teacher:-$exp_dir/round0}" "$exp_dir/round0" "$feats"
  cluster "$exp_dir/round0"
}

next_round() { # <number>
  local round=$exp_dir/round$1 before=$exp_dir/round$(($1 - 1)) start=()
  local labels=${pseudo_labels:-$before/clusters/utt2spk}
  check_same_labels "$labels" "$round"
  reopen "$round"
  mkdir -p "$round/data"
  combine_once "$labels" "$round/data" "$before/heldout_spk" "${labels%/*}/maybe_same_spk"
  if (($1 > 1)) || [ -z "$teacher" ]; then
    start=("--override=--checkpoint model_init=$before/models/avg_model.pt"
      --set "head_init=class_means fine_tuning.frozen_epochs=0") # round 0 was frozen for its head
  fi
  steps/make_system.py --config "$system" "${start[@]}" "$round" >/dev/null
  train_on "$round/data/all" "$round"
  embed "$round" "$round" "$train_feats"
  cluster "$round" "$before"
}

options_of steps/options/{jobs,processes}.sh
processes=("${options[@]}")
options_of steps/options/{jobs,processes,scoring}.sh
if in_stage 3 "rounds of clustering and training"; then
  check_start
  prepare_recordings
  first_round
  number=0
  judge=(steps/judge_rounds.py --num-rounds "$num_rounds" ${truth:+--truth "$truth"} "$train" "$exp_dir")
  best=$("${judge[@]}" --last 0)
  while [ -z "$best" ]; do
    number=$((number + 1))
    next_round "$number"
    best=$("${judge[@]}" --last "$number")
  done
fi

if ((stop_stage > 3)); then
  [ -e "$exp_dir/rounds.json" ] || die "$exp_dir/rounds.json does not exist: the rounds have not ended; run stage 3"
  best=$(sed -n 's/^ *"best": \([0-9]*\),$/\1/p' "$exp_dir/rounds.json")
  data=$exp_dir/round$best/data/all
  if ((best == 0)); then
    data=$train
  fi
  if ((stop_stage == 9)) && [ -e "$exp_dir/round$best/pseudo_labels" ]; then
    trusted "$exp_dir/round$best"
    options+=(--training-set "$exp_dir/round$best/data/trusted/all")
    options+=(--lm-set "pseudo_args.gate=false pseudo_args.correct_above=0 head_init=auto $lm_set")
  fi
  with_stage exec steps/run_system.sh "${options[@]}" --stage $((stage > 4 ? stage : 4)) --stop-stage "$stop_stage" \
    "$data" "$test" "$exp_dir/round$best"
fi
end_stages
