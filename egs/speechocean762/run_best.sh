#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154  # options come from steps/options
# The best system of this corpus: two networks, whose scores are fused. Results: RESULTS.md, "Two networks, fused".
#
#   bash egs/speechocean762/run_best.sh --corpus DIR
#
# Each network is trained and scored by run.sh, stages 1 to 7. The weights of the fusion are estimated on the held-out
# speakers, who are the same for all networks.
#
# Leaves  <exp-dir>/<name of each config> as run.sh does; <exp-dir>/fused/{results.md,results.txt,scores}
set -euo pipefail
start_dir=$PWD # paths given by the user are relative to it
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
start_dir="$start_dir" tools/setup.sh --quiet true
. ./path.sh

# Options
corpus=egs/speechocean762/corpora/speechocean762 # DIR: the corpus, as distributed or with FLAC files
data=egs/speechocean762/data # DIR: data lists
exp_dir=egs/speechocean762/exp/best # DIR: the systems
configs="egs/speechocean762/conf/default.yaml egs/speechocean762/conf/ecapa_c512.yaml" # a network for each of these
set=                  # further keys for all networks, as in "precision=bf16"
seed=1                # seed of all trainings
top_n=50              # number of nearest speakers of the cohort, for asnorm
lda_dim=100           # dimensions that LDA keeps before PLDA
. steps/options/jobs.sh
nj=2
. steps/options/processes.sh
. tools/parse_options.sh

read -ra networks <<<"$configs"
((${#networks[@]} > 1)) || refuse "--configs $configs: give two or more, whose scores are fused"
twice=$(basename -a -s .yaml "${networks[@]}" | sort | uniq -d | paste -sd ' ')
[ -z "$twice" ] || refuse "--configs $configs: two are named $twice; give each network a name of its own"
for n in "${!networks[@]}"; do
  if is_given configs && [[ ${networks[n]} != /* ]]; then
    networks[n]=$start_dir/${networks[n]}
  fi
  [ -f "${networks[n]}" ] || die "--configs: ${networks[n]} does not exist"
done
options_of steps/options/{jobs,processes}.sh
systems=()
for config in "${networks[@]}"; do
  systems+=("$exp_dir/$(basename "$config" .yaml)")
  bash egs/speechocean762/run.sh "${options[@]}" --corpus "$corpus" --data "$data" --config "$config" --set "$set" \
    --seed "$seed" --top-n "$top_n" --lda-dim "$lda_dim" --exp-dir "${systems[-1]}" --stop-stage 7
done

say "fusion of ${#systems[@]} networks"
for list in O H; do
  heldout=heldout$([ $list = O ] || echo _H)
  trained_on=() scores=()
  for system in "${systems[@]}"; do
    for backend in "" "train_asnorm${top_n}_" plda_; do
      trained_on+=("$system/scores/$backend$heldout.kaldi.score")
      scores+=("$system/scores/$backend$list.kaldi.score")
    done
  done
  steps/fuse.py --heldout "${trained_on[@]}" --scores "${scores[@]}" -- "$exp_dir/fused/scores/fused_$list.kaldi.score"
done
steps/compute_metrics.py --backend fused --prefix fused_ --llr true --test-data "$data/test" "$exp_dir/fused" \
  fused_result "$data/test/trials" O.kaldi H.kaldi >/dev/null
cat "$exp_dir/fused/results.txt"
