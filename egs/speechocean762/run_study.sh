#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154,SC2086  # names of parts and seeds are words; options come from steps/options
# Compare losses, options, encoders and so on: each system is trained on the corpus's own split, and in a
# cross-validation over all of its speakers. Results: egs/speechocean762/STUDY.md.
#
#   bash egs/speechocean762/run_study.sh --corpus DIR --part losses
#   bash egs/speechocean762/run_study.sh --part "losses noise" --seeds "1 2 3"   # what is done already stays
#   bash egs/speechocean762/run_study.sh --stage 3 --part losses                 # results of what is done so far
#   bash egs/speechocean762/run_study.sh --part all
#
# A part is a table, egs/speechocean762/study/<part>, a line for each system: name, labels, options of run.sh. Labels
# are clean, or as in classwise0.3 (30 % wrong, by tools/corrupt_labels.py). Among the options, @aam is the trained
# model of the row aam, and TEACHER what --teacher names. The scores of each fold are calibrated on those of the other
# folds; then all are measured as one list. Systems are tested against the first of their table.
#
# Choose a recipe with --speakers train: its folds are of the training speakers alone.
#
# With --conditions every system is also tested on copies of the test recordings (local/degrade_data.sh). Training with
# noise uses --noises; tests use --test-noises and rooms of other seeds, so that no noise or room is in both.
#
# Stages: 1 lists, features and folds   2 training and scores of every system   3 pooled results, tests, one report
# Leaves  <exp-dir>/{split,fold1,fold2,...}/<system>-seed<N> as run.sh does; <exp-dir>/pooled/<system>-seed<N>
#         <exp-dir>/RESULTS.md: for each part its results, means over the seeds, and paired tests
#         <exp-dir>/report-{split,pooled}.html: one page with all systems
set -euo pipefail
start_dir=$PWD # paths given by the user are relative to it
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
start_dir="$start_dir" tools/setup.sh --quiet true
. ./path.sh

# Options
stage=1               # first stage to run
stop_stage=3          # last stage to run
part=losses           # tables of <tables>, as in "losses noise"; all: all but conditions and recipe
fold_part=            # those with a cross-validation (default: all of them; with --part all "losses backends")
seeds=1               # seeds of training, as in "1 2 3"
speakers=all          # all|train: speakers of the cross-validation; train: to choose a recipe without the test speakers
num_folds=5           # folds of the cross-validation; 0: only the corpus's own split
corpus=egs/speechocean762/corpora/speechocean762 # DIR: the corpus, as distributed or with FLAC files
data=egs/speechocean762/data # DIR: data lists; those of the folds are in <data>/folds_<speakers>
exp_dir=              # DIR: all systems (default: egs/speechocean762/exp/study_<speakers>)
conditions=           # to test in as well, as in "noise0 room telephone 2s" (default: none; with --part all "noise5 room")
noises=               # DIR: recordings of noise for training (default: synthetic)
test_noises=          # DIR: other recordings of noise, for the conditions (default: synthetic, of another seed)
teacher=              # DIR: trained or imported system, for rows with TEACHER
config=egs/speechocean762/conf/resnet_small_bf16.yaml # FILE: YAML that the options of each system change
tables=egs/speechocean762/study # DIR: tables of the parts
top_n=50              # number of nearest speakers of the cohort, for asnorm
lda_dim=              # dimensions that LDA keeps before PLDA (default: 100; with --speakers train: 50)
. steps/options/jobs.sh
nj=2                  # number of trainings at a time
. steps/options/processes.sh
num_threads=1
. tools/parse_options.sh
. tools/guard.sh
. tools/run_parts.sh

check_stages 1 3
if ((num_folds < 0 || num_folds == 1)); then
  refuse "--num-folds $num_folds: give 0, or 2 or more"
elif [ "$speakers" = train ] && ((num_folds == 0)); then
  refuse "--speakers train --num-folds 0: systems are trained on folds alone; give 2 or more"
elif [ "$speakers" = train ] && [ -n "$fold_part" ]; then
  refuse "--speakers train --fold-part \"$fold_part\": all parts have folds; leave --fold-part out"
