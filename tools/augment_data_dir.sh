#!/usr/bin/env bash
# Copy a data dir, so that steps/make_fbank.sh --augment <type> can make augmented features for the copy.
#
# Reads   <src-dir>: wav.scp, utt2spk and its other files
# Leaves  <dest-dir>: utterances get the suffix -<type>, speakers keep their ids. wav.scp names the same audio, which is
#         augmented while features are computed from it. utt2uniq maps to the old ids. Features are not copied. A second
#         run keeps features that were made in <dest-dir> since the first.
#
# Usage: tools/augment_data_dir.sh <type> <src-dir> <dest-dir>
# e.g.: tools/augment_data_dir.sh reverb data/train data/train_reverb       (reverb, noise, music, babble, mixed)
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
  reverb | noise | music | babble | mixed) ;;
  *) usage_error "the type is reverb, noise, music, babble or mixed, not '$type'" ;;
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
say "copied $src to $dest; steps/make_fbank.sh --augment $type makes its features"
