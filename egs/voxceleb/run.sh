#!/usr/bin/env bash
# shellcheck disable=SC2034,SC2154  # options come from steps/options and are read by steps/recipe.sh
# Speaker verification on VoxCeleb: train on vox2_dev, test on Vox1-O, -E and -H.
# Corpora, disk and time needed: egs/voxceleb/README.md.  Numbers: egs/voxceleb/RESULTS.md.
#
#   bash egs/voxceleb/run.sh --vox1 DIR --vox2 DIR --loss sphereface2 --margin-type A --gpus 0,1
#   bash egs/voxceleb/run.sh --stage 3 --loss aam        # another loss on the same features
#
# Stages: 0 download (only when asked)   1 data lists   2 features   3 training   4 embeddings   5 cosine scores
#         6 score normalization   7 PLDA and calibration   8 report
#         9 large-margin fine-tuning of the trained system, with all stages from 3 on (only when asked)
set -euo pipefail
start_dir=$PWD # paths given by the user are relative to it
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
start_dir="$start_dir" tools/setup.sh --quiet true
. ./path.sh

# Options
. steps/options/stages.sh
# Corpus
corpora=egs/voxceleb/corpora # DIR: downloads of stage 0
vox1=                 # DIR: VoxCeleb1, as distributed or unpacked (default: <corpora>/voxceleb1)
vox2=                 # DIR: VoxCeleb2, the same (default: <corpora>/voxceleb2)
lists=                # DIR: veri_test2.txt, list_test_all2.txt, list_test_hard2.txt (default: beside VoxCeleb1)
source=hf             # stage 0: hf, mmai, oxford, a URL or a folder; see local/download_voxceleb.py --help
audio_format=flac     # flac|wav: format that m4a files are converted to
audio_dir=            # DIR: converted files (default: beside the m4a files, in <vox2>)
data=egs/voxceleb/data # DIR: data lists
. steps/options/jobs.sh
. steps/options/processes.sh
. steps/options/features.sh
speeds="0.9 1.1"
musan=                # DIR: MUSAN, to augment with (default: <corpora>/musan; "": synthetic noise)
rirs=                 # DIR: RIRS_NOISES, to augment with (default: <corpora>/RIRS_NOISES; "": synthetic rooms)
. steps/options/system.sh
config=egs/voxceleb/conf/resnet34.yaml
. steps/options/rounds.sh
. steps/options/scoring.sh
trials="vox1_O_cleaned.kaldi vox1_E_cleaned.kaldi vox1_H_cleaned.kaldi" # trial lists (default: those of stage 1)
lm_config=egs/voxceleb/conf/any_lm.yaml
. tools/parse_options.sh
. steps/recipe.sh

if [ -d "$start_dir/$source" ]; then
  source=$start_dir/$source
fi
vox1=${vox1:-$corpora/voxceleb1}
vox2=${vox2:-$corpora/voxceleb2}
is_given musan || musan=$corpora/musan
is_given rirs || rirs=$corpora/RIRS_NOISES

for name in vox1 vox2; do
  if ((stage == 1)) && [ "$dry_run" = false ] && [ ! -e "${!name}" ]; then
    die "--$name ${!name} does not exist; give --vox1 DIR and --vox2 DIR, or download them first (--stage 0)"
  fi
done

begin_recipe 0 "$data/vox2_dev" "$data/vox1"

if in_stage 0 "download"; then
  local/download_voxceleb.py --source "$source" "$corpora"
  if is_augmented && [ -n "$musan" ]; then
    local/prepare_musan.py --download true --musan "$musan" "$data/noises"
  fi
  if is_augmented && [ -n "$rirs" ]; then
    local/prepare_rirs.py --download true --rirs "$rirs" "$data/rirs"
  fi
fi

if in_stage 1 "data lists"; then
  local/convert_audio.sh --nj "$nj" --cmd "$cmd" --format "$audio_format" --out-dir "$audio_dir" "$vox2"
  converted=()
  if [ -d "$audio_dir" ]; then
    converted=(--vox2 "$audio_dir")
  fi
  local/prepare_voxceleb.py --vox1 "$vox1" --vox2 "$vox2" "${converted[@]}" ${lists:+--lists "$lists"} "$data"
  if is_augmented; then
    local/prepare_augmentation.sh --config "$config" --musan "$musan" --rirs "$rirs" "$data"/{vox2_dev,noises,rirs}
  fi
  check_lists "$data"/{vox2_dev,vox1}
fi

run_common_stages "$data"/{vox2_dev,vox1}
