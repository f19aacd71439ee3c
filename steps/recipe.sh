# shellcheck shell=bash disable=SC2034,SC2154
# Functions that all recipes share; a recipe sources this file after tools/parse_options.sh. With --model list, print
# the encoders and end.
#
#   begin_recipe <first stage> <train-data> <test-data>   check options and data, resolve the system, take the locks;
#                                      with --dry-run show the plan and end
#   log_stages <exp-dir>               write the log of each stage to <exp-dir>/log/stage<N>.log from now on; stderr
#                                      shows only progress, each warning once, and errors
#   is_augmented                       true if training or back-ends need noise and rooms, which stage 1 must then list
#   check_lists <train-data> <test-data>   check the lists that stage 1 made: stop if stages 3 to 9 cannot run with
#                                      them and the options; drop the recipe's own --trials and --matched-trials that
#                                      do not exist
#   name_training_set <train-data>     print the data dir that stage 3 reads: <train-data>, or its union with copies
#   name_backend_set <train-data>      print the data dir that back-ends are trained on: <train-data>, or its union with
#                                      copies
#   list_copies <speeds> <types>       print the suffixes of copies of a data dir, a line each: sp0.9, noise
#   system_value <key>                 print the value of a key of $system that is not in a block
#   run_common_stages <train-data> <test-data>   run stages 2 to 9: features; one system, or with --unlabelled rounds
#
# Some recipes know the speakers of <train-data> before stage 1. They set train_speakers to the names. Then sizes are
# checked before stage 1, and an <exp-dir> of other speakers is refused.
#
# begin_recipe sets exp_dir, system (its system.yaml: the resolved configuration, which all later steps read),
# train_feats and training_set.

. tools/guard.sh

if [ "${model:-}" = list ]; then
  exec steps/list_models.py
fi

begin_recipe() {
  local resolve
  check_stages "$1" 8 9
  check_options
  fbank=${fbank:-$data/fbank}
  if [ -n "$teacher$unlabelled" ] && ! is_given speeds; then
    speeds= # copies are other voices, which neither a teacher nor a cluster knows
  fi
  resolve=(steps/make_system.py --config "$config" "${overrides[@]}" --set "$set" --gpus "$gpus" --stage "$stage"
    --noise-data "$data/noises" --reverb-data "$data/rirs" --root "${script_dir#"$PWD/"}/exp"
    ${augment:+--suffix=-aug} ${unlabelled:+--suffix=-half-labelled --stage 3})
  if [ -n "$speeds" ] || is_given speeds; then
    resolve+=(--speeds "$speeds")
  fi
  if is_given config; then
    resolve+=(--same-config true)
  fi
  if [ -n "$teacher" ] && [ -z "$unlabelled" ]; then
    resolve+=("--override=--teacher teacher=$teacher")
  fi
  if ((stage == 1 && stop_stage >= 3)) && [ -n "${train_speakers:-}" ]; then
    resolve+=(--speakers /dev/stdin)
  fi
  resolved=$(mktemp)
  trap 'rm -f "$resolved"' EXIT
  exp_dir=$("${resolve[@]}" --output "$resolved" ${exp_dir:+"$exp_dir"} <<<"${train_speakers:-}")
  system=$resolved
  train_feats=$(system_value train_feats)
  check_augment
  check_teacher
  training_set=$(name_training_set "$2")
  if [ -n "$unlabelled" ] && [ "$training_set" != "$2" ]; then
    die "--unlabelled cannot use copies in arks (--speeds, --augment);" \
      "give --train-feats online, which augments while it trains"
  fi
  if ((stage > 1)); then
    check_lists "$2" "$3"
  else
    check_before_stage_1 "$2" "$3"
  fi
  check_copies "$2"
  if [ "$dry_run" = true ]; then
    steps/show_plan.py --stage "$stage" --gpus "$gpus" --num-procs "$num_procs" --num-nodes "$num_nodes" \
      --system "$system" --new-lists "${new_lists:-false}" ${unlabelled:+--rounds true} \
      --backend-set "$(name_backend_set "$2")" "$exp_dir" "$2" "$training_set" "$3"
    exit
  fi
  check_data "$2" "$3"
  hold_lock "$exp_dir/.run.lock" "$exp_dir is being made"
  export SV_HELD_LOCK=$exp_dir/.run.lock # run_system.sh works under it
  if ((stage <= 2)); then
    hold_lock "$data/.run.lock" "$data is being prepared"
  fi
  system=$exp_dir/system.yaml
  cp "$resolved" "$system.tmp"
  mv "$system.tmp" "$system"
  rm "$resolved"
  trap - EXIT
  log_stages "$exp_dir"
}

