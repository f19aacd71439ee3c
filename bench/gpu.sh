#!/usr/bin/env bash
# Measure all that needs a GPU, in at most nine minutes, and write it as Markdown for bench/README.md.
#
# Reads   $SV_CORPORA/speechocean762, if it is there (else speech is noise, and the last part is left out). Nothing is
#         fetched or installed.
# Leaves  <out>, rows of: the tests that need CUDA, bench/gpu.py, bench/training.py, a recipe up to its table; logs of
#         them in <out>.logs. A part that fails or is over its time leaves a line; the exit status is then 1.
#
# Usage: bench/gpu.sh [options] <out>
# e.g.: SV_CORPORA=/corpora bench/gpu.sh gpu.md
set -euo pipefail
[ -e path.sh ] || { echo "bench/gpu.sh: error: no path.sh here; call it from the repository root" >&2; exit 1; }
. ./path.sh

# Options
quick=false           # true|false: small sizes, which show on a CPU that all of it runs; two epochs of the recipe
recipe=true           # true|false: run the recipe; false: print its plan alone, for which no corpus is needed
tests_s=60            # seconds for the tests
bench_s=220           # seconds for bench/gpu.py
training_s=120        # seconds for bench/training.py
recipe_s=110          # seconds for the recipe
. tools/parse_options.sh

out=$1
logs=$out.logs
status=0
mkdir -p "$logs"
small=()
if [ "$quick" = true ]; then
  small=(--quick)
fi

part() { # <name> <seconds> <command>: its output into <out>, its log into <logs>; says so if it fails
  local code=0
  printf '\n## %s\n\n' "$1" >>"$out"
  timeout --kill-after=5 "$2" "${@:3}" >"$logs/$1.out" 2>"$logs/$1.log" || code=$?
  cat "$logs/$1.out" >>"$out"
  if [ "$code" = 124 ] || [ "$code" = 137 ]; then
    printf '\nEnded after %s s, before it was done.\n' "$2" >>"$out"
  elif [ "$code" != 0 ]; then
    printf '\nFailed (status %s): %s\n' "$code" "$(tail -n 1 "$logs/$1.log")" >>"$out"
  fi
  [ "$code" = 0 ] || status=1
}

: >"$out"
part tests "$tests_s" python3 -m pytest -q -rs -p no:cacheprovider -k "gpu or synchronized_batch_norm" \
  tests/sv/training/test_on_gpu.py tests/sv/training/test_distributed.py tests/sv/audio/test_features.py
part gpu "$((bench_s + 20))" python3 bench/gpu.py --seconds "$bench_s" "${small[@]}"
part training "$training_s" python3 bench/training.py --num-workers 4 "${small[@]}"
corpus=${SV_CORPORA:-/none}/speechocean762
if [ "$recipe" = true ] && [ ! -d "$corpus" ]; then
  printf '\n## recipe\n\nLeft out: no %s.\n' "$corpus" >>"$out"
else
  SV_PYTHON=${SV_PYTHON:-$(command -v python3)} # so that the recipe installs nothing
  export SV_PYTHON
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  options=(--corpus "$corpus" --data "$work/data" --exp-dir "$work/exp" --gpus auto --nj "$(nproc)" --stop-stage 5
    --speeds "") # copies take three times as long
  if [ "$quick" = true ]; then
    options+=(--num-epochs 2 --set num_avg=1)
  else
    options+=(--num-epochs 5 --set num_avg=2) # 15 epochs may not end in time
  fi
  if [ "$recipe" = false ]; then
    options+=(--dry-run true)
  fi
  part recipe "$recipe_s" egs/speechocean762/run.sh "${options[@]}"
fi
echo "gpu.sh: wrote $out" >&2
exit "$status"
