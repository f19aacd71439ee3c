#!/usr/bin/env bash
# Score lists of test trials by one back-end and measure them; with --calibrate-on, calibrate scores that are there.
# Usage: steps/score.sh [options] <exp-dir> <train-data> <test-data> [<trials>...]
# e.g.: steps/score.sh --backend asnorm --top-n 300 exp/x data/vox2_dev data/vox1 vox1_O_cleaned.kaldi
#       steps/score.sh --backend plda --calibrate-on heldout.kaldi exp/x data/vox2_dev data/vox1 vox1_O_cleaned.kaldi
#
# Reads   <test-data>/trials/<trials>; <exp-dir>/embeddings/<set>/xvector.scp of both sets, and what the back-end takes of
#         <exp-dir>: embeddings/<train>/{mean_vec.npy,spk_xvector.scp}, plda/
# Leaves  <exp-dir>/scores/<prefix><trials>.score, measured in results.{json,md} and scores/<test>_<backend>_result
#         with --calibrate-on: calibration/<backend>.json, thresholds.json, scores/cali_<prefix><trials>.score, measured as
#         <backend>_cali; without any <trials>, thresholds alone
#
# <prefix> is "" for cos, <train>_<backend>_ for a normalization, plda_ for PLDA; <backend> is the option, and of asnorm
# asnorm<top-n>.
set -euo pipefail
[ -e path.sh ] || { echo "steps/score.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
backend=cos           # cos|asnorm|snorm|znorm|tnorm|plda: back-end
top_n=300             # nearest speakers of the cohort, for asnorm
calibrate_on=         # heldout.kaldi, or heldout_X.kaldi for thresholds under <backend>_X: list in <exp-dir>/calibration
. tools/parse_options.sh

exp_dir=$1 train_data=$2 test_data=$3
shift 3
train=$(basename "$train_data")
test=$(basename "$test_data")
mean=(--mean "$exp_dir/embeddings/$train/mean_vec.npy") # that is subtracted; PLDA has its own
name=$backend
stage=5 # of the recipes, that scores by the back-end
case $backend in
  cos) prefix= ;;
  plda) prefix=plda_ stage=7 mean=() ;;
  *)
    stage=6
    if [ "$backend" = asnorm ]; then
      name=asnorm$top_n
    fi
    prefix=${train}_${name}_
    ;;
esac

score() { # <list with its folder> <set whose utterances are in it>
  local vectors=$exp_dir/embeddings/$2/xvector.scp scores
  scores=$exp_dir/scores/$prefix$(basename "$1").score
  case $backend in
    cos) steps/score_cosine.py "${mean[@]}" "$1" "$vectors" "$scores" ;;
    plda) steps/score_plda.py "$1" "$vectors" "$exp_dir/plda" "$scores" ;;
    *)
      steps/score_norm.py --method "$backend" --top-n "$top_n" "${mean[@]}" \
        "$1" "$vectors" "$exp_dir/embeddings/$train/spk_xvector.scp" "$scores"
      ;;
  esac
}

if [ -z "$calibrate_on" ]; then
  (($# > 0)) || usage_error "no trial list to score"
  for list in "$@"; do
    score "$test_data/trials/$list" "$test"
  done
  steps/compute_metrics.py --backend "$name" --prefix "$prefix" --test-data "$test_data" \
    "$exp_dir" "${test}_${name}_result" "$test_data/trials" "$@"
  exit
fi

require() { # <file> <what to do if it is not there>
  [ -e "$1" ] || die "$1 does not exist; $2"
}

require "$exp_dir/calibration/$calibrate_on" "make it with steps/make_calibration_trials.py (stage 7)"
for list in "$@"; do
  require "$exp_dir/scores/$prefix$list.score" "score it first (stage $stage)"
done
filed=${calibrate_on%.kaldi}
filed=$name${filed#heldout}
score "$exp_dir/calibration/$calibrate_on" "$train"
steps/calibrate.py --backend "$filed" --prefix "$prefix" "${mean[@]}" "$exp_dir" "$calibrate_on" "$@"
if (($# > 0)); then
  steps/compute_metrics.py --backend "${name}_cali" --prefix "cali_$prefix" --llr true --test-data "$test_data" \
    "$exp_dir" "${test}_cali_${filed}_result" "$test_data/trials" "$@"
fi
