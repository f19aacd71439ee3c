#!/usr/bin/env bash
# Convert the audio of a data dir, or of a folder, to one sample rate and one channel, 16 bits, in nj jobs; or convert
# VoxCeleb's m4a files, in their corpus.
#
# For a data dir or folder:
# Reads   <source-dir>: a data dir, of audio that libsndfile or ffmpeg reads; or a folder of audio in any depth
# Leaves  <dest-dir>/audio/: a file of each recording, for a folder in the same tree. For a data dir also its tables,
#         with a new wav.scp, but not the files that were made from the old audio. --channel each makes an utterance
#         <utt>-ch<number> of each channel, of the same speaker. If channels hold different speakers, convert one at a
#         time. With other sources or options, the audio of a data dir gets other paths, so that features are made
#         anew; that of a folder is refused if the options differ. A later run removes the audio of recordings that
#         the source no longer has.
#
# For VoxCeleb (one argument), with ffmpeg, at 16 kHz:
# Reads   <corpus-dir>: ID/VIDEO/NUMBER.m4a up to four levels down (dev/aac/, aac/ ...)
# Leaves  the same tree with "aac" in the path replaced by the format: dev/aac/ID/... -> dev/flac/ID/..., in the corpus,
#         or in --out-dir where the corpus is read-only. An utterance that is there as WAV or FLAC is not converted.
#
# Lists and logs are in .convert_audio/ of the destination until all files are converted. Each file is written whole or
# not at all, and a second run continues. Files that cannot be read to their end are named, and fail the script.
#
# Usage: local/convert_audio.sh [options] <source-dir> <dest-dir>
#    or: local/convert_audio.sh [options] <corpus-dir>
# e.g.: local/convert_audio.sh --nj 16 --channel 1 data/calls data/calls_16k
#       local/convert_audio.sh --nj 16 corpora/voxceleb2
set -euo pipefail
[ -e path.sh ] || { echo "convert_audio.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
nj=8                  # number of jobs
cmd="${SV_CMD:-run.pl}" # how jobs run; run.pl: on this machine (docs/cluster.md)
format=flac           # flac|wav: FLAC takes about half the disk
out_dir=              # DIR: of VoxCeleb: folder of the converted files (default: the corpus's own folder)
sample_rate=16000     # Hz; of VoxCeleb always 16000
channel=mix           # mix: the mean of all channels; 1, 2, ...: that channel; each: an utterance for each channel
allow_pipes=false     # true|false: run the commands in wav.scp
. tools/parse_options.sh
. tools/guard.sh
. tools/run_parts.sh

if [ $# -eq 2 ]; then
  [ -z "$out_dir" ] || usage_error "--out-dir is for VoxCeleb; <dest-dir> is $2"
  if [ -d "$1" ]; then # else the first step says that it is missing
    hold_lock "$2/.convert_audio.lock" "$2 is being filled"
  fi
  run_parts "$2/.convert_audio/log/convert.JOB.log" local/convert_data_dir.py --format "$format" \
    --sample-rate "$sample_rate" --channel "$channel" --allow-pipes "$allow_pipes" "$1" "$2"
  exit
fi
if is_given sample_rate || is_given channel || is_given allow_pipes; then
  usage_error "--sample-rate, --channel and --allow-pipes take <source-dir> <dest-dir>"
fi
corpus=$1
out=${out_dir:-$corpus}

if [ -d "$corpus" ] && { [ -w "$out" ] || [ ! -e "$out" ]; }; then # else the first step says so, if it must write
  hold_lock "$out/.convert_audio.lock" "$out is being filled"
fi
run_parts "$out/.convert_audio/log/convert.JOB.log" local/convert_audio.py --format "$format" "$corpus" "$out"
if [ "$num_jobs" -eq 0 ]; then
  say "$corpus has no m4a left to convert"
fi