fi
once() { # <word>...: each word once
  printf '%s\n' "$@" | awk '!seen[$0]++' | paste -sd ' '
}
seeds=$(once $seeds)
part=$(once $part)
[ -n "$part" ] || refuse "--part names no table; the parts are $(ls -mw 0 "$tables"), or all"
if [ "$part" = all ]; then
  part="losses options noise start backends augmentation encoders${teacher:+ teacher}"
  is_given conditions || conditions="noise5 room"
  if [ "$speakers" = all ]; then
    fold_part=${fold_part:-losses backends}
  fi
fi
for table in $part; do
  [ -f "$tables/$table" ] || die "--part $table: the parts are $(ls -mw 0 "$tables"), or all"
done
fold_part=$(once ${fold_part:-$part})
for table in $fold_part; do
  [[ " $part " == *" $table "* ]] || refuse "--fold-part $table is none of the parts: $part"
done
for condition in $conditions; do
  if [[ ! $condition =~ ^(noise-?[0-9]+|room|telephone|[0-9]+(\.[0-9]+)?s)$ ]]; then
    refuse "--conditions $condition: give noise<dB>, room, telephone or <seconds>s, as in noise5 and 2s"
  fi
done
exp_dir=${exp_dir:-egs/speechocean762/exp/study_$speakers}
if [ "$speakers" = all ]; then
  lda_dim=${lda_dim:-100}
fi
lda_dim=${lda_dim:-50}
folds=$data/folds_$speakers
fold_sets=() # in the order of the pooled lists
for ((fold = 1; fold <= num_folds; fold++)); do
  fold_sets+=("fold$fold")
done
sets=("${fold_sets[@]}")
if [ "$speakers" = all ]; then
  sets=(split "${fold_sets[@]}")
fi

rows() { # <part>...: the lines of their tables, each once, without comments
  (cd "$tables" && sed -e '/^#/d' -e '/^[[:space:]]*$/d' "$@") | awk '!seen[$0]++'
}
rows_of() { # <set>: the rows that are trained on it
  if [ "$1" = split ]; then
    rows $part
  else
    rows $fold_part
  fi
}
twice=$(rows $part | awk 'seen[$1]++ {name = $1} END {print name}')
[ -z "$twice" ] || die "--part $part: $twice is the name of two systems; give each its own"
if ((stage <= 2)) && [[ $(rows $part) == *TEACHER* && ! -e $teacher/models/avg_model.pt ]]; then
  die "--part $part needs a teacher; give a trained or imported system as --teacher DIR (docs/fine-tuning.md)"
fi
hold_lock "$exp_dir/.study.lock" "$exp_dir is being made"

folder() { # <set> <labels>: the data dirs of a training
  case $1,$2 in
    split,clean) printf '%s' "$data" ;;
    *,clean) printf '%s' "$folds/$1" ;;
    *) printf '%s' "$folds/$2/$1" ;;
  esac
}

if in_stage 1 "lists, features and folds"; then
  speeds=''
  if [[ $(rows $part) == *--speeds* ]]; then
    speeds="0.9 1.1"
  fi
  bash egs/speechocean762/run.sh --nj "$nj" --cmd "$cmd" --config "$config" --exp-dir "$exp_dir/features" \
    --speeds "$speeds" --corpus "$corpus" --data "$data" --stop-stage 2
  if [ "$speakers" = all ]; then
    dealt=$folds/all
    tools/combine_data.sh "$dealt" "$data/train" "$data/test"
    if [ -n "$speeds" ]; then
      copies=() # of the test speakers, whose own features stay without dither
      for speed in $speeds; do
        tools/perturb_data_dir_speed.sh "$speed" "$data/test" "$data/test_sp$speed"
        copies+=("$data/test_sp$speed")
        hold_lock "$data/fbank/test_sp$speed/.lock" "$data/fbank/test_sp$speed is being filled"
      done
      run_parts "$data/fbank/log/make_fbank_test.JOB.log" steps/prepare_features.py \
        --config "$exp_dir/features/system.yaml" --fbank "$data/fbank" "$data/test" "${copies[@]}"
      for copy in "${copies[@]}"; do
        release_lock "$data/fbank/$(basename "$copy")/.lock"
      done
      tools/combine_data.sh "${dealt}_sp" "$data/train_sp" "${copies[@]}" "$data/test"
      cp "$data/train_sp/copies" "${dealt}_sp/copies"
    fi
  else
    dealt=$data/train
  fi
  if ((num_folds > 0)); then
    local/make_folds.sh --num-folds "$num_folds" "$dealt" "$folds"
  fi
  tests=()
  for set in "${sets[@]}"; do
    lists=$(folder "$set" clean)
    tests+=("$lists/test")
    if [[ $(rows_of "$set") == *"--train-feats online"* ]]; then
      local/prepare_augmentation.sh --noises "$noises" "$lists"/{train,noises,rirs}
    fi
  done
  for set in "${sets[@]}"; do
    for labels in $(rows_of "$set" | awk '$2 != "clean" {print $2}' | sort -u); do
      lists=$(folder "$set" clean)
      wrong=$(folder "$set" "$labels")
      tools/corrupt_labels.py --kind "${labels%%[0-9]*}" --ratio "${labels##*[a-z]}" --seed 1 \
        "$lists/train" "$wrong/train"
      ln -sfn "$(realpath "$lists/test")" "$wrong/test"
    done
  done
  local/degrade_data.sh --nj "$nj" --cmd "$cmd" --config "$exp_dir/features/system.yaml" --conditions "$conditions" \
    --noises "$test_noises" "$data" "${tests[@]}"
  for condition in $conditions; do
    for list in O H; do # degraded lists differ by their names alone
      if ((num_folds > 0)); then
        cp "$folds/pooled/trials/$list.kaldi" "$folds/pooled/trials/${list}_$condition.kaldi"
      fi
    done
  done
