#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154  # options come from steps/options and are read by name
# Half-labelled speechocean762: hide the labels of most training speakers. Compare systems that train on the labelled
# speakers alone, also on clusters of the others, or on the true labels of all. Numbers: SEMI.md.
#
#   bash egs/speechocean762/run.sh --corpus DIR --stop-stage 2
#   bash egs/speechocean762/run_semi.sh --num-threads 1
#   bash egs/speechocean762/run_semi.sh --seeds 1 --rows "labelled-C oracle-C pseudo-C pseudo-aam"
#
# A row is <labels>-<loss>[+<option>...]. Labels: labelled, oracle (true labels in place of clusters), pseudo. Losses:
# C, A, M (types of SphereFace2), aam. Options of pseudo: gate, mask, correct, all. All but labelled-* start from the
# seed's labelled-C. labelled-C+long takes as many steps as a training on all speakers. Finished rows are kept.
set -euo pipefail
start_dir=$PWD # paths given by the user are relative to it
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
start_dir="$start_dir" tools/setup.sh --quiet true
. ./path.sh

# Options
data=egs/speechocean762/data # DIR: data lists and features, of run.sh
exp=egs/speechocean762/exp/semi # DIR: folders of all rows
labelled_speakers=40  # speakers that keep their labels, beside the held-out ones; several as in "20 40 60"
heldout_speakers=15   # labelled speakers that are held out; they decide thresholds and the end of the rounds
seeds="1 2 3"         # seeds of the split and of the training, as in "1 2 3"
rows="labelled-C oracle-C pseudo-aam pseudo-C pseudo-A pseudo-C+gate pseudo-C+mask pseudo-C+correct pseudo-C+all pseudo-aam+gate+correct"
against=              # row that is compared with the others of its seed, by paired tests
config=egs/speechocean762/conf/resnet_small.yaml # FILE: YAML of the systems
set=                  # further keys of all systems (sv/config.py); they override those of the rows
num_rounds=3          # maximum number of rounds of clustering and training
teacher=              # DIR: trained or imported system that makes the first clusters (default: labelled-C)
. steps/options/jobs.sh
nj=1
. steps/options/processes.sh
gpus=none
. tools/parse_options.sh
. tools/guard.sh

for table in train/feats.scp test/feats.scp test/trials/H.kaldi; do
  [ -e "$data/$table" ] || die "$data/$table does not exist; run egs/speechocean762/run.sh --stop-stage 2 first"
done
options_of steps/options/{jobs,processes}.sh
jobs=("${options[@]}")

hide_labels() { # <labelled speakers> <seed> <folder>
  local per_spk utts made file
  made=$heldout_speakers
  for file in "$data"/train/{utt2spk,wav.scp,feats.scp,vad.scp,fbank.yaml}; do
    [ ! -e "$file" ] || made+=" $(sha256sum <"$file")"
  done
  if [ -e "$3/.done" ] && [ "$(<"$3/.done")" = "$made" ]; then
    return
  fi
  utts=$(wc -l <"$data/train/utt2spk")
  per_spk=$((utts / $(wc -l <"$data/train/spk2utt")))
  tools/subset_data_dir.sh --speakers true --seed "$2" "$data/train" $((($1 + heldout_speakers) * per_spk)) "$3/train"
  tools/filter_scp.pl --exclude "$3/train/utt2spk" "$data/train/utt2spk" >"$3/truth"
  tools/subset_data_dir.sh --utt-list "$3/truth" "$data/train" "$3/hidden"
  printf '%s' "$made" >"$3/.done"
}

scaled() { # <key> <factor> <system.yaml>: print key=value, the value of a system times the factor
  sed -n "s/^ *${1##*.}: \([0-9][0-9]*\)$/\1/p" "$3" |
    awk -v key="$1" -v by="$2" '{ printf " %s=%d", key, $1 * by + 0.5 }'
}

configure() { # <row> <seed> <labelled speakers> <exp-dir> [<model to start from>]: resolve its system
  local keys="seed=$2 heldout_speakers=$heldout_speakers" loss=${1#*-} trick key
  local tricks=${1#*-}+
  tricks=${tricks#*+}
  loss=${loss%%+*}
  case $loss in
    aam) keys+=" loss=aam" ;;
    A | C | M) keys+=" loss=sphereface2 loss_args.margin_type=$loss" ;;
    *) refuse "--rows $1: the losses are C, A, M and aam" ;;
  esac
  [[ $1 != pseudo-* ]] || keys+=" pseudo_args.labelled_share=0.5 pseudo_args.start_epoch=5" # a third of the epochs
  for trick in ${tricks//+/ }; do
    [[ $trick != @(gate|all) ]] || keys+=" pseudo_args.gate=true"
    [[ $trick != @(mask|all) ]] || keys+=" pseudo_args.mask=true"
    [[ $trick != @(correct|all) ]] || keys+=" pseudo_args.correct_above=0.9"
    [[ $trick == @(gate|mask|correct|all|long) ]] || refuse "--rows $1: the options are gate, mask, correct, all and long"
  done
  keys+=" $set"
  if [[ +$tricks == *+long+* ]]; then
    steps/make_system.py --config "$config" --set "$keys" "$4/not_scaled" >/dev/null
    for key in num_epochs margin_update.{increase,fix}_start_epoch scheduler_args.warm_up_epoch; do
      keys+=$(scaled "$key" "$(awk "BEGIN { print ($all - $heldout_speakers) / $3 }")" "$4/not_scaled/system.yaml")
    done
  fi
  steps/make_system.py --config "$config" --set "$keys" ${5:+"--override=--checkpoint model_init=$5" \
    "--override=head_init head_init=class_means"} "$4" >/dev/null
}

run_row() { # <row> <seed> <labelled speakers> <split> <folder>
  local kind=(--num-rounds "$num_rounds") first=$5/labelled-C-seed$2 start=
  case $1 in
    labelled-*) kind=(--num-rounds 0) ;;
    oracle-*) kind=(--pseudo-labels "$4/truth") ;;
    pseudo-*) ;;
    *) refuse "--rows $1: a row begins with labelled-, oracle- or pseudo-" ;;
  esac
  if [[ $1 != labelled-* ]]; then
    kind+=(--teacher "${teacher:-$first/round0}")
    [ -n "$teacher" ] || start=$PWD/$first/round0/models/avg_model.pt
    [[ $first != /* ]] || start=${start#"$PWD/"}
  fi
  configure "$1" "$2" "$3" "$5/$1-seed$2" "$start"
  steps/train_half_labelled.sh "${jobs[@]}" "${kind[@]}" --unlabelled "$4/hidden" --truth "$4/truth" --stop-stage 5 \
    "$4/train" "$data/test" "$5/$1-seed$2"
}

all=$(wc -l <"$data/train/spk2utt")
[[ " $rows " == *" labelled-C "* ]] || rows="labelled-C $rows"
systems=()
for count in $labelled_speakers; do
  for seed in $seeds; do
    for row in $rows; do
      split=$data/semi/$count-seed$seed
      hide_labels "$count" "$seed" "$split"
      say "$count labelled speakers, seed $seed: $row"
      run_row "$row" "$seed" "$count" "$split" "$exp/$count"
      systems+=("$exp/$count/$row-seed$seed")
    done
  done
done
steps/summarize_rounds.py ${against:+--against "$against" --test-data "$data/test"} "${systems[@]}"