log_stages() {
  stage_logs=$1/log
  mkdir -p "$stage_logs"
  : >"$stage_logs/warnings.log" # sv/errors.py does not show a warning again that is listed here
  export SV_STAGE_LOG=/dev/null # until in_stage begins the first one
  tell "logs: $stage_logs"
}

system_value() { # YAML puts some texts in '...', with '' for each ' of the text
  sed -n "/^$1: /{ s/^$1: //; /^'.*'\$/{ s/^'//; s/'\$//; s/''/'/g }; p }" "$system"
}

is_augmented() {
  [ "$train_feats" != ark ] || [ -n "$augment$backend_augment" ]
}

check_options() {
  if is_given config && [ ! -f "$config" ]; then
    die "--config $config is not a file; this recipe has $(recipe_configs)"
  elif ! command -v "${cmd%% *}" >/dev/null; then
    die "--cmd $cmd: there is no ${cmd%% *}; give run.pl, queue.pl or slurm.pl"
  elif [[ ${cmd%% *} == run.pl && $dry_run == false && $gpus =~ ^\[?[0-9,\ ]+\]?$ ]] && ! has_gpu; then
    die "--gpus $gpus: this machine has no GPU; give --gpus none for the CPU, or a --cmd that finds one"
  elif is_given data_type && is_given train_feats; then
    refuse "--data-type and --train-feats say the same; give one of them"
  elif ((stop_stage == 9)) && [ ! -e "$lm_config" ]; then
    die "--lm-config $lm_config does not exist; give the YAML file of the fine-tuning"
  elif ((lm_stop_stage < 3 || lm_stop_stage > 8)); then
    refuse "--lm-stop-stage $lm_stop_stage: fine-tuning has the stages 3 to 8"
  elif ((stage == 9)) && [ "$dry_run" = true ]; then
    refuse "--dry-run shows stages 1 to 8; leave out --stage 9"
  fi
  check_matched
  check_unlabelled
  [ -z "$unlabelled" ] || tools/unlabel_data_dir.sh "$unlabelled"
}

check_matched() { # --matched-trials and --matched-by: who empties one of a recipe's own switches both off
  local name
  if [ -n "$matched_trials" ] && [ -n "$matched_by" ]; then
    return
  fi
  for name in matched_trials matched_by; do
    if is_given "$name" && [ -n "${!name}" ]; then
      refuse "--matched-trials and --matched-by need each other; give both, or neither"
    fi
  done
  matched_trials='' matched_by=''
}

