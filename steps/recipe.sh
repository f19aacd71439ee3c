# shellcheck shell=bash disable=SC2034,SC2154
# What all recipes do around their first stages; a recipe sources this behind tools/parse_options.sh.
#
#   begin_recipe <first stage> <train-data> <test-data>   check the options, resolve the system, lock $data;
#                                      with --dry-run show the plan and end
#   is_augmented                       true if training takes noise and rooms: stage 1 lists them
#   check_lists <train-data> <test-data>   end if stages 5 to 7 cannot do what the options ask, by what stage 1 made;
#                                      of the recipe's own --trials, keep those that are there
#   training_set <train-data>          print the data dir that stage 3 reads: <train-data>, or its union with copies
#
# begin_recipe sets exp_dir and system, its system.yaml: the resolved configuration, which all later steps read.

. tools/guard.sh

begin_recipe() {
  local recipe=${_po_script%/*}
  recipe=${recipe#"$PWD/"}
  check_stages "$1" 8 9
  case $data_type in # WeSpeaker's names
    feat) train_feats=ark ;;
    raw) train_feats=online ;;
    ?*) train_feats=$data_type ;;
  esac
  check_augment
  fbank=${fbank:-$data/fbank}
  if [ "$train_feats" != ark ]; then
    overrides+=(--override train_feats "$train_feats" "--train-feats $train_feats")
    overrides+=(--override dataset_args.speeds "[${speeds// /,}]" "--speeds $speeds")
  fi
  if is_augmented; then
    overrides+=(--override noise_data "$data/noises" "--musan $musan" --override reverb_data "$data/rirs" "--rirs $rirs")
  fi
  system=$(mktemp)
  trap 'rm -f "$system"' EXIT
  exp_dir=$(steps/make_system.py --config "$config" "${overrides[@]}" --set "$set" --gpus "$gpus" --stage "$stage" \
    --root "$recipe/exp" --output "$system" ${exp_dir:+"$exp_dir"})
  check_lists "$2" "$3"
  if [ "$dry_run" = true ]; then
    steps/show_plan.py --gpus "$gpus" --num-procs "$num_procs" --num-nodes "$num_nodes" --system "$system" \
      "$exp_dir" "$2" "$(training_set "$2")" "$3"
    exit
  fi
  hold_lock "$exp_dir/.run.lock" "$exp_dir is being made"
  mv "$system" "$exp_dir/system.yaml"
  system=$exp_dir/system.yaml
  trap - EXIT
  release_lock "$exp_dir/.run.lock"
  if ((stage <= 2)); then
    hold_lock "$data/.run.lock" "$data is being prepared"
  fi
}

is_augmented() {
  [ "$train_feats" != ark ] || [ -n "$augment" ]
}

check_augment() {
  local type
  if [ -n "$augment" ] && [ "$train_feats" != ark ]; then
    die "--augment makes copies for --train-feats ark; with $train_feats waveforms are augmented on the fly: leave it out"
  fi
  for type in $augment; do
    case $type in
      reverb | noise | babble) ;;
      music) [ -n "$musan" ] || die "--augment music takes MUSAN (--musan DIR), there is no synthetic music; leave it out" ;;
      *) die "--augment $type: the types are reverb, noise, music and babble" ;;
    esac
  done
}

check_lists() {
  local list found=() speakers heldout most
  if ((stop_stage >= 5)) && [ -d "$2/trials" ]; then
    for list in $trials; do
      if [ -e "$2/trials/$list" ]; then
        found+=("$list")
      elif is_given trials; then
        die "--trials $list: $2/trials has $(ls -mw 0 "$2/trials")"
      fi
    done
    trials=${found[*]}
  fi
  if ((stop_stage >= 6)) && [ -e "$1/spk2utt" ]; then
    speakers=$(wc -l <"$1/spk2utt")
    heldout=$(sed -n 's/^heldout_speakers: //p' "$system")
    most=$((speakers - heldout))
    if [ "$score_norm_method" = asnorm ] && ((top_n > most)); then
      die "--top-n $top_n: the cohort has $most speakers ($speakers in $1, $heldout held out); give $most or less"
    elif ((stop_stage >= 7 && lda_dim >= most)); then
      die "--lda-dim $lda_dim: $most training speakers ($speakers in $1, $heldout held out) give at most $((most - 1))"
    fi
  fi
}

training_set() {
  if [ "$train_feats" = ark ]; then
    printf '%s' "$1${speeds:+_sp}${augment:+_aug}"
  else
    printf '%s' "$1"
  fi
}
