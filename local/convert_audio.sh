#!/usr/bin/env bash
# Turn VoxCeleb's m4a files into FLAC or WAV, 16 kHz, mono, 16 bits, with ffmpeg, nj at a time.
#
# Reads   <corpus-dir>: ID/VIDEO/NUMBER.m4a up to four levels down (dev/aac/, aac/ ...)
# Leaves  the same tree beside it, "aac" in the path replaced by the format: dev/aac/ID/... -> dev/flac/ID/...; under
#         --out-dir instead where the corpus is read-only. Lists and logs
#         are in its .convert_audio/, until all went well.
#
# An utterance that is there as WAV or FLAC already is not converted. Each file appears whole or not at all: killed and
# started again, it goes on. Files that ffmpeg can not read, or not to their end, are listed, and then the script fails.
#
# Usage: local/convert_audio.sh [options] <corpus-dir>
# e.g.: local/convert_audio.sh --nj 16 corpora/voxceleb2
set -euo pipefail
if ! [ -e path.sh ]; then
  echo "convert_audio.sh: error: no path.sh in $PWD; run it from the root of the repository" >&2
  exit 1
fi
. ./path.sh

# Options
nj=8                  # parts, each a job
cmd="${SV_CMD:-run.pl}" # how jobs run; run.pl: on this machine (docs/cluster.md)
format=flac           # flac|wav: FLAC takes about half of the disk
out_dir=              # DIR: where to (default: the corpus's own folder)
. tools/parse_options.sh

corpus=$1
out=${out_dir:-$corpus}

num_parts=$(local/convert_audio.py begin --format "$format" --num-parts "$nj" "$corpus" "$out")
if [ "$num_parts" -eq 0 ]; then
  echo "convert_audio.sh: $corpus has no m4a left to convert" >&2
  exit 0
fi
$cmd JOB=1:"$num_parts" "$out/.convert_audio/log/convert.JOB.log" \
  local/convert_audio.py part --part JOB "$out"
local/convert_audio.py end "$out"
