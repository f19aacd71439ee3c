# shellcheck shell=bash disable=SC2154  # tools/parse_options.sh, which sources this, sets _po_name
# Print lines for the user, and for the log of a stage ($SV_STAGE_LOG). tools/parse_options.sh describes say, tell, die
# and refuse. Python's steps do the same (sv/errors.py). tools/run.pl, queue.pl and slurm.pl report a killed job
# (tools/SvJobs.pm).

say() {
  if [[ -z ${SV_STAGE_LOG:-} ]]; then
    printf '%(%F %T)T %s: %s\n' -1 "$_po_name" "$*" >&2
  else
    _po_log "$*"
    [[ $* != warning:* ]] || _po_warn_once "$*"
  fi
}

_po_log() {
  printf '%(%F %T)T %s: %s\n' -1 "$_po_name" "$*" >>"$SV_STAGE_LOG"
}

_po_warn_once() {
  local known=${SV_STAGE_LOG%/*}/warnings.log # steps/recipe.sh empties it when a run begins
  if [[ -f $known ]]; then
    ! grep -qxF -- "$1" "$known" || return 0
    printf '%s\n' "$1" >>"$known"
  fi
  printf '%(%T)T %s\n' -1 "$1" >&2
}

tell() {
  say "$@"
  [[ -z ${SV_STAGE_LOG:-} ]] || printf '%(%T)T %s\n' -1 "$*" >&2
}

_po_error() {
  printf '%s: error: %s\n' "$_po_name" "$*" >&2
  [[ -z ${SV_STAGE_LOG:-} ]] || _po_log "error: $*"
}

die() {
  _po_error "$@"
  exit 1
}

refuse() {
  _po_error "$@"
  exit 2
}

_po_tell_kill() { # <status> <command> <commands of its pipe>: if a signal ended what failed, say so and exit 1
  local name=${2%% *} why=
  if (($1 <= 128 || $1 > 192 || $1 == 128 + 2 || $1 == 128 + 13)); then # SIGINT, SIGPIPE: not worth a message
    return 0
  elif [[ $name =~ ^\"?\$\{?([a-z_]+)(\[@\])?\}?\"?$ ]]; then
    local -n words=${BASH_REMATCH[1]}
    name=${words[0]}
  fi
  [[ $3 == 1 && $name =~ ^[A-Za-z0-9_./-]+$ ]] || name="a command"
  [[ $1 != 137 ]] || why="; most often memory ran out (dmesg tells): give it more, or run less at a time"
  die "$name was killed by signal $(($1 - 128)) (SIG$(kill -l "$1"))$why; the same command goes on$(_po_log_name)"
}

_po_log_name() {
  [[ ! -f ${SV_STAGE_LOG:-} ]] || printf '; log: %s' "$SV_STAGE_LOG"
}
