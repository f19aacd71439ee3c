#!/usr/bin/env bash
# Extract one embedding of each whole utterance of a data dir, in nj jobs, on CPUs or GPUs.
#
# Reads   <exp-dir>/config.yaml, models/avg_model.pt (or --model), <data-dir>/feats.scp, utt2num_frames, fbank.yaml;
#         with --feats online wav.scp and utt2spk, with --feats shard shard.list
# Leaves  <out-dir>/xvector.{ark,scp} in the order of the data dir, .done, log/extract.JOB.log; <out-dir>/parts until it
#         is done
#         with --skip-bad true also <out-dir>/bad_utts: utterances that cannot be read and were left out. To extract all
#         again, repair them and remove this list
#         with --train-data the same in <exp-dir>/embeddings/<its name>, and mean_vec.npy, the mean of all of them; a
#         warning if <exp-dir>/spk2id has speakers of <data-dir>, a test set
#
# The mean over the whole utterance is subtracted. At most four jobs share a GPU of this machine, since each holds the
# model. After a kill, a run with the same nj keeps the finished parts; parts of another model, other features or
# another nj are removed. On the CPU, nj does not change a bit of the result. On a CPU onnxruntime needs 0.4 to 0.8 of
# torch's time (bench/README.md). Its embeddings equal torch's up to rounding: a cosine of 0.99999 or more, which is
# checked first.
#
# Usage: steps/extract_embeddings.sh [options] <exp-dir> <data-dir> [<out-dir>]
# e.g.: steps/extract_embeddings.sh --nj 8 exp/ResNet34-softmax-m0.2-seed42 data/vox1
#       (into exp/ResNet34-softmax-m0.2-seed42/embeddings/vox1)
#       steps/extract_embeddings.sh --train-data data/vox2_dev exp/ResNet34-softmax-m0.2-seed42 data/vox1
set -euo pipefail
[ -e path.sh ] || { echo "extract_embeddings.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
gpus=none             # "0,1": part N takes the N-th of these in turn; auto: one GPU if there is one; none: CPU
model=                # FILE: state dict in WeSpeaker's layout (default: <exp-dir>/models/avg_model.pt)
num_threads=1         # threads of each job on the CPU
backend=auto          # on the CPU: torch, onnx, or auto: onnx if it can, and a job has an hour of speech or more
feats=ark             # ark: features of <data-dir>; online: from its waveforms; shard: from its shards; auto: what fits
train_data=           # DIR: training data to extract in the same jobs, without bad utterances
train_feats=          # ark, online or shard: the same of --train-data (default: as in training)
skip_bad=false        # true: leave out utterances that cannot be read, up to the training's max_bad_share; false: stop
max_frames=20000      # longer utterances (200 s) are cut into equal chunks, whose embeddings are averaged; 0: never
batch_frames=0        # on a GPU: utterances of equal length together, up to this number of frames; 0: one by one
. steps/options/jobs.sh
nj=4
. tools/parse_options.sh
. tools/guard.sh
. tools/run_parts.sh

exp_dir=$1
data=$2
out=${3:-$exp_dir/embeddings/$(basename "$data")}

if [ -d "$exp_dir" ] && [ -d "$data" ]; then # else the first step says what is missing
  hold_lock "$out/.lock" "$out is being filled"
  if [ -d "$train_data" ]; then
    hold_lock "$exp_dir/embeddings/$(basename "$train_data")/.lock" "the embeddings of $train_data are being extracted"
  fi
fi
if [ "${cmd%% *}" != run.pl ] || [[ $cmd == *--max-jobs-run* ]]; then
  begin_options=(--gpus none) # do not limit the jobs by the GPUs of this machine
  if [ "$gpus" != none ] && [ "$backend" = auto ]; then
    backend=torch # which the jobs need on the GPUs that this machine may lack
  fi
fi
args=("$exp_dir" "$data" "$out" --max-frames "$max_frames" --feats "$feats" --skip-bad "$skip_bad"
  --num-threads "$num_threads" --batch-frames "$batch_frames" --backend "$backend")
if [ -n "$model" ]; then
  args+=(--model "$model")
fi
if [ -n "$train_data" ]; then
  args+=(--train-data "$train_data" ${train_feats:+--train-feats "$train_feats"})
fi
job_options=(--num-threads "$num_threads")
if [ "${cmd%% *}" != run.pl ] && [ "$gpus" != none ] && [ "$gpus" != auto ]; then
  job_options=(--gpu 1) # the cluster picks the GPU, and a job sees no other
  gpus=auto
fi
run_parts "$out/log/extract.JOB.log" steps/extract_embeddings.py "${args[@]}" --gpus "$gpus"
