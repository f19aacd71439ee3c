# shellcheck shell=bash
# Run a step whose work several jobs share (sv/jobs/parts.py); source this after the option block, which has nj and cmd.
#
#   run_parts <log> <step> [arguments]     "run_parts fbank/log/make_fbank.JOB.log steps/make_fbank.py data fbank": <step>
#                                          begin, its jobs and <step> join, each with the arguments
#   begin_parts <step> [arguments]         these are its halves, for a script that does something in between
#   finish_parts <log> <step> [arguments]
#
# `begin` prints the number of jobs, 0 if all is done, and options for $cmd; it is left in $num_jobs. A script may set
#   before_jobs     array, a command to run if there is work to do
#   begin_options   array, further options of `begin`
#   job_options     array, options of $cmd
before_jobs=(true)
begin_options=()
job_options=()

begin_parts() { # <step> [arguments]
  local words
  words=$("$1" begin "${@:2}" --num-parts "${nj:?}" "${begin_options[@]}")
  read -ra _plan <<<"$words"
  num_jobs=${_plan[0]}
}

finish_parts() { # <log> <step> [arguments]
  if [ "$num_jobs" -gt 0 ]; then
    "${before_jobs[@]}"
    if [ -t 2 ]; then
      _show_progress "${1//JOB/*}" $$ &
    fi
    ${cmd:?} "${job_options[@]}" "${_plan[@]:1}" JOB=1:"$num_jobs" "$1" \
      "$2" part "${@:3}" --part JOB --num-parts "$num_jobs"
    if [ -t 2 ]; then
      kill $! 2>/dev/null || true
      printf '\r\033[K' >&2
    fi
    "$2" join "${@:3}" --num-parts "$num_jobs"
  fi
}

_show_progress() { # <logs> <process>: while it lives, say on the terminal how far the jobs' logs are
  while sleep 2 && kill -0 "$2" 2>/dev/null; do
    # shellcheck disable=SC2086  # a pattern
    awk -v logs="$1" '
      match($0, /[0-9]+ of [0-9]+ utterances/) {
        split(substr($0, RSTART, RLENGTH), word, " ")
        done[FILENAME] = word[1]; all[FILENAME] = word[3]
      }
      END {
        for (name in all) { sum += done[name]; total += all[name] }
        if (total) printf "\r\033[K%d of %d utterances (%d %%), logs: %s", sum, total, 100 * sum / total, logs
      }' $1 >&2 || true
  done
}

run_parts() {
  begin_parts "${@:2}"
  finish_parts "$@"
}
