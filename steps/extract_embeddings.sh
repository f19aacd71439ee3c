#!/usr/bin/env bash
# Embeddings of whole utterances, one each, from a data dir's features; nj parts at a time, on CPUs or GPUs.
#
# Reads   <exp-dir>/config.yaml, models/avg_model.pt (or --model), <data-dir>/feats.scp, utt2num_frames, fbank.yaml;
#         with --feats online wav.scp and utt2spk, with --feats shard shard.list
# Leaves  <out-dir>/xvector.{ark,scp} in the order of the data dir, .done, log/extract.JOB.log; <out-dir>/parts until it is done;
#         with --skip-bad true <out-dir>/bad_utts, of utterances that can not be read and are left out, if there are any;
#         remove it when they are mended, and all are extracted again
#
# Parts that share a GPU of this machine run four at a time, as each of them holds the model.
# The mean is subtracted over the whole utterance. Killed and started again with the same nj, parts that were whole are
# kept; parts of another model, of other features or of another nj never get in. On the CPU any nj gives the same bits.
#
# Usage: steps/extract_embeddings.sh [options] <exp-dir> <data-dir> [<out-dir>]
# e.g.: steps/extract_embeddings.sh --nj 8 exp/ResNet34-softmax-m0.2-seed42 data/vox1
#       (into exp/ResNet34-softmax-m0.2-seed42/embeddings/vox1)
set -euo pipefail
if ! [ -e path.sh ]; then
  echo "extract_embeddings.sh: error: no path.sh in $PWD; run it from the root of the repository" >&2
  exit 1
fi
. ./path.sh

# Options
nj=4                  # parts, each a job
cmd="${SV_CMD:-run.pl}" # how jobs run; run.pl: on this machine (docs/cluster.md)
gpus=none             # "0,1": part N takes the N-th of them, and round again; auto: one if there is one; none: CPU
model=                # FILE: state dict in WeSpeaker's layout (default: <exp-dir>/models/avg_model.pt)
num_threads=1         # threads of a job on the CPU
feats=ark             # ark: features of <data-dir>; online: worked out from its waveforms; shard: from its shards
skip_bad=false        # true: leave out utterances that can not be read, up to the max_bad_share of the training; false: an error
max_frames=20000      # longer utterances (200 s) are cut into equal chunks and their embeddings averaged; 0: never
batch_frames=0        # on a GPU: utterances of equal length together, up to so many frames; 0: one by one
. tools/parse_options.sh
. tools/guard.sh

exp_dir=$1
data=$2
out=${3:-$exp_dir/embeddings/$(basename "$data")}

if [ -d "$exp_dir" ] && [ -d "$data" ]; then # else the first step says what is missing
  hold_lock "$out/.lock" "$out is being filled"
fi
args=("$exp_dir" "$data" "$out" --max-frames "$max_frames" --feats "$feats" --skip-bad "$skip_bad")
if [ -n "$model" ]; then
  args+=(--model "$model")
fi
gpus_here=$gpus
if [ "${cmd%% *}" != run.pl ]; then
  gpus_here=none
fi
plan=$(steps/extract_embeddings.py begin "${args[@]}" --num-parts "$nj" --gpus "$gpus_here")
read -r num_parts num_gpus <<<"$plan"
if [ "$num_parts" -eq 0 ]; then
  echo "extract_embeddings.sh: $out/xvector.scp is there already" >&2
  exit 0
fi
resources=(--num-threads "$num_threads")
if [ "$num_gpus" -gt 0 ] && [[ $cmd != *--max-jobs-run* ]]; then
  resources+=(--max-jobs-run "$((4 * num_gpus))")
fi
if [ "$gpus" != none ] && [ "$gpus" != auto ] && [ "${cmd%% *}" != run.pl ]; then
  resources=(--gpu 1) # the cluster picks the GPU, and a job sees no other
  gpus=auto
fi
$cmd "${resources[@]}" JOB=1:"$num_parts" "$out/log/extract.JOB.log" \
  steps/extract_embeddings.py part "${args[@]}" --part JOB --num-parts "$num_parts" \
  --gpus "$gpus" --num-threads "$num_threads" --batch-frames "$batch_frames"
steps/extract_embeddings.py join "${args[@]}" --num-parts "$num_parts"
