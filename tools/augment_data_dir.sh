#!/usr/bin/env bash
# Make a copy of a data dir that steps/make_fbank.sh --augment <type> is to make augmented features of.
#
# Reads   <src-dir>: wav.scp, utt2spk and what else there is
# Leaves  <dest-dir>: utterances get the suffix -<type>, speakers stay who they are; wav.scp names the same audio, which
#         is augmented while features are computed from it; utt2uniq maps to the old ids. Features are left out: they
#         must be made anew. Run again, it leaves features that were made in <dest-dir> since.
#
# Usage: tools/augment_data_dir.sh <type> <src-dir> <dest-dir>
# e.g.: tools/augment_data_dir.sh reverb data/train data/train_reverb       (reverb, noise, music, babble)
set -euo pipefail
export LC_ALL=C
tools=$(dirname "${BASH_SOURCE[0]}")

# Options
# shellcheck source=tools/parse_options.sh
. "$tools/parse_options.sh"
# shellcheck source=tools/data_dir_lib.sh
. "$tools/data_dir_lib.sh"

type=$1
src=${2%/}
dest=${3%/}
case $type in
  reverb | noise | music | babble) ;;
  *) die "the type is reverb, noise, music or babble, not '$type'" ;;
esac
check_target "$dest" "$src"
check_source "$src"
[ -e "$src/wav.scp" ] || die "$src/wav.scp does not exist; prepare the data (stage 1)"
make_work_dir "$dest"

utt_suffix=-$type
rename_data_dir "$src" "$work" feats.scp vad.scp utt2num_frames cmvn.scp utt2augment
rm -f "$work/fbank.yaml" "$work/frame_shift"
check_result "$work" "$dest"
install_data_dir "$work" "$dest" keep
say "$dest is for $src with $type; steps/make_fbank.sh --augment $type makes its features"
