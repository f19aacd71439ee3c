#!/usr/bin/env bash
# Make the Python environment .venv from requirements.lock; where SV_PYTHON names a python, check its environment.
# Done already, it does nothing and needs no network. Interrupted, it is started again with the same command.
#
# Reads   requirements.lock; pip's own settings (index, proxy, certificates, cache: PIP_INDEX_URL, pip.conf, ...)
# Leaves  .venv, a link to .venv-py<version>-<checksum of the lock>, in which .done is written last
#
# Usage: tools/setup.sh [options]
# e.g.: tools/setup.sh --python python3.12
set -euo pipefail
start_dir=${start_dir:-$PWD} # a recipe says where the user stood
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Options
python=              # python to build with, 3.10 to 3.14 (default: python3, else the first python3.N that fits)
quiet=false          # true|false: print nothing where nothing is to be done
test_packages=false  # true|false: install Debian's packages that tests use, too (as root; else name them)
. tools/parse_options.sh

lock=requirements.lock
need_gb=8  # measured: 7.3 while pip holds what it has downloaded, 5.5 afterwards
cache_gb=3 # pip's cache of downloads, kept where there is room
fits='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))'

say() {
  printf 'setup.sh: %s\n' "$*" >&2
}

as_root_apt() { # <package>...
  export DEBIAN_FRONTEND=noninteractive
  say "installing $* with apt-get"
  apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >&2 </dev/null
}

may_apt() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

install_test_packages() {
  local name
  install_ffmpeg
  for name in gridengine slurm; do
    if ! may_apt; then
      say "tests of $name are skipped where it does not run; type: sudo tests/cluster/$name.sh install"
    elif ! tests/cluster/"$name".sh install >&2; then
      say "$name can not be installed (above): its tests are skipped"
    fi
  done
}

install_ffmpeg() {
  if command -v ffmpeg >/dev/null; then
    return 0
  elif may_apt; then
    as_root_apt ffmpeg || die "apt-get cannot install ffmpeg (above); install it, or leave out --test-packages"
  else
    say "no ffmpeg: tests that need it are skipped; type: sudo apt-get install ffmpeg"
  fi
}

check_env() { # <argument>...: with the environment that path.sh finds
  bash -c '. ./path.sh && exec python3 tools/check_env.py "$@"' setup.sh "$@"
}

is_done() { # the environment of this lock (and of --python) is there and runs
  [ -e .venv/.done ] && [ "$(head -n 1 .venv/.done)" = "lock $lock_sum" ] || return 1
  if [ -n "$python" ] && [ "$(sed -n 2p .venv/.done)" != "python $(python_version "$python")" ]; then
    return 1
  fi
  runs .venv
}

runs() { # <environment>; it does not where the Python that it was made from is no more
  "$1/bin/python3" -c '' 2>/dev/null
}

python_version() { # <python>: 3.11
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

refuse_in_job() {
  local name
  for name in SV_JOB SLURM_JOB_ID SGE_TASK_ID PBS_JOBID LSB_JOBID; do
    if [ -n "${!name:-}" ]; then
      die "no environment yet, and none is made from a job ($name=${!name}); run tools/setup.sh on the login node," \
        "or in an interactive job: env -u $name tools/setup.sh"
    fi
  done
}

find_python() { # into $python
  local name
  if [ -n "$python" ]; then
    "$python" -c "$fits" 2>/dev/null || die "--python $python is not a Python 3.10 to 3.14; name one that is"
    return
  fi
  for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
    if "$name" -c "$fits" 2>/dev/null; then
      python=$name
      return
    fi
  done
  die "no Python 3.10 to 3.14 here (python3: $(python3 --version 2>&1 || true));" \
    "install one (Debian, Ubuntu: sudo apt-get install python3), name it with --python," \
    "or name an environment's python in SV_PYTHON"
}

find_maker() { # into $maker: what makes environments
  local package
  package=python$(python_version "$python")-venv
  if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    maker=venv
  elif "$python" -m virtualenv --version >/dev/null 2>&1; then
    maker="virtualenv module"
  elif command -v virtualenv >/dev/null && virtualenv --version >/dev/null 2>&1; then
    maker=virtualenv
  elif command -v uv >/dev/null && uv --version >/dev/null 2>&1; then
    maker=uv
  elif may_apt && as_root_apt "$package" && "$python" -c 'import ensurepip, venv'; then
    maker=venv
  else
    die "$python has no venv, and neither virtualenv nor uv is here; type: sudo apt-get install $package"
  fi
}

free_gb() { # <folder>
  df -Pk "$1" | awk 'NR == 2 { print int($4 * 1024 / 1e9) }'
}

check_disk() {
  local free
  free=$(free_gb .)
  if [ "$free" -lt "$need_gb" ]; then
    die "$PWD has $free GB free, the environment needs $need_gb GB;" \
      "free some, or name an environment's python in SV_PYTHON"
  fi
}

has_room_for_cache() { # in the home folder, beside the environment if that is on the same disk
  local room=$cache_gb
  if [ -n "${PIP_CACHE_DIR:-}" ]; then
    return 0
  elif [ "$(stat -c %d ~)" = "$(stat -c %d .)" ]; then
    room=$((need_gb + cache_gb))
  fi
  [ "$(free_gb ~)" -ge "$room" ]
}

make_empty() { # <environment>
  case $maker in
    venv) "$python" -m venv "$1" ;;
    "virtualenv module") "$python" -m virtualenv -q "$1" ;;
    virtualenv) virtualenv -q -p "$python" "$1" ;;
    uv) uv venv -q --python "$(command -v "$python")" "$1" ;;
  esac
}

