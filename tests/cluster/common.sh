# shellcheck shell=bash
# What gridengine.sh and slurm.sh have in common; sourced by them once they have set
#
#   CLUSTER          name of the cluster, for messages
#   PACKAGES         Debian's packages of it, the first of which tells the version
#   STATE LOG        folder of what the script makes for itself, and the log of its daemons
#   STOP_SECONDS     that a daemon gets to end after SIGTERM
#   HOST             the machine's name
#
# and before they call `main "$@"` they define do_start, do_stop, do_status, daemon_pid <daemon> and, where packages
# need more than themselves, prepare_install.

CLUSTER_USER=${CLUSTER_USER:-clusteruser}
CLUSTER_TIMEOUT=${CLUSTER_TIMEOUT:-60}

say() { printf '%s: %s\n' "$CLUSTER" "$*"; }
die() { printf '%s: ERROR: %s\n' "$CLUSTER" "$*" >&2; exit 1; }

# --- packages ---------------------------------------------------------------

have_packages() {
  local package
  for package in "${PACKAGES[@]}"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || return 1
  done
}

do_install() {
  local policy=/usr/sbin/policy-rc.d made_policy='' rc=0
  if installed; then
    say "packages already installed"
    return
  fi
  command -v apt-get >/dev/null || die "no apt-get here: this is for Debian and Ubuntu"
  export DEBIAN_FRONTEND=noninteractive
  prepare_install
  # Keep the packages from starting daemons on their own.
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made_policy=yes
  fi
  {
    apt-get update -q &&
      apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold "${PACKAGES[@]}"
  } >"$STATE/install.log" 2>&1 </dev/null || rc=$?
  [ -z "$made_policy" ] || rm -f "$policy"
  [ "$rc" = 0 ] || die "apt-get failed ($rc), see $STATE/install.log: $(tail -n 2 "$STATE/install.log" | tr '\n' ' ')"
  say "packages installed ($(dpkg-query -W -f='${Version}' "${PACKAGES[0]}"))"
}

# --- host name ----------------------------------------------------------------

# The IPv4 address that the host's own name stands for, if any: gethostbyname(), as
# Grid Engine asks. (getent ahostsv4 says nothing on a machine without a network.)
own_addr() {
  perl -MSocket -e '$a = gethostbyname(shift); print inet_ntoa($a) if $a' "$HOST"
}

# Have the host's own name mean 127.0.0.1, into $ADDR; only where it does not is /etc/hosts changed.
name_loopback() {
  local rest
  ADDR=$(own_addr)
  [ "$ADDR" != 127.0.0.1 ] || return 0
  rest=$(cat /etc/hosts)
  # Written in place (a container's /etc/hosts cannot be replaced), and first (the
  # first line with the name wins).
  printf '127.0.0.1 %s # added by %s\n%s\n' "$HOST" "${0##*/}" "$rest" >/etc/hosts
  ADDR=$(own_addr)
  [ "$ADDR" = 127.0.0.1 ] || die "the name $HOST still means '$ADDR', not 127.0.0.1, after a line in /etc/hosts"
  say "/etc/hosts: added 127.0.0.1 $HOST"
}

# --- daemons ------------------------------------------------------------------

# Is it the process of a program of one of these names, and no zombie?
runs_as() { # runs_as PID NAME...
  local pid=$1 comm status name
  shift
  { read -r _ comm status _ <"/proc/$pid/stat"; } 2>/dev/null || return 1
  [ "$status" != Z ] || return 1
  for name in "$@"; do
    [ "$comm" != "($name)" ] || return 0
  done
  return 1
}

gone() { ! daemon_pid "$1" >/dev/null; }

wait_for() { # wait_for SECONDS COMMAND... : until the command succeeds
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

# Is a port open on every interface? (/proc/net/tcp: local address, state 0A)
wide_open() {
  awk -v p="$(printf '00000000:%04X' "$1")" '$2 == p && $4 == "0A" { f = 1 } END { exit !f }' /proc/net/tcp
}

# Descriptor 9 is the lock.
launch() { # launch COMMAND...
  setsid "$@" </dev/null >>"$LOG" 2>&1 9>&- || die "$* failed: $(tail -n 3 "$LOG")"
}

# End a daemon by its own pid: TERM, then KILL when it does not heed.
stop_daemon() {
  local pid
  pid=$(daemon_pid "$1") || return 0
  kill "$pid" 2>/dev/null || true
  wait_for "$STOP_SECONDS" gone "$1" || kill -KILL "$pid" 2>/dev/null || true
  wait_for 5 gone "$1" || die "$1 (pid $pid) does not end"
}

# --- the four commands ----------------------------------------------------------

ensure_user() {
  id "$CLUSTER_USER" >/dev/null 2>&1 || useradd -m -s /bin/bash "$CLUSTER_USER" ||
    die "cannot make the user $CLUSTER_USER"
}

main() {
  case ${1:-} in
    install | start | stop | status) ;;
    *)
      echo "usage: ${0##*/} install|start|stop|status" >&2
      exit 2
      ;;
  esac
  # status is for everybody; the others work one at a time (two tests may both
  # call start).
  if [ "$1" != status ]; then
    [ "$(id -u)" = 0 ] || die "must be run as root"
    mkdir -p "$STATE"
    exec 9>"$STATE/lock"
    flock -w 300 9 || die "another ${0##*/} has been at work for 5 minutes"
  fi
  "do_$1"
}
