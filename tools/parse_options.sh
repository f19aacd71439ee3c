# shellcheck shell=bash disable=SC2094  # no file is written here
# Read the options of a script from its own text. Source this right after the option block.
#
#   # What the script does, reads and leaves.
#   # Usage: steps/x.sh [options] <data-dir> [<ark-dir>]
#   # e.g.: steps/x.sh --nj 8 data/train
#   set -euo pipefail
#   # Options
#   nj=4                   # parallel jobs
#   dither=true            # true|false
#   loss=softmax           # softmax|aam|sphereface2: the training loss
#   config=                # FILE: settings of the front-end
#   . tools/parse_options.sh
#
# Options are "--name value" or "--name=value", with dashes or underscores, before or after the positional arguments. A
# boolean without a value means true. "--" ends the options. --help prints the comment and the block. --verbose sets
# SV_VERBOSE=1. These are checked: names, booleans, "a|b|c:" lists, whole numbers (stage, nj, seed, num_*, *_speakers,
# *_utts, top_n, *_dim), lists of them (the description says: as in "1 2 3"), speeds, and the number of positional
# arguments, which stay in "$@". In the usage line, <a> is required, [<b>] is optional, and "..." is any number; without
# any of them, no positional arguments are allowed.
# An option given twice has its last value; --set and --lm-set, which take lists, have the keys of all.
# DIR: and FILE: mark paths. If the script sets $start_dir, a relative path from the user starts there; it stays
# relative if it lies below the script's folder of work. Slashes at the end of a DIR: are removed. --data and --exp-dir
# cannot be empty.
# A wrong call exits with 2. The script can then use
#   in_stage N "title"     true if stage <= N <= stop_stage; then it prints the title on stderr
#   check_stages 0 8 [9]   refuse other stages, and --stage after --stop-stage; --stage 9 runs only stage 9
#   with_stage COMMAND...  run another such script, which keeps counting the time of the stages
#   end_stages             print how long the last stage and the whole run took
#   say "what"             print one line on stderr, with the time and the script's name; in a stage of a recipe, write
#                          it to the log of the stage, and print only warnings, each once a run
#   tell "what"            as say, but print it on stderr in a stage of a recipe, too
#   die "what; remedy"     print it as an error, in a stage of a recipe also in its log, and exit 1; this is done by
#                          itself if a signal kills a command
#   refuse "what; remedy"  the same for a wrong call (a value or combination that options cannot have); exit 2
#   usage_error "what"     print one line and the usage on stderr, exit 2
#   is_given NAME          true if the user has given that option (a variable's name)
#   script_dir             the folder of the script, absolute if the script was called from elsewhere
#   options_of FILE...     set the array options: those that these files declare, with their values, for another script
#   overrides              array: "--override=--NAME KEY=VALUE" of each option with a [key] and a value
#
# A line ". steps/options/NAME.sh" in the block includes the option lines of that file. A later line may give one of
# them another default; without a description, it keeps the old one. A description that ends in "[a.b]" names the key of
# the configuration that the option sets. Names that users of other toolkits may type stand in
# steps/options/elsewhere.txt, each with the answer.

