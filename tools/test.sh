#!/usr/bin/env bash
# Lint and test everything; set up the environment if there is none. The time of each part is printed at the end. mypy
# runs beside the other parts; the time printed for it is only the wait for its end.
#
# Reads   SV_CORPORA  a folder with real speech (speechocean762); without it, tests that need it are skipped
#         SV_PYTHON   an existing environment's python to use instead of .venv
#
# Usage: tools/test.sh [options] [-- <pytest argument> ...]
# e.g.: tools/test.sh --fast
#       tools/test.sh --lint false -- tests/sv/losses -k gradient
set -euo pipefail
start_dir=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Options
fast=false  # true|false: only quick tests (not marked slow or recipe), and only shell scripts with uncommitted changes
lint=true   # true|false: also lint
nj=3        # number of processes that run tests
. tools/parse_options.sh

failed=()
times=()

part() { # <name> <command>...: run it, measure its time, remember if it failed
  local name=$1 begin=$EPOCHREALTIME status=0
  shift
  printf '== %s\n' "$name"
  "$@" || status=$?
  times+=("$(awk -v a="$begin" -v b="$EPOCHREALTIME" -v name="$name" 'BEGIN { printf "%7.1f s  %s", b - a, name }')")
  if [ "$status" != 0 ]; then
    failed+=("$name")
  fi
}

list_files() { # <find test>...: print the files of the repository, sorted, without those that recipes and tools make
  find . \( -path ./.git -o -path './.venv*' -o -path ./build -o -path './egs/*/data' -o -path './egs/*/exp' -o \
    -path './egs/*/fbank' -o -path './egs/*/corpora' -o -path ./corpora \) -prune -o -type f "$@" -print | LC_ALL=C sort
}

list_shell_scripts() { # print them: known by name, or by their first line if the name has no ending
  list_files -name '*.sh'
  list_files ! -name '*.*' -exec grep -qIE '^#!.*\bbash' {} \;
}

keep_changed() { # keep the $files that differ from the last commit; all if others source one of these, or without git
  local changed file kept=()
  changed=$(git status --porcelain --no-renames -uall 2>/dev/null) || return 0
  for file in "${files[@]}"; do
    if [[ $changed$'\n' == *" ${file#./}"$'\n'* ]]; then
      [ -x "$file" ] || return 0 # it is sourced
      kept+=("$file")
    fi
  done
  files=(${kept[@]+"${kept[@]}"})
}

check_shell() {
  local files thorough=true
  mapfile -t files < <(list_shell_scripts)
  if [ "$fast" = true ]; then
    thorough=false # no analysis of unreachable code: a third of the time
    keep_changed
  fi
  if ! command -v shellcheck >/dev/null; then
    echo "test.sh: error: no shellcheck; type: sudo apt-get install shellcheck" >&2
    return 1
  fi
  if ((${#files[@]} == 0)); then
    return 0
  fi
  printf '%s\0' "${files[@]}" | xargs -0 -n 4 -P "$nj" shellcheck -x --extended-analysis="$thorough"
}

check_perl() {
  local files file status=0 said
  mapfile -t files < <(list_files \( -name '*.pl' -o -name '*.pm' \))
  for file in ${files[@]+"${files[@]}"}; do
    if ! said=$(perl -Itools -cw "$file" 2>&1) || [ "$said" != "$file syntax OK" ]; then
      printf '%s\n' "$said" >&2
      status=1
    fi
  done
  return "$status"
}

check_types() {
  local dirs=() dir
  for dir in sv steps local tools bench docs; do
    if [ -n "$(find "$dir" -name '*.py' -print -quit 2>/dev/null)" ]; then
      dirs+=("$dir")
    fi
  done
  exec python3 -m mypy "${dirs[@]}" # so that $types_pid is its own
}

await_types() { # print what check_types has found, which was started with $types_found as its output
  local status=0
  wait "$types_pid" || status=$?
  types_pid=
  cat "$types_found"
  return "$status"
}

run_tests() { # <pytest argument>...
  local status=0
  python3 -m pytest -n "$nj" --max-worker-restart 0 "$@" || status=$?
  if [ "$status" = 5 ]; then # no test ran; one process says why, such as a path that does not exist
    python3 -m pytest -n 0 --collect-only "$@" || true
  fi
  return "$status"
}

finish() { # however the script ends: leave no process and no file, and print the times
  if [ -n "$types_pid" ]; then
    kill "$types_pid" 2>/dev/null || true # it may have ended
  fi
  rm -f ${types_found:+"$types_found"}
  printf '\n'
  printf '%s\n' ${times[@]+"${times[@]}"}
  printf '%7d s  in all\n' "$SECONDS"
}

set_up() {
  tools/setup.sh --quiet true
}

types_pid=
types_found=
trap finish EXIT
part "set-up" set_up
if [ "${#failed[@]}" -gt 0 ]; then
  exit 1 # it has said why
fi
. ./path.sh
python3 tools/check_env.py --test --quick

if [ "$lint" = true ]; then
  types_found=$(mktemp)
  check_types >"$types_found" 2>&1 & # some seconds of one core, and longer without its cache
  types_pid=$!
  part "ruff check" python3 -m ruff check -q .
  part "ruff format" python3 -m ruff format --check -q .
  part "shellcheck" check_shell
  part "perl -c" check_perl
  part "codespell" python3 -m codespell_lib .
fi

select=(--dist loadfile --no-loadscope-reorder --durations 25) # the 25 slowest tests, all recipes among them
if [ "$fast" = true ]; then
  select=(--dist worksteal -m "not slow and not recipe" --durations 5 --durations-min 0.5)
fi
unset PYTHONDONTWRITEBYTECODE # without bytecode, each worker and each step compiles torch and the tests anew
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # tests compute little, and $nj run at a time
part "pytest" run_tests "${select[@]}" "$@"
if [ -n "$types_pid" ]; then
  part "mypy" await_types
fi

if [ "${#failed[@]}" -gt 0 ]; then
  printf -v names '%s, ' "${failed[@]}"
  echo "test.sh: error: failed: ${names%, }" >&2
  exit 1
fi