recipe_configs() { # print the configurations of the recipe, without those of fine-tuning
  local file found=()
  for file in "${script_dir#"$PWD/"}"/conf/*.yaml; do
    [[ $file == *_lm.yaml ]] || found+=("$file")
  done
  printf '%s' "${found[*]}"
}

check_unlabelled() { # the options of steps/options/rounds.sh
  local file name wrong
  if [ -z "$unlabelled" ]; then
    for name in num_rounds pseudo_labels truth min_utts false_links; do
      ! is_given "$name" || refuse "--${name//_/-} needs --unlabelled DIR; give both, or neither"
    done
    return 0
  fi
  for file in ${truth:+"$truth"} ${pseudo_labels:+"$pseudo_labels"}; do
    [ -s "$file" ] || die "$file does not exist, or is empty; give a file with lines 'utterance speaker'"
    wrong=$(awk 'NF != 2 || /\r$/ || seen[$1]++ { print FNR; exit }' "$file")
    [ -z "$wrong" ] || die "$file:$wrong: expected 'utterance speaker', each utterance once, and no DOS line ends"
  done
  [ -z "$teacher" ] || [ -e "$teacher/models/avg_model.pt" ] || [ -e "$teacher/clusters/.done" ] ||
    die "--teacher $teacher is neither a trained system (models/avg_model.pt) nor a round of another experiment"
  if ((num_rounds == 0)) && [ -n "$teacher$pseudo_labels" ]; then
    refuse "--num-rounds 0 trains on the labelled speakers only, without --teacher and --pseudo-labels;" \
      "leave these out, or give 1 or more"
  fi
  [[ $false_links =~ ^(0|0?\.[0-9]+)$ ]] ||
    refuse "--false-links $false_links: it must be a share of at least 0 and below 1, as in 0.01"
}

has_gpu() { # the device files of NVIDIA (in a virtual Windows, on a Jetson) and AMD; torch takes seconds to load
  compgen -G "/dev/nvidia[0-9]*" >/dev/null || compgen -G "/dev/nvhost*" >/dev/null ||
    [ -e /dev/dxg ] || [ -e /dev/kfd ]
}

check_augment() {
  local name type
  if [ -n "$augment" ] && [ "$train_feats" != ark ]; then
    die "--augment makes copies for --train-feats ark; with $train_feats waveforms are augmented on the fly:" \
      "leave it out"
  elif [ -n "$backend_augment" ] && [ "$train_feats" = shard ]; then
    die "--backend-augment needs features of the training data, and shards have none;" \
      "give --train-feats ark or online, or leave it out"
  elif [ -n "$backend_augment" ] && [ -n "$unlabelled" ]; then
    refuse "--backend-augment and --unlabelled cannot be used together; leave one of them out"
  fi
  for name in augment backend_augment; do
    for type in ${!name}; do
      case $type in
        reverb | noise | babble | mixed) ;;
        music)
          [ -n "$musan" ] ||
            refuse "--${name/_/-} music needs MUSAN (--musan DIR), since there is no synthetic music;" \
              "give it, or leave music out"
          ;;
        *) refuse "--${name/_/-} $type: the types are reverb, noise, music, babble and mixed" ;;
      esac
    done
  done
}

check_teacher() {
  if [ -z "$(system_value teacher)" ]; then
    return 0
  elif [ -n "$unlabelled" ]; then
    die "with --unlabelled a teacher makes the first clusters: give it as --teacher, and leave the key teacher out"
  elif [ "$train_feats" = ark ] && [ -n "$speeds$augment" ]; then
    die "--teacher cannot use copies in arks (--speeds, --augment);" \
      "give --train-feats online, which augments while it trains"
  fi
}

check_before_stage_1() { # what check_lists checks after stage 1, as far as it is known before
  local count
  if [ "$dry_run" = true ] && ((stop_stage >= 5)); then
    check_trials "$2"
  fi
  if [ -n "${train_speakers:-}" ] && ((stop_stage >= 3)); then
    count=$(wc -w <<<"$train_speakers")
    check_sizes "$1 will have $count speakers" "$count" "$stop_stage"
  fi
}

check_lists() {
  local count table last=$((stage == 9 ? lm_stop_stage : stop_stage))
  if ((last >= 3)) && [ -n "${unlabelled:-}" ] && [ -e "$1/utt2spk" ]; then
    tools/unlabel_data_dir.sh --exclude "$1" "$unlabelled"
  fi
  if ((last >= 5)) && [ -n "$enroll_map" ] && [ ! -f "$enroll_map" ]; then
    die "--enroll-map $enroll_map does not exist; give a file with lines 'model utt1 utt2 ...'"
  fi
  if ((last >= 5)); then
    check_trials "$2"
  fi
  if ((stage <= 3 && last >= 7)) && [ -e "$1/utt2spk" ]; then
    for table in $matched_by; do
      [ -e "$1/$table" ] ||
        die "--matched-by $table: $1/$table does not exist; give tables that are there, or neither --matched-by nor" \
          "--matched-trials"
    done
  fi
  if ((last >= 3)) && [ -e "$1/spk2utt" ]; then
    count=$(wc -l <"$1/spk2utt")
    check_sizes "$1 has $count speakers" "$count" "$last"
  fi
}

check_data() { # <train-data> <test-data>: stop if earlier stages have not made the files that later ones read
  local folder last=$((stage == 9 ? lm_stop_stage : stop_stage))
  local -A table=([ark]=feats.scp [online]=wav.scp [shard]=shard.list)
  if ((stage == 2)); then
    for folder in "$@"; do
      [ -e "$folder/wav.scp" ] || die "$folder/wav.scp does not exist; prepare the data first (stage 1)"
    done
  elif ((stage == 3)) && [ ! -e "$exp_dir/config.yaml" ] && [ ! -e "$training_set/${table[$train_feats]}" ]; then
    die "$training_set/${table[$train_feats]} does not exist; make it first (stages 1 and 2)"
  fi
  if ((stage > 1 && last >= 5)); then
    check_has_trials "$2"
  fi
}

check_has_trials() { # <test-data>
  [ -d "$1/trials" ] || die "no trial list in $1/trials; make them (stage 1)"
}

check_trials() { # <test-data>: check the names of trial lists, if the lists exist
  local name list found
  [ -d "$1/trials" ] || return 0
  for name in trials matched_trials; do
    found=()
    for list in ${!name}; do
      if [ -e "$1/trials/$list" ]; then
        found+=("$list")
      elif is_given "$name"; then
        die "--${name//_/-} $list: $1/trials has $(ls -mw 0 "$1/trials")"
      fi
    done
    printf -v "$name" '%s' "${found[*]}"
  done
  [ -n "$matched_trials" ] || matched_by=''
}

check_sizes() { # <"train-data has N speakers"> <N> <last stage>: check sizes of held-out set, cohort and LDA
  local heldout most wrong=()
  heldout=$(system_value heldout_speakers)
  most=$(($2 - heldout))
  if ((stage <= 3 && most < 2)) && [ -z "$(system_value model_init)" ]; then # else the model's own are held out
    die "$1, of which heldout_speakers=$heldout are set aside, and at least 2 must be left to" \
      "train on; set it lower (0: none)"
  fi
  if (($3 < 6)); then
    return
  fi
  if [ "$score_norm_method" = asnorm ] && ((top_n < 2 || top_n > most)); then
    wrong+=("--top-n $top_n (give 2 to $most)")
  fi
  if (($3 >= 7 && (lda_dim < 0 || lda_dim >= most))); then
    wrong+=("--lda-dim $lda_dim (give 0 to $((most - 1)))")
  fi
  if [ "${#wrong[@]}" -gt 0 ]; then
    die "$1, of which $heldout are held out; out of range: ${wrong[*]}"
  fi
}

name_training_set() {
  if [ "$train_feats" = ark ]; then
    printf '%s' "$1${speeds:+_sp}${augment:+_aug}"
  else
    printf '%s' "$1"
  fi
}

name_backend_set() {
  printf '%s' "$1${backend_augment:+_backend}"
}

list_copies() {
  local name
  {
    for name in $1; do
      printf 'sp%s\n' "$name"
    done
    for name in $2; do
      printf '%s\n' "$name"
    done
  } | sort
}

check_copies() { # <train-data>: stop if stage 2 united other copies than the options say
  local training='' backend=''
  if ((stage == 3)) && [ "$training_set" != "$1" ] && { is_given speeds || is_given augment; }; then
    training=$(list_copies "$speeds" "$augment")
    check_union "$training_set" "$training"
  fi
  if ((stage >= 3 && stage <= 7)) && [ -n "$backend_augment" ]; then
    backend=$(list_copies "" "$backend_augment")
    check_union "$(name_backend_set "$1")" "$backend"
  fi
}

check_union() { # <union> <copies>: stop if stage 2 has noted other ones
  local made
  [ -e "$1/copies" ] || return 0
  made=$(<"$1/copies")
  [ "$made" = "$2" ] || die "$1 has the copies ${made//$'\n'/ }, not ${2//$'\n'/ }; give their options, or run stage 2"
}

run_common_stages() { # <train-data> <test-data>
  local first=$((stage > 3 ? stage : 3)) backend_set
  backend_set=$(name_backend_set "$1")
  if in_stage 2 "features"; then
    options_of steps/options/{jobs,features}.sh
    steps/prepare_features.sh "${options[@]}" --config "$system" "$1" "$2"
  fi
  release_lock "$data/.run.lock"
  if ((stop_stage < 3)); then
    end_stages
    return
  fi
  if [ -n "$unlabelled" ]; then
    options_of steps/options/{jobs,processes,rounds,scoring}.sh
    with_stage steps/train_half_labelled.sh "${options[@]}" --fbank "$fbank" --stage "$first" \
      --stop-stage "$stop_stage" "$1" "$2" "$exp_dir"
  else
    options_of steps/options/{jobs,processes,scoring}.sh
    with_stage steps/run_system.sh "${options[@]}" --stage "$first" --stop-stage "$stop_stage" \
      --training-set "$training_set" --backend-set "$backend_set" "$1" "$2" "$exp_dir"
  fi
}