fi

is_made() { # <mark> <what made it>
  [ -e "$1" ] && [ "$(<"$1")" = "$2" ]
}

job() { # <mark> <what made it> <command>...: a line for the job of a system; the mark is written when it is done
  rm -f "$1"
  printf '%q ' "${@:3}"
  printf '&& printf %%s %q >%q || exit 1\n' "$2" "$1"
}

jobs_of() { # <name> <set> <seed> <labels> <option>...: what is left to do, a line each
  local lists test made tested condition system=$exp_dir/$2/$1-seed$3
  lists=$(folder "$2" "$4")
  test=$(folder "$2" clean)/test
  [ -e "$lists/train/utt2spk" ] || die "$lists/train does not exist; run stage 1 with --part \"$part\""
  made="$(sha256sum <"$lists/train/utt2spk") $top_n $lda_dim ${*:5}"
  if [[ " ${*:5} " == *" --train-feats online "* ]]; then
    made+=" $(sha256sum <"$lists/noises/wav.scp")"
  fi
  if ! is_made "$system/.made" "$made"; then # what was killed goes on
    job "$system/.made" "$made" bash egs/speechocean762/run.sh "${common[@]}" --speeds "" --data "$lists" --seed "$3" \
      --stage 3 --config "$config" --exp-dir "$system" "${@:5}"
  fi
  for condition in $conditions; do
    [ -e "${test}_$condition/wav.scp" ] || die "${test}_$condition does not exist; run stage 1 with --conditions"
    tested="$made $(sha256sum <"${test}_$condition/wav.scp")"
    if ! is_made "$system/.made.$condition" "$tested"; then
      job "$system/.made.$condition" "$tested" steps/run_system.sh "${common[@]}" --stage 4 \
        --trials "O_$condition.kaldi H_$condition.kaldi" --matched-trials "H_$condition.kaldi" \
        --matched-by "spk2gender spk2age" "$lists/train" "${test}_$condition" "$system"
    fi
  done
}

fill_in() { # <set> <seed>: paths for @NAME and TEACHER in the array words
  local i
  for i in "${!words[@]}"; do
    case ${words[i]} in
      @*) words[i]=$exp_dir/$1/${words[i]#@}-seed$2/models/avg_model.pt ;;
      TEACHER) words[i]=$teacher ;;
    esac
  done
}

