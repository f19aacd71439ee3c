# shellcheck shell=bash disable=SC2154  # tools/parse_options.sh, which sources this, sets _po_name
# Lines for the user, and for the log of a stage ($SV_STAGE_LOG); what say, tell and die do: tools/parse_options.sh. Python's
# steps do the same (sv/errors.py).

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
