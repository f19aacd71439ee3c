#!/usr/bin/env bash
# Convert VoxCeleb's m4a files to FLAC or WAV (16 kHz, mono, 16 bits) with ffmpeg, in nj jobs.
#
# Reads   <corpus-dir>: ID/VIDEO/NUMBER.m4a up to four levels down (dev/aac/, aac/ ...)
# Writes  the same tree with "aac" in the path replaced by the format: dev/aac/ID/... -> dev/flac/ID/..., in the corpus,
#         or in --out-dir where the corpus is read-only. Lists and logs are in .convert_audio/ there until all files
#         are converted.
#
# An utterance that is already there as WAV or FLAC is not converted. Each file is written whole or not at all, so that a
# second run continues. The script lists the files that ffmpeg cannot read to their end, and fails if there are any.
#
# Usage: local/convert_audio.sh [options] <corpus-dir>
# e.g.: local/convert_audio.sh --nj 16 corpora/voxceleb2
set -euo pipefail
[ -e path.sh ] || { echo "convert_audio.sh: error: no path.sh in $PWD; run it from the root of the repository" >&2; exit 1; }
. ./path.sh

# Options
nj=8                  # number of jobs
cmd="${SV_CMD:-run.pl}" # how jobs run; run.pl: on this machine (docs/cluster.md)
format=flac           # flac|wav: FLAC takes about half the disk
out_dir=              # DIR: where the files go (default: the corpus's own folder)
. tools/parse_options.sh
. tools/run_parts.sh

corpus=$1
out=${out_dir:-$corpus}

run_parts "$out/.convert_audio/log/convert.JOB.log" local/convert_audio.py --format "$format" "$corpus" "$out"
if [ "$num_jobs" -eq 0 ]; then
  say "$corpus has no m4a left to convert"
fi
