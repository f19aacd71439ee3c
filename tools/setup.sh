#!/usr/bin/env bash
# Make the Python environment .venv from requirements.lock. Where SV_PYTHON is set, only check that python's
# environment. A second call does nothing and needs no network. After an interruption, the same command starts over.
#
# Reads   requirements.lock; the settings of pip (PIP_INDEX_URL, pip.conf, ...), or of uv where uv installs
# Writes  .venv, a link to .venv-py<version>-<checksum of the lock>[-cpu], in which .done is written last
#
# Usage: tools/setup.sh [options]
# e.g.: tools/setup.sh --python python3.12
set -euo pipefail
start_dir=${start_dir:-$PWD} # a recipe says where the user stood
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Options
python=              # python to build with, 3.10 to 3.14 (default: python3, else the first python3.N that fits)
torch=               # cuda|cpu: cpu leaves out CUDA, 3.4 of 5.3 GiB, and needs uv (default: as in .venv, else cuda)
quiet=false          # true|false: print nothing if there is nothing to do
. tools/parse_options.sh

find_python() { # set $python and $version
  local name names=("$python")
  [ -n "$python" ] || names=(python3 python3.14 python3.13 python3.12 python3.11 python3.10)
  for name in "${names[@]}"; do
    version=$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    python=$(command -v "$name")
    [[ ! $version =~ ^3\.1[0-4]$ ]] || return 0
  done
  die "no Python 3.10 to 3.14 here (tried ${names[*]}); install one (Debian, Ubuntu: sudo apt-get install python3)," \
    "name it with --python, or name an environment's python in SV_PYTHON"
}

has_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }

install_venv() { # as root on Debian, which leaves venv out of Python; else return 1
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return
  say "installing python$version-venv with apt-get"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "python$version-venv" >&2 </dev/null && has_venv
}

find_maker() { # set $maker, the command that makes an environment
  maker=("$python" -m venv)
  if [ "$torch" != cpu ] && has_venv; then
    return
  elif uv --version >/dev/null 2>&1; then
    maker=(uv venv -q --python "$python")
  elif [ "$torch" = cpu ]; then
    die "--torch cpu needs uv, which knows where builds for the CPU are; install it (pip install uv), or set SV_PYTHON"
  elif ! install_venv; then
    die "$python has no venv, and uv is not here; type: sudo apt-get install python$version-venv"
  fi
}

install_lock() { # install every package from a wheel with a known checksum (but torch for the CPU), with its bytecode
  local uv=(uv pip install --python "$env/bin/python3" --no-build --compile-bytecode)
  if [ "$torch" = cpu ]; then
    awk '/^[a-z]/ { keep = !/^(torch|torchaudio|triton|nvidia-[^ ]*|cuda-[^ ]*)==/ } keep' requirements.lock \
      >"$env/tmp/others.txt"
    grep -oE '^torch(audio)?==[0-9.]+' requirements.lock | "${uv[@]}" --torch-backend cpu -r - &&
      "${uv[@]}" --require-hashes --no-deps -r "$env/tmp/others.txt"
  elif [ "${maker[0]}" = uv ]; then
    "${uv[@]}" --require-hashes -r requirements.lock
  else
    [ -t 2 ] || export PIP_QUIET=1 # a log needs no list of packages
    [ -n "${PIP_CACHE_DIR:-}" ] || [ "$(free_gb ~)" -gt 11 ] || export PIP_NO_CACHE_DIR=1 # the cache takes 3 GB
    PIP_USER=0 "$env/bin/python3" -m pip install --disable-pip-version-check --no-input --compile \
      --require-hashes --only-binary :all: -r requirements.lock
  fi
}

free_gb() { df -Pk "$1" | awk 'NR == 2 { print int($4 * 1024 / 1e9) }'; } # <folder>

build() { # make $env
  [ "$torch" = cpu ] || [ "$(free_gb .)" -ge 8 ] || # measured: 7.3 while pip holds what it has downloaded
    die "$PWD has $(free_gb .) GB free, the environment needs 8; free some," \
      "or name an environment's python in SV_PYTHON"
  find_maker
  say "making $env with ${maker[*]}; that takes some minutes"
  rm -rf "$env"
  "${maker[@]}" "$env" >&2 || die "no environment was made (above); fix that, or name another python with --python"
  mkdir "$env/tmp"
  TMPDIR=$PWD/$env/tmp install_lock >&2 || # the system's may be small
    die "the packages could not be installed (above); fix that, then run tools/setup.sh again"
  rm -r "$env/tmp"
  touch "$env/.done"
}

set_up() {
  local name
  . tools/guard.sh
  hold_lock .venv.lock "an environment is being made in $PWD" wait
  [ ! -e .venv ] || [ -L .venv ] ||
    die "$PWD/.venv was not made by this script; move it away, or use it: export SV_PYTHON=$PWD/.venv/bin/python3"
  unset PYTHONPATH PYTHONHOME # packages in them would count as installed
  find_python
  env=.venv-py$version-$lock
  [[ -e $env/.done && -x $env/bin/python3 ]] || build
  ln -sfn "$env" .venv.tmp
  mv -T .venv.tmp .venv
  for name in .venv-*/; do
    [ "$name" = "$env/" ] || say "$name is for another lock or Python; when nothing uses it any more: rm -rf $PWD/$name"
  done
  say "done in $SECONDS s"
}

[[ $python != [!/]*/* ]] || python=$start_dir/$python
if [ -n "${SV_PYTHON:-}" ] && { is_given python || is_given torch; }; then
  refuse "--python and --torch are for .venv, but SV_PYTHON names another environment; unset it, or leave them out"
elif [ -z "${SV_PYTHON:-}" ]; then
  version='*' # any
  [ -z "$python" ] || find_python
  [[ -n $torch || $(readlink .venv) != *-cpu ]] || torch=cpu
  lock=$(sha256sum requirements.lock)
  lock=${lock:0:12}
  [ "$torch" != cpu ] || lock+=-cpu
  # shellcheck disable=SC2053  # $version may be a pattern
  if ! [[ -e .venv/.done && -x .venv/bin/python3 && $(readlink .venv) == .venv-py$version-$lock ]]; then
    set_up
  elif [ "$quiet" = true ]; then
    exit
  fi
  quiet=false
fi
. ./path.sh
[ "$quiet" = false ] || quick=--quick
python3 tools/check_env.py ${quick:+"$quick"} >&2
