#!/usr/bin/env bash
# The environment of every recipe and job; sourced from the repository root: `. ./path.sh`. It never installs anything.
#
# Reads   conf/site.sh  what a site or user sets for all jobs, if it is there: SV_CMD, modules to load (docs/cluster.md)
#         SV_PYTHON  an existing environment's python to use instead of .venv, which tools/setup.sh makes
# Sets    PATH (that environment's bin, then tools/), PYTHONPATH (the repository root), LC_ALL=C (Kaldi's sort order)

sv_root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P) || return 1
if [ -e "$sv_root/conf/site.sh" ]; then
  # shellcheck source=/dev/null
  . "$sv_root/conf/site.sh"
fi
if [ -n "${SV_PYTHON:-}" ]; then
  case $SV_PYTHON in
    /*) ;;
    */*) SV_PYTHON=${start_dir:-$PWD}/$SV_PYTHON ;;  # start_dir: where the user stood when a recipe began
    *) SV_PYTHON=$(command -v "$SV_PYTHON" || echo "$SV_PYTHON") ;;
  esac
  sv_bin=${SV_PYTHON%/*}
  if ! [ -x "$SV_PYTHON" ] || ! [ "$sv_bin/python3" -ef "$SV_PYTHON" ]; then  # scripts begin with `env python3`
    echo "path.sh: error: SV_PYTHON=$SV_PYTHON is not a python with a python3 beside it;" \
      "name an environment's python, or unset SV_PYTHON" >&2
    unset sv_root sv_bin
    return 1
  fi
  export SV_PYTHON
elif [ -e "$sv_root/.venv/.done" ] && [ -x "$sv_root/.venv/bin/python3" ]; then
  sv_bin=$(cd "$sv_root/.venv/bin" && pwd -P) || return 1  # .venv is a link: a job keeps the environment it began with
else
  echo "path.sh: error: no environment in $sv_root/.venv;" \
    "run tools/setup.sh, or set SV_PYTHON to an environment's python" >&2
  unset sv_root
  return 1
fi

case :$PATH: in
  :"$sv_bin":"$sv_root/tools":*) ;;
  *) PATH=$sv_bin:$sv_root/tools:$PATH ;;
esac
case :${PYTHONPATH:-}: in
  :"$sv_root":*) ;;
  *) PYTHONPATH=$sv_root${PYTHONPATH:+:$PYTHONPATH} ;;
esac
export PATH PYTHONPATH LC_ALL=C
unset PYTHONHOME sv_root sv_bin
