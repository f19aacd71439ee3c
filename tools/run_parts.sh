# shellcheck shell=bash
# Run a step whose work several jobs share (sv/jobs/parts.py); source this after the option block, which has nj and cmd.
#
#   run_parts <log> <step> [arguments]     "run_parts fbank/log/make_fbank.JOB.log steps/make_fbank.py data fbank": <step>
#                                          begin, its jobs and <step> join, each with the arguments
#
# `begin` prints the number of jobs, 0 if all is done, and options for $cmd; it is left in $num_jobs. A script may set
#   before_jobs     array, a command to run if there is work to do
#   begin_options   array, further options of `begin`
#   job_options     array, options of $cmd
before_jobs=(true)
begin_options=()
job_options=()

run_parts() {
  local log=$1 step=$2 plan
  shift 2
  plan=$("$step" begin "$@" --num-parts "${nj:?}" "${begin_options[@]}")
  read -ra plan <<<"$plan"
  num_jobs=${plan[0]}
  if [ "$num_jobs" -gt 0 ]; then
    "${before_jobs[@]}"
    ${cmd:?} "${job_options[@]}" "${plan[@]:1}" JOB=1:"$num_jobs" "$log" "$step" part "$@" --part JOB --num-parts "$num_jobs"
    "$step" join "$@" --num-parts "$num_jobs"
  fi
}
