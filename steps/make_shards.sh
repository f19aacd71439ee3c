#!/usr/bin/env bash
# Pack a data dir's audio into tar shards, in nj jobs, for file systems that are slow with small files; --train-feats
# shard trains from them. WebDataset's convention: KEY.spk, KEY.json, KEY.flac or KEY.wav, keys without .wav.
#
# Reads   <data-dir>/{wav.scp,utt2spk}, segments if there are, and all audio, which is decoded to its end
# Leaves  <shard-dir>/shards_NNNNNNNNN.tar, an index .tar.idx beside each (offset, length, CRC-32 of each utterance),
#         <data-dir>/shard.list, <shard-dir>/log/make_shards.JOB.log
#
# Utterances are shuffled by the hash of their ids, so nj does not change the shards. After a kill, finished shards are
# kept. After a change of wav.scp, segments or utt2spk only the shards with changed utterances are made again.
#
# Usage: steps/make_shards.sh [options] <data-dir> [<shard-dir>]
# e.g.: steps/make_shards.sh --nj 16 data/vox2_dev /disk2/vox2_shards
#       (<shard-dir> is for one data dir only; default: <data-dir>/shards)
set -euo pipefail
[ -e path.sh ] || { echo "make_shards.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
sample_rate=16000     # Hz, of all files
config=               # FILE: YAML of a system, whose sample rate is used instead
utts_per_shard=1000   # utterances per shard
format=same           # same|flac|wav: same copies WAV and FLAC files unchanged, and writes the others as FLAC
allow_pipes=false     # true|false: run the commands in wav.scp (speed copies need none)
verify=false          # true|false: compare existing shards by checksum, not only by size
. steps/options/jobs.sh
nj=4
. tools/parse_options.sh
. tools/guard.sh
. tools/run_parts.sh

data=$1
shard_dir=${2:-$data/shards}

if [ -d "$data" ]; then # else the first step says that it is missing
  hold_lock "$shard_dir/.lock" "$shard_dir is being filled"
fi
args=("$data" "$shard_dir" --sample-rate "$sample_rate" --utts-per-shard "$utts_per_shard" --format "$format"
  --allow-pipes "$allow_pipes" --verify "$verify")
if [ -n "$config" ]; then
  args+=(--config "$config")
fi
before_jobs=(tools/validate_data_dir.sh --no-text --no-feats "$data")
run_parts "$shard_dir/log/make_shards.JOB.log" steps/make_shards.py "${args[@]}"
