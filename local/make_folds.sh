#!/usr/bin/env bash
# Split the speakers of a data dir into the folds of a cross-validation: each fold tests some and trains on the others.
#
# Speakers are sorted by sex and age and assigned in turn, so the folds are balanced, and depend only on the tables.
#
# Reads   <data-dir> with spk2gender, spk2age and features; <data-dir>_sp, its union with speed copies, if it is there
# Leaves  <out-dir>/fold<N>/{train,train_sp,test}, and <out-dir>/fold<N>/test/trials/{O,H}.kaldi (local/make_trials.py)
#         <out-dir>/pooled/{utt2spk,spk2utt,spk2gender,spk2age,trials}: all test speakers, the trials of all folds
#
# Usage: local/make_folds.sh [options] <data-dir> <out-dir>
# e.g.: local/make_folds.sh --num-folds 5 data/all data/folds
set -euo pipefail
[ -e path.sh ] || { echo "make_folds.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
num_folds=5           # number of folds; each speaker is tested in one
num_target=6000       # maximum number of target trials of a fold's lists
num_nontarget=12000   # number of non-target trials of a fold's lists
. tools/parse_options.sh

data=$1 out=$2
for table in spk2gender spk2age; do
  [ -e "$data/$table" ] || die "$data/$table does not exist; the folds are dealt by sex and age"
done
speakers=$(wc -l <"$data/spk2utt")
if ((num_folds < 2 || num_folds > speakers / 2)); then
  die "--num-folds $num_folds: $data has $speakers speakers; give 2 to $((speakers / 2))"
fi

mkdir -p "$out"
join "$data/spk2gender" "$data/spk2age" | sort -k2,2 -k3,3n -k1,1 >"$out/speakers"
lists=()
for ((fold = 1; fold <= num_folds; fold++)); do
  dir=$out/fold$fold
  mkdir -p "$dir"
  awk -v n="$num_folds" -v fold="$fold" 'NR % n == fold % n {print $1}' "$out/speakers" | sort >"$dir/test_spk"
  for set in "$data" "$data"_sp; do
    if [ -e "$set/spk2utt" ]; then # a speed copy is named sp<factor>-<speaker>
      awk 'NR == FNR {tested[$1]; next} {spk = $1; sub(/^sp[0-9.]+-/, "", spk)} !(spk in tested) {print $1}' \
        "$dir/test_spk" "$set/spk2utt" >"$dir/train_spk"
      tools/subset_data_dir.sh --spk-list "$dir/train_spk" "$set" "$dir/train${set#"$data"}"
      if [ -e "$set/copies" ]; then # steps/prepare_features.sh
        cp "$set/copies" "$dir/train${set#"$data"}/copies"
      fi
    fi
  done
  tools/subset_data_dir.sh --spk-list "$dir/test_spk" "$data" "$dir/test"
  local/make_trials.py --num-target "$num_target" --num-nontarget "$num_nontarget" "$dir/test"
  lists+=("$dir/test/trials")
done

mkdir -p "$out/pooled/trials"
for table in utt2spk spk2utt spk2gender spk2age; do
  cp "$data/$table" "$out/pooled/$table"
done
for list in O.kaldi H.kaldi; do
  cat "${lists[@]/%//$list}" >"$out/pooled/trials/$list.tmp"
  mv "$out/pooled/trials/$list.tmp" "$out/pooled/trials/$list"
done
