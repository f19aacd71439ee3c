# shellcheck shell=bash
# Let one script at a time work in a folder, and leave no process behind. Source this after parse_options.sh.
#
#   hold_lock <file> <what> [wait]     hold the lock until this script and everything that it started have ended; if
#                                      another script holds it, stop, or wait. <what> is like "data is being prepared"
#   release_lock <file>                release it before that
#
# sv/jobs/lock.py is the same lock in Python, and explains the note in the file and how a dead holder is recognized.
# Whatever the script starts after sourcing this ends with it, even if SIGKILL ends the script.

declare -A _lock_fds=()

_process_start() { # <pid>
  local stat words
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
  read -ra words <<<"${stat##*) }"
  printf '%s' "${words[19]}"
}

_describe_holder() { # <file>: set _holder, and _patience: how many seconds to wait for it
  local host='' pid='' start day clock command
  read -r host pid start day clock command <"$1" || true
  _holder="process $pid on $host since $day $clock ($command)"
  _patience=0
  if [ -z "$pid" ]; then # the note is being written
    _holder="another process" _patience=30
  elif [ "$host" != "$(uname -n)" ]; then
    _patience=120
  elif [ "$(_process_start "$pid")" != "$start" ]; then
    _holder+=", which has ended, but not all that it started"
    _patience=30
  fi
}

hold_lock() { # <file> <what> [wait]
  local fd status begin=$SECONDS told=false _holder _patience
  if [ -n "${_lock_fds[$1]:-}" ]; then
    return
  fi
  mkdir -p "$(dirname "$1")" || die "$(dirname "$1") cannot be made (above); give another folder"
  exec {fd}>>"$1"
  while status=0; flock -n "$fd" || status=$?; [ "$status" = 1 ]; do
    _describe_holder "$1"
    if [ "${3:-}" = wait ]; then
      [ "$told" = true ] || say "$2 by $_holder; waiting for its end"
      told=true
    elif ((SECONDS - begin >= _patience)); then
      die "$2 by $_holder; wait for its end, or end it"
    fi
    sleep 0.2
  done
  if [ "$status" != 0 ]; then
    say "warning: $1 cannot be locked (see above); a second run in this folder would not be noticed"
  fi
  _lock_fds[$1]=$fd
  printf '%s %s %s %(%F %T)T %s\n' "$(uname -n)" "$$" "$(_process_start "$$")" -1 "$0" >"$1"
}

release_lock() { # <file>
  local fd=${_lock_fds[$1]:-}
  if [ -n "$fd" ]; then
    exec {fd}>&-
    unset "_lock_fds[$1]"
  fi
}

if [ -z "${SV_GUARDED:-}" ]; then # else the calling script is guarded already
  export SV_GUARDED
  SV_GUARDED=$$.$(_process_start "$$")
  setsid "$(dirname "${BASH_SOURCE[0]}")/end_orphans.pl" "${SV_GUARDED%.*}" "${SV_GUARDED#*.}" \
    </dev/null >/dev/null 2>&1 &
fi