_po_script=${BASH_SOURCE[1]}
_po_name=${_po_script##*/}
if [[ $_po_script != /* && -n ${start_dir:-} && -e $start_dir/$_po_script ]]; then
  _po_script=$start_dir/$_po_script # the script has changed folder since
fi
# shellcheck disable=SC2034  # for the script
script_dir=${_po_script%/*}
_po_stage='' _po_since=0                              # the stage that in_stage began last, and when
if [ -n "${SV_STAGE:-}" ]; then
  read -r SECONDS _po_since _po_stage <<<"$SV_STAGE"
  unset SV_STAGE
fi
_po_head=()                                           # the opening comment, without "# "
_po_rows=()                                           # what --help prints of the block: an option's name, or "#text"
# By option name. Kind: any, bool, int, speeds, a "|a|b|" list, path. File: the one that declares it first.
declare -A _po_default=() _po_about=() _po_kind=() _po_given=() _po_file=()

# shellcheck source=tools/say.sh
. "${BASH_SOURCE[0]%/*}/say.sh"

_po_refuse() {
  refuse "$* (--help lists the options)"
}

usage_error() {
  _po_error "$@"
  _po_print_usage >&2
  exit 2
}

is_given() {
  [[ -n ${_po_given[$1]+set} ]]
}

options_of() { # <file>...
  local name
  options=()
  for name in "${_po_rows[@]}"; do
    if [[ $name != '#'* && " $* " == *" ${_po_file[$name]} "* ]]; then
      options+=("$(_po_flag "$name")" "${!name}")
    fi
  done
}

in_stage() {
  ((${stage:?} <= $1 && ${stop_stage:?} >= $1)) || return 1
  local after=${_po_stage:+" (stage $_po_stage took $((SECONDS - _po_since)) s)"}
  _po_stage=$1 _po_since=$SECONDS
  [[ -z ${stage_logs:-} ]] || export SV_STAGE_LOG=$stage_logs/stage$1.log # steps/recipe.sh
  tell "stage $1: ${2:-}${stage_logs:+, stage$1.log}$after"
}

with_stage() { # <command>...: it keeps counting the time of this script's stages
  SV_STAGE="$SECONDS $_po_since $_po_stage" "$@"
}

end_stages() {
  tell "done (${_po_stage:+stage $_po_stage took $((SECONDS - _po_since)) s, }the whole run $SECONDS s)"
}

check_stages() {
  local last=${3:-$2}
  if ((${stop_stage:?} > last)); then
    refuse "--stop-stage $stop_stage: the last stage is $last"
  elif [[ ${stage:?} == "${3:-}" ]] && ! is_given stop_stage; then
    stop_stage=$stage
  elif ((stage < $1 || stage > last)); then
    refuse "--stage $stage: stages begin at $1 and end at $last; leave --stage out for a whole run" \
      "(--help says what each does)"
  elif ((stage > stop_stage)); then
    refuse "--stage $stage comes after --stop-stage $stop_stage: nothing to do"
  fi
}

_po_find_kind() { # <name>: find its kind by its default, which the variable still holds, and by its description
  local kind=any about=${_po_about[$1]} list='^([^][:space:]:|]+(\|[^][:space:]:|]+)+)(:|$)' numbers='as in "[0-9]+ [0-9]'
  if [[ $about == 'true|false'* && ! $about =~ ^true\|false\| ]]; then
    kind=bool
  elif [[ $about =~ $list ]]; then
    kind="|${BASH_REMATCH[1]}|"
  elif [[ ${!1} == true || ${!1} == false ]]; then
    kind=bool
  elif [[ $about == DIR:* || $about == FILE:* ]]; then
    kind=path
  elif [[ $about =~ $numbers ]]; then
    kind=ints
  elif [[ $1 =~ ^(stage|nj|seed|num_.*|.*_(speakers|utts|dim|stage|nj)|top_n)$ && ${!1} =~ ^-?[0-9]+$ ]]; then
    kind=int
  elif [[ $1 == speeds ]]; then
    kind=speeds
  fi
  _po_kind[$1]=$kind
}

_po_option_line() { # <line> <file>: store what it declares; return 1 if it is no option line
  local word="(\"([^\"\\\\]|\\\\.)*\"|'[^']*'|[^[:space:]\"'])*" # a shell word, quoted in part or not at all
  local option="^([A-Za-z_][A-Za-z0-9_]*)=($word)[[:space:]]*(#[[:space:]]*(.*))?\$"
  local name
  [[ $1 =~ $option ]] || return 1
  name=${BASH_REMATCH[1]}
  if [[ -z ${_po_file[$name]:-} ]]; then
    _po_rows+=("$name")
    _po_file[$name]=$2
  fi
  _po_default[$name]=${BASH_REMATCH[2]}
  _po_about[$name]=${BASH_REMATCH[6]:-${_po_about[$name]:-}}
  _po_find_kind "$name"
}

_po_read_options() { # <file>: one of steps/options
  local line
  while IFS= read -r line || [[ -n $line ]]; do
    if [[ $line == '# shellcheck '* || -z $line ]] || _po_option_line "$line" "$1"; then
      :
    elif [[ $line == '#'* ]]; then
      _po_rows+=("$line") # a heading
    else
      die "$1: not an option line: $line"
    fi
  done <"$1"
}

_po_read_script() {
  local line part=head included='^(\.|source)[[:space:]]+([^[:space:]]*options/[^[:space:]]+\.sh)'
  while IFS= read -r line || [[ -n $line ]]; do
    if [[ $part == head && $line == '#'* ]]; then
      if [[ $line != '#!'* && $line != '# shellcheck '* ]]; then
        line=${line#\#}
        _po_head+=("${line# }")
      fi
    elif [[ $line == '# Options'* ]]; then
      part=block
    elif [[ $part == block && $line =~ ^(\.|source)[[:space:]].*parse_options\.sh ]]; then
      return 0
    elif [[ $part == block && $line =~ $included ]]; then
      _po_read_options "${BASH_REMATCH[2]}"
    elif [[ $part == block ]] && _po_option_line "$line" "$_po_script"; then
      :
    elif [[ $part == block && $line =~ ^[[:space:]]*(#.*)$ && $line != *'# shellcheck '* ]]; then
      _po_rows+=("${BASH_REMATCH[1]}")
    elif [[ $part == block && -n $line && $line != *'# shellcheck '* ]]; then
      die "$_po_script: not an option line: $line"
    elif [[ $part == head ]]; then
      part=code
    fi
  done <"$_po_script"
  die "$_po_script has no option block (from a line \"# Options\" to the one that sources parse_options.sh)"
}

_po_flag() { # <name>: print it as the user types it
  if [[ $1 == *[A-Z]* ]]; then
    printf -- '--%s' "$1"
  else
    printf -- '--%s' "${1//_/-}"
  fi
}

_po_print_options() {
  local row
  printf '\nOptions, with their defaults:\n'
  for row in "${_po_rows[@]}"; do
    if [[ $row == '#'* ]]; then
      printf '  %-34s %s\n' '' "${row#\#}"
    else
      printf '  %-34s  %s\n' "$(_po_flag "$row") ${_po_default[$row]}" "${_po_about[$row]}"
    fi
  done
  printf '  %-34s  %s\n' --help 'print this' --verbose 'show where in the code an error came from'
}

_po_print_usage() { # print usage and example: the opening comment from "Usage:" on
  local line seen=false
  for line in "${_po_head[@]}"; do
    [[ $line != Usage:* ]] || seen=true
    if [[ $seen == true ]]; then
      printf '%s\n' "$line"
    fi
  done
  if [[ $seen == false ]]; then
    printf 'Usage: %s [options]\n' "$_po_name"
  fi
  _po_print_options
}

_po_refuse_unknown() { # <argument as given> <name>
  # shellcheck source=tools/unknown_option.sh
  . "${BASH_SOURCE[0]%/*}/unknown_option.sh"
  _po_refuse "unknown option $1$(_po_answer "$2")"
}

_po_check() { # <name> <value>
  local flag factor near words kind=${_po_kind[$1]}
  flag=$(_po_flag "$1")
  case $kind in
    bool)
      if [[ $2 != true && $2 != false ]]; then
        _po_refuse "$flag is true or false, not '$2'"
      fi
      ;;
    int)
      if [[ ! $2 =~ ^-?(0|[1-9][0-9]{0,8})$ ]]; then
        _po_refuse "$flag is a whole number, not '$2'"
      elif [[ $1 =~ ^(.*nj|num_procs|num_nodes|min_utts)$ && $2 -lt 1 ]]; then
        _po_refuse "$flag is at least 1, not $2"
      elif [[ $1 =~ ^(num_threads|num_rounds|seed)$ && $2 -lt 0 ]]; then
        _po_refuse "$flag is at least 0, not $2"
      fi
      ;;
    ints)
      if [[ ! $2 =~ ^[0-9]{1,9}(\ [0-9]{1,9})*$ ]]; then
        _po_refuse "$flag takes whole numbers, as in \"1 2 3\", not '$2'"
      fi
      ;;
    speeds)
      factor='(0\.[0-9]*[1-9][0-9]*|[1-9](\.[0-9]+)?)'
      if [[ ! $2 =~ ^($factor(\ $factor)*)?$ ]]; then
        _po_refuse "$flag takes factors, as in \"0.9 1.1\", not '$2'"
      elif [[ " $2 " =~ \ 1(\.0+)?\  ]]; then # its copies would be the same audio under other speakers
        _po_refuse "$flag '$2': speed 1 is the original; leave it out"
      elif [ "$(tr ' ' '\n' <<<"$2" | xargs -n 1 printf '%g\n' | sort | uniq -d)" ]; then # the same audio twice
        _po_refuse "$flag '$2': a speed is given twice; leave one out"
      fi
      ;;
    '|'*)
      if [[ -z $2 || $2 == *'|'* || $kind != *"|$2|"* ]] && [[ -n $2 || -n ${!1} ]]; then
        kind=${kind#|}
        kind=${kind%|}
        # shellcheck source=tools/unknown_option.sh
        . "${BASH_SOURCE[0]%/*}/unknown_option.sh"
        IFS='|' read -ra words <<<"$kind"
        near=$(_po_nearest "$2" "${words[@]}")
        _po_refuse "$flag is one of ${kind//|/, }, not '$2'${near:+; did you mean $near?}"
      fi
      ;;
  esac
}

_po_set() { # <name> <value>
  local value=$2
  if [[ $1 == set || $1 == lm_set ]] && is_given "$1"; then
    value="${!1} $value"
  fi
  if [[ -z $value && ($1 == data || $1 == exp_dir) ]]; then # of a variable that is not set; "$data/train" is in /
    _po_refuse "$(_po_flag "$1") is empty; give a folder, or leave the option out"
  fi
  _po_check "$1" "$value"
  if [[ ${_po_kind[$1]} == path && -n $value && $value != /* && -n ${start_dir:-} ]]; then
    value=$start_dir/${value#./}
    value=${value#"$PWD/"}
    [[ $value == */* ]] || value=./$value # in YAML, "no" and "1" are no text
  fi
  while [[ ${_po_about[$1]} == DIR:* && $value == ?*/ ]]; do
    value=${value%/}
  done
  printf -v "$1" %s "$value"
  _po_given[$1]=true
}

