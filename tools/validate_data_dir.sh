#!/usr/bin/env bash
# Check a data dir: its files, their order, ids and values, and that they have the same utterances and speakers.
#
# Reads   utt2spk, spk2utt; wav.scp and feats.scp (unless --no-wav, --no-feats); if they exist: text, vad.scp, segments,
#         utt2*, spk2*, reco2dur, cmvn.scp. Of the arks, only their size. Memory does not grow with the lists.
# Leaves  nothing; at the first fault one line (file, line, remedy) and exit status 1.
#
# Usage: tools/validate_data_dir.sh [options] <data-dir>
# e.g.: tools/validate_data_dir.sh --no-feats data/train
set -euo pipefail
export LC_ALL=C
tools=$(dirname "${BASH_SOURCE[0]}")

# Options
no_feats=false    # feats.scp may be missing
no_wav=false      # wav.scp may be missing
no_text=false     # do not check text (it may be missing in any case)
no_spk_sort=false # speakers need not be in the order of the utterances
non_print=false   # text may hold characters that cannot be printed
check_arks=true   # true|false: the files named in feats.scp and vad.scp exist and are long enough
quiet=false       # print nothing if the data dir is valid
shown_as=         # name of the data dir in messages (default: its path)
# shellcheck source=tools/parse_options.sh
. "$tools/parse_options.sh"

dir=${1%/}
if [ ! -d "$dir" ]; then
  die "$dir is not a data dir; prepare it first (stage 1)"
fi
"$tools/check_data_dir.pl" "$dir" "${shown_as:-$dir}" no_feats="$no_feats" no_wav="$no_wav" no_text="$no_text" \
  no_spk_sort="$no_spk_sort" non_print="$non_print" check_arks="$check_arks"
if [ "$quiet" = false ]; then
  say "${shown_as:-$dir} is valid"
fi