install_with_uv() { # <environment>; uv does not know pip's names
  local flags=()
  if [ -n "${PIP_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}; fi
  if [ -n "${PIP_EXTRA_INDEX_URL:-}" ]; then export UV_INDEX=${UV_INDEX:-$PIP_EXTRA_INDEX_URL}; fi
  if [ -n "${PIP_FIND_LINKS:-}" ]; then export UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS// /,}}; fi
  if [ -n "${PIP_CERT:-}" ]; then export SSL_CERT_FILE=${SSL_CERT_FILE:-$PIP_CERT}; fi
  if [[ ${PIP_NO_INDEX:-} =~ ^(1|true|yes|on)$ ]]; then flags+=(--no-index); fi
  uv pip install --python "$1/bin/python3" ${flags[@]+"${flags[@]}"} --require-hashes --no-build -r "$lock"
}

install_with_pip() { # <environment>
  local flags=()
  if ! [ -t 2 ]; then
    flags+=(-q)
  fi
  if ! has_room_for_cache; then
    flags+=(--no-cache-dir)
  fi
  PIP_USER=0 "$1/bin/python3" -m pip install ${flags[@]+"${flags[@]}"} --disable-pip-version-check --no-input \
    --no-compile --require-hashes --only-binary :all: -r "$lock"
}

install_lock() { # <environment>: every package as a wheel of a known checksum
  local status=0
  mkdir -p "$1/tmp"
  export TMPDIR=$PWD/$1/tmp # not the system's, which may be small
  if [ "$maker" = uv ]; then
    install_with_uv "$1" || status=$?
  else
    install_with_pip "$1" || status=$?
  fi
  rm -rf "$1/tmp"
  unset TMPDIR
  return "$status"
}

build() { # <environment>
  check_disk
  say "making $1 with $maker; that takes some minutes and 5.5 GB"
  make_empty "$1" >&2 ||
    die "$maker cannot make an environment (above); mend that, or name another python with --python"
  install_lock "$1" >&2 ||
    die "the packages could not be installed (above); when that is mended, run tools/setup.sh again"
  printf 'lock %s\npython %s\n' "$lock_sum" "$(python_version "$1/bin/python3")" >"$1/.done.tmp"
  mv "$1/.done.tmp" "$1/.done"
}

remove_unfinished() { # and tell of finished ones that are no longer linked to
  local dir
  for dir in .venv-*/; do
    dir=${dir%/}
    if ! [ -d "$dir" ]; then
      continue # there is none
    elif ! [ -e "$dir/.done" ] || { [ "$dir" = "$env" ] && ! runs "$dir"; }; then
      rm -rf "$dir"
    elif [ "$dir" != "$env" ]; then
      say "$dir, of an earlier lock or Python, is left for what still runs in it; afterwards: rm -rf $PWD/$dir"
    fi
  done
}

set_up() {
  refuse_in_job
  . tools/guard.sh
  hold_lock .venv.lock "an environment is being made in $PWD" wait
  if is_done; then
    return
  elif [ -e .venv ] && ! [ -L .venv ]; then
    die "$PWD/.venv was not made by this script; move it away, or use it: export SV_PYTHON=$PWD/.venv/bin/python3"
  fi
  unset PYTHONPATH PYTHONHOME # packages found there would count as installed
  find_python
  env=.venv-py$(python_version "$python")-${lock_sum:0:12}
  remove_unfinished
  if ! [ -e "$env/.done" ]; then
    find_maker
    build "$env"
  fi
  ln -sfn "$env" .venv.tmp
  mv -T .venv.tmp .venv
  say "done in $SECONDS s"
}

if [[ $python == */* && $python != /* ]]; then
  python=$start_dir/$python
fi
if [ "$test_packages" = true ]; then
  install_test_packages
fi
if [ -n "${SV_PYTHON:-}" ]; then
  check_env --quick
elif ! [ -e "$lock" ]; then
  die "$PWD/$lock is missing; get the repository again"
else
  lock_sum=$(sha256sum "$lock")
  lock_sum=${lock_sum%% *}
  if is_done; then
    [ "$quiet" = false ] || exit 0
  else
    set_up
    quiet=false
  fi
fi
if [ "$quiet" = false ]; then
  check_env >&2
fi
