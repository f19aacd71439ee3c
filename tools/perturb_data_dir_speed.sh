#!/usr/bin/env bash
# Make a speed-perturbed copy of a data dir. It has its own speakers, since another pitch is another voice.
#
# Reads   <src-dir>: wav.scp, utt2spk and its other files
# Leaves  <dest-dir>: speakers and utterances (and recordings of segments) get the prefix sp<factor>-; wav.scp holds
#         "sox -t wav PATH -t wav - speed <factor> |"; times in segments, utt2dur, reco2dur are divided by the factor;
#         utt2uniq maps to the old ids. Features are not copied. A second run keeps features that were made in
#         <dest-dir> since the first.
#
# Usage: tools/perturb_data_dir_speed.sh <factor> <src-dir> <dest-dir>
# e.g.: tools/perturb_data_dir_speed.sh 0.9 data/train data/train_sp0.9
set -euo pipefail
export LC_ALL=C
tools=$(dirname "${BASH_SOURCE[0]}")

# Options
# shellcheck source=tools/parse_options.sh
. "$tools/parse_options.sh"
# shellcheck source=tools/data_dir_lib.sh
. "$tools/data_dir_lib.sh"

factor=$1
src=${2%/}
dest=${3%/}
if [[ ! $factor =~ ^[0-9]{1,2}(\.[0-9]{1,6})?$ ]] || ! awk -v f="$factor" 'BEGIN { exit !(f >= 0.1 && f <= 10) }'; then
  usage_error "the factor is a number from 0.1 to 10, such as 0.9, not '$factor'"
fi
check_target "$dest" "$src"
check_source "$src"
[ -e "$src/wav.scp" ] || die "$src/wav.scp does not exist; prepare the data (stage 1)"
make_work_dir "$dest"

prefix=sp$factor-
spk_prefix=$prefix utt_prefix=$prefix reco_prefix=$prefix
rename_data_dir "$src" "$work" feats.scp vad.scp utt2num_frames cmvn.scp

for file in wav.scp utt2dur reco2dur segments; do
  if [ -e "$work/$file" ]; then
    "$tools/perturb_speed.pl" "$factor" "$file" <"$work/$file" >"$work/.new"
    mv "$work/.new" "$work/$file"
  fi
done
install_data_dir "$work" "$dest" keep
say "$dest is $src at speed $factor"