failed=false
run_jobs() { # -v|-e: of the rows without @NAME, or of those with it, what is left to do; failures do not stop others
  local seed name labels line set words job first=$((count + 1))
  for seed in $seeds; do
    for set in "${sets[@]}"; do
      while read -r name labels line; do
        mapfile -t words < <(xargs -n 1 <<<"$line") # blanks within quotes stay
        fill_in "$set" "$seed"
        jobs_of "$name" "$set" "$seed" "$labels" "${words[@]}" >"$exp_dir/jobs/$((count + 1))"
        if [ -s "$exp_dir/jobs/$((count + 1))" ]; then
          count=$((count + 1))
        fi
      done < <(rows_of "$set" | grep "$1" " @")
    done
  done
  if ((count >= first)); then
    say "$((count - first + 1)) systems to train or test; their logs are $exp_dir/log/study.*.log"
    job=$(free_name JOB "$exp_dir")
    $cmd --max-jobs-run "$nj" "$job=$first:$count" "$exp_dir/log/study.$job.log" bash "$exp_dir/jobs/$job" ||
      failed=true
  fi
}

if in_stage 2 "training and scores of every system"; then
  options_of steps/options/processes.sh
  common=("${options[@]}" --nj 1 --top-n "$top_n" --lda-dim "$lda_dim" --stop-stage 7)
  rm -rf "$exp_dir/jobs"
  mkdir -p "$exp_dir/jobs"
  steps/make_system.py --config "$config" --output "$exp_dir/config.yaml" "$exp_dir" >/dev/null # refuses another one
  count=0
  run_jobs -v
  run_jobs -e # which start from the models of those
fi

is_done() { # <split|pooled> <system>: trained, and tested under all conditions; pooled: in all folds
  local set mark made_in=(split)
  [ "$1" = split ] || made_in=("${fold_sets[@]}")
  for set in "${made_in[@]}"; do
    for mark in .made ${conditions:+$(printf '.made.%s ' $conditions)}; do
      [ -e "$exp_dir/$set/$2/$mark" ] || return 1
    done
  done
}

pool() { # <system>: measure the scores of all folds as one list
  local set systems=()
  for set in "${fold_sets[@]}"; do
    systems+=("$exp_dir/$set/$1")
  done
  steps/pool_scores.py "$folds/pooled/trials" "$exp_dir/pooled/$1" "${systems[@]}" >/dev/null
}

found_systems() { # <split|pooled> <part>...: what is done of these parts into the array found, the seeds in a row
  local name seed
  found=()
  while read -r name _; do
    for seed in $seeds; do
      if is_done "$1" "$name-seed$seed"; then
        found+=("$exp_dir/$1/$name-seed$seed")
      else
        say "$name-seed$seed is not done; the results of $1 are without it"
      fi
    done
  done < <(rows "${@:2}")
}

results() { # <split|pooled> <title> <data dir of the trials> <part>...: their tables, and one page with all systems
  local table
  for table in "${@:4}"; do
    found_systems "$1" "$table"
    if ((${#found[@]} > 0)); then
      printf '\n## %s, %s\n\n' "$2" "$table"
    fi
    if ((${#found[@]} > 1)); then
      steps/compare.py --test-data "$3" "${found[@]}"
    elif ((${#found[@]} == 1)); then
      sed 's/^# /### /' "${found[0]}/results.md"
    fi
  done
  found_systems "$1" "${@:4}" 2>/dev/null
  if ((${#found[@]} > 1)); then
    steps/compare.py --report "$exp_dir/report-$1.html" "${found[@]}" >/dev/null
  fi
}

if in_stage 3 "results"; then
  if ((num_folds > 0)); then
    for seed in $seeds; do
      while read -r name _; do
        if is_done pooled "$name-seed$seed"; then
          pool "$name-seed$seed"
        fi
      done < <(rows $fold_part)
    done
  fi
  {
    printf '%s\n' "# Results of the study" "" \
      "Tests are against the first system of each table. Brackets: 95 % confidence intervals over speakers." \
      "Several seeds are tested by their means. Other seeds would have other means, which no interval includes."
    if [ "$speakers" = all ]; then
      results split "The corpus's own split" "$data/test" $part
    fi
    if ((num_folds > 0)); then
      results pooled "Cross-validation" "$folds/pooled" $fold_part
    fi
  } | tee "$exp_dir/RESULTS.md.tmp"
  if ! grep -q '^## ' "$exp_dir/RESULTS.md.tmp"; then
    rm "$exp_dir/RESULTS.md.tmp"
    die "no system of --part \"$part\" is done in $exp_dir; run stage 2"
  fi
  mv "$exp_dir/RESULTS.md.tmp" "$exp_dir/RESULTS.md"
fi

if [ "$failed" = true ]; then
  die "some systems failed (see above); their results are left out, and the same command tries them again"
fi