_po_is_option() { # <argument>: does it name an option of this script?
  local name=${1%%=*}
  name=${name#--}
  name=${name//-/_}
  [[ $1 == --* && (-n ${_po_default[${name:-?}]+set} || $name == help || $name == verbose) ]]
}

_po_parse() { # <arguments>...: set the variables, put the rest into _po_args
  local arg name value
  while (($#)); do
    arg=$1
    shift
    case $arg in
      --help | -h | '-?') printf '%s\n' "${_po_head[@]}" && _po_print_options && exit 0 ;;
      --) _po_args+=("$@") && return 0 ;;
      --*) ;;
      -?*) _po_refuse_unknown "$arg" "${arg#-}" ;;
      *) _po_args+=("$arg") && continue ;;
    esac
    name=${arg%%=*}
    name=${name#--}
    name=${name//-/_}
    if [[ $name == verbose && -z ${_po_default[verbose]+set} ]]; then
      export SV_VERBOSE=1
      continue
    elif [[ -z ${_po_default[${name:-?}]+set} ]]; then
      _po_refuse_unknown "${arg%%=*}" "$name"
    fi
    if [[ $arg == *=* ]]; then
      value=${arg#*=}
    elif [[ ${_po_kind[$name]} == bool ]]; then
      value=true
      if (($#)) && [[ ${1,,} =~ ^(true|false|yes|no|on|off)$ || ($_po_max -eq 0 && $1 != --*) ]]; then
        value=$1
        shift
      fi
    elif (($# == 0)) || _po_is_option "$1"; then
      _po_refuse "${arg} needs a value"
    else
      value=$1
      shift
    fi
    _po_set "$name" "$value"
  done
}

_po_count_positional() { # set _po_min and _po_max from the usage lines; alternatives give the widest range
  local line rest item required optional pattern='^[^[<]*(\[[^]]*\]|<[^>]*>)(.*)$'
  _po_min=0 _po_max=0
  local first=true
  for line in "${_po_head[@]}"; do
    if [[ ! $line =~ ^(Usage|[[:space:]]*or): ]]; then
      continue
    fi
    rest=$line required=0 optional=0
    while [[ $rest =~ $pattern ]]; do
      item=${BASH_REMATCH[1]} rest=${BASH_REMATCH[2]}
      if [[ $item == '<'* ]]; then
        required=$((required + 1))
      elif [[ $item == '[<'* ]]; then
        optional=$((optional + 1))
      fi
    done
    if [[ $line == *...* ]]; then
      optional=1000000
    fi
    if [[ $first == true || $required -lt $_po_min ]]; then
      _po_min=$required
    fi
    if ((required + optional > _po_max)); then
      _po_max=$((required + optional))
    fi
    first=false
  done
}

_po_check_positional() { # <positional arguments>...
  if (($# == 0 && _po_min > 0)); then
    _po_print_usage >&2
    exit 2
  elif (($# > 0 && _po_max == 0)); then
    _po_refuse "takes options only, not '$1'"
  elif (($# < _po_min || $# > _po_max)); then
    usage_error "wrong number of arguments: $#"
  fi
}

set -E # functions and subshells, too
trap '_po_tell_kill "$?" "$BASH_COMMAND" "${#PIPESTATUS[@]}"' ERR

_po_args=()
_po_read_script
_po_count_positional
_po_parse "$@"
_po_check_positional ${_po_args[@]+"${_po_args[@]}"}
set -- ${_po_args[@]+"${_po_args[@]}"}
overrides=()
for _po_row in "${_po_rows[@]}"; do
  if [[ $_po_row != '#'* && -n ${!_po_row} && ${_po_about[$_po_row]} =~ \[([a-z_.]+)\]$ ]]; then
    overrides+=("--override=$(_po_flag "$_po_row") ${BASH_REMATCH[1]}=${!_po_row}")
  fi
done
