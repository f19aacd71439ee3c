# shellcheck shell=bash disable=SC2034  # data, ark_dir and log_dir are for the script
# Run a step whose work several jobs share (sv/jobs/parts.py); source this after the option block, which has nj and cmd.
#
#   run_parts <log> <step> [arguments]     run "<step> begin", its jobs and "<step> join", each with the arguments:
#                                          run_parts fbank/log/make_fbank.JOB.log steps/make_fbank.py data fbank
#   begin_parts <step> [arguments]         the first half of run_parts, for a script that does something in between
#   finish_parts <log> <step> [arguments]  the second half
#
#   free_name JOB <word>...                print JOB, or a longer name if a word contains it; run.pl replaces that name
#                                          everywhere, also in paths
#
#   find_arks <data-dir> [<ark-dir>]       set data, ark_dir and log_dir, and hold the lock of <ark-dir>
#   find_arks <data-dir> <log-dir> <ark-dir>   the same, as Kaldi's scripts are called
#
# `begin` prints the number of jobs, 0 if all is done, and options for $cmd; it is left in $num_jobs. A script may set
#   before_jobs     array, a command to run if there is work to do
#   begin_options   array, further options of `begin`
#   job_options     array, options of $cmd
before_jobs=(true)
begin_options=()
job_options=()

begin_parts() { # <step> [arguments]
  local words step=$1
  words=$("$step" begin "${@:2}" --num-parts "${nj:?}" "${begin_options[@]}")
  read -ra _plan <<<"$words"
  num_jobs=${_plan[0]}
}

finish_parts() { # <log> <step> [arguments]
  local submit job log step=$2
  if [ "$num_jobs" -gt 0 ]; then
    "${before_jobs[@]}"
    say "$num_jobs job(s), logs: $1"
    read -ra submit <<<"${cmd:?}"
    job=$(free_name JOB "${1%/*}" "${@:3}")
    log=${1##*/}
    submit+=("${job_options[@]}" "${_plan[@]:1}" "$job=1:$num_jobs" "${1%/*}/${log/JOB/$job}"
      "$step" part "${@:3}" --part "$job" --num-parts "$num_jobs")
    if [ -t 2 ]; then
      { "${submit[@]}" 2>&1 >&3 | tools/show_progress.py "$1" "$num_jobs"; } 3>&1
    else
      "${submit[@]}"
    fi
    "$step" join "${@:3}" --num-parts "$num_jobs"
  fi
}

free_name() { # <name> <word>...
  local name=$1
  while [[ ${*:2} == *"$name"* ]]; do
    name=_$name
  done
  printf '%s' "$name"
}

run_parts() {
  begin_parts "${@:2}"
  finish_parts "$@"
}

find_arks() {
  data=$1 ark_dir=${2:-$1/fbank}
  log_dir=$ark_dir/log
  if [ $# -eq 3 ]; then
    log_dir=$2 ark_dir=$3
  fi
  [ -d "$data" ] || die "$data is not a data dir; prepare it first (stage 1)"
  mkdir -p "$ark_dir" "$log_dir"
  hold_lock "$ark_dir/.lock" "$ark_dir is being filled"
}
