#!/usr/bin/env bash
# A real Grid Engine on this machine alone (Debian's and Ubuntu's packages of 8.1.9), for the tests of queue.pl.
#
#   tests/cluster/gridengine.sh install|start|stop|status
#
# As root, on a machine that may be changed: it installs packages, owns Grid Engine's configuration, and puts a line
# "127.0.0.1 <host>" into /etc/hosts if the host's name means anything else. All ports are on 127.0.0.1; systemd is not
# needed. Every command may be repeated.
#
#   install  put the packages on the machine (nothing is started)
#   start    install if needed, start sge_qmaster and sge_execd, (re)apply the
#            configuration below, and return only when a `qsub -sync y` job of
#            root AND one of an ordinary user has run
#   stop     delete every job, stop both daemons
#   status   exit 0 if the cluster answers, 3 if it is down
#
# What the cluster has:
#   queues     all.q (GE_SLOTS slots) and g.q (GE_GPUS slots)
#   PE         smp ($pe_slots: all slots on one host), in both queues
#   complexes  gpu (consumable per slot, GE_GPUS on the host) and ram_free
#              (consumable per job, GE_RAM_FREE on the host), as in Kaldi's manual
#
# Settings (environment):
#   GE_SLOTS=4 GE_GPUS=2 GE_RAM_FREE=16G
#   GE_SHELL=/bin/sh          the queues' shell, for jobs without -S (many real
#                             clusters have /bin/csh: set that to be strict)
#   CLUSTER_USER=clusteruser  ordinary user for the self-test (made if missing)
#   CLUSTER_TIMEOUT=60        seconds allowed for the daemons and the self-test

set -euo pipefail

GE_SLOTS=${GE_SLOTS:-4}
GE_GPUS=${GE_GPUS:-2}
GE_RAM_FREE=${GE_RAM_FREE:-16G}
GE_SHELL=${GE_SHELL:-/bin/sh}

# The package's own places: with these, qsub and friends need no environment.
export SGE_ROOT=/var/lib/gridengine SGE_CELL=default
export SGE_QMASTER_PORT=6444 SGE_EXECD_PORT=6445
BIN=/usr/lib/gridengine            # the programs behind the package's wrappers
COMMON=$SGE_ROOT/$SGE_CELL/common
STATE=/var/lib/gridengine-loopback # what this script makes for itself
SHIM=$STATE/loopback.so
LOG=$STATE/daemons.log
HOST=$(hostname)
ADDR=''                            # what that name means, see fix_names

CLUSTER=gridengine
PACKAGES=(gridengine-master gridengine-exec gridengine-client)
STOP_SECONDS=30
# shellcheck source=tests/cluster/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# --- packages ---------------------------------------------------------------

# The packages, and the means to make the shim further down.
installed() {
  { [ -s "$SHIM" ] || command -v gcc >/dev/null; } && have_packages
}

prepare_install() {
  debconf-set-selections <<PRESEED
gridengine-common shared/gridengineconfig boolean true
gridengine-common shared/gridenginecell string $SGE_CELL
gridengine-common shared/gridenginemaster string $HOST
gridengine-client shared/gridengineconfig boolean true
gridengine-client shared/gridenginecell string $SGE_CELL
gridengine-client shared/gridenginemaster string $HOST
gridengine-master shared/gridengineconfig boolean true
gridengine-master shared/gridenginecell string $SGE_CELL
gridengine-master shared/gridenginemaster string $HOST
gridengine-exec shared/gridengineconfig boolean true
gridengine-exec shared/gridenginecell string $SGE_CELL
gridengine-exec shared/gridenginemaster string $HOST
dma dma/mailname string $HOST
dma dma/relayhost string
PRESEED
  # gridengine-common wants mailx, which wants a mail server: dma has no daemon
  # (the default choice, exim4, has). The shim below is one page of C.
  command -v sendmail >/dev/null || PACKAGES+=(dma)
  command -v gcc >/dev/null || PACKAGES+=(gcc libc6-dev)
}

# --- host name and loopback ---------------------------------------------------

# Grid Engine knows machines by name: a client connects from an address, the
# address is turned back into a name, and that must be the client's own name.
# On loopback it is not (127.0.0.1 is "localhost"), and the client is refused:
#   access denied (client IP resolved to host name "localhost". This is not
#   identical to clients host name "vm")
# So (1) the host's name must mean 127.0.0.1 (the address that slurm.sh needs, too) -
# only when it does not is /etc/hosts changed - and (2) host_aliases tells Grid
# Engine that the names are one host.
fix_names() {
  name_loopback
  local names
  names=$(getent hosts 127.0.0.1 | cut -d' ' -f2- | tr -s ' ' '\n' |
    grep -vxF -e "$HOST" -e '' | sort -u | tr '\n' ' ') || true
  printf '%s %s\n' "$HOST" "${names:-localhost}" >"$COMMON/host_aliases"
  printf '%s\n' "$HOST" >"$COMMON/act_qmaster"
  chown sgeadmin:sgeadmin "$COMMON/host_aliases" "$COMMON/act_qmaster"
}

# Both daemons bind their port on every interface and have no option against it.
# This shim makes them bind it on the loopback address; it removes itself from
# the environment at once, so no job ever sees it.
make_shim() {
  mkdir -p "$STATE"
  [ -s "$SHIM" ] && return
  gcc -shared -fPIC -O1 -o "$SHIM.new" -x c - 2>"$LOG" <<'C' || die "gcc failed: $(head -n 3 "$LOG")"
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct in_addr addr;

__attribute__((constructor)) static void start(void) {
  const char *a = getenv("GE_LOOPBACK_ADDR");
  if (!a || !inet_aton(a, &addr)) addr.s_addr = htonl(INADDR_LOOPBACK);
  unsetenv("LD_PRELOAD");
  unsetenv("GE_LOOPBACK_ADDR");
}

int bind(int fd, const struct sockaddr *to, socklen_t len) {
  struct sockaddr_in in;
  if (to && to->sa_family == AF_INET && len >= sizeof in) {
    memcpy(&in, to, sizeof in);
    if (in.sin_addr.s_addr == htonl(INADDR_ANY)) {
      in.sin_addr = addr;
      return syscall(SYS_bind, fd, &in, sizeof in);
    }
  }
  return syscall(SYS_bind, fd, to, len);
}
C
  mv "$SHIM.new" "$SHIM"
}

# --- daemons ------------------------------------------------------------------

# The daemons write their own pid files, in their spool directories. A pid is
# believed only when it is that program's, and no zombie's.
daemon_pid() { # daemon_pid sge_qmaster|sge_execd
  local f pid
  for f in /var/spool/gridengine/"${1#sge_}"/{,*/}"${1#sge_}".pid; do
    { read -r pid <"$f"; } 2>/dev/null || continue
    if runs_as "$pid" "$1"; then
      echo "$pid"
      return 0
    fi
  done
  return 1
}

answers() { timeout 10 qconf -sm >/dev/null 2>&1; }

# LD_PRELOAD goes on the daemon alone (env execs it): the shim takes it out of
# the environment of the first program that loads it.
launch_daemon() {
  launch env LD_PRELOAD="$SHIM" GE_LOOPBACK_ADDR="$ADDR" "$BIN/$1"
}

# --- configuration ------------------------------------------------------------

quiet() { # run a command, be silent if it succeeds
  local out
  out=$("$@" 2>&1) || die "$*: $out"
}

# Change the lines of a "name value" listing; the value is everything after the
# name, and a name that is not there yet is added.
set_values() { # set_values NAME VALUE [NAME VALUE]... <old >new
  awk 'BEGIN { for (i = 1; i < ARGC; i += 2) { v[ARGV[i]] = ARGV[i + 1]; o[i] = ARGV[i] }
               n = ARGC; ARGC = 1 }
       /^#/ { next }
       $1 in v { printf "%s %s\n", $1, v[$1]; delete v[$1]; next }
       { print }
       END { for (i = 1; i < n; i += 2) if (o[i] in v) printf "%s %s\n", o[i], v[o[i]] }' "$@"
}

# qconf takes an object from a file: -A* adds, -M* modifies.
configure() {
  local d=$STATE/conf no_logs='joblog=false sharelog=00:00:00'
  rm -rf "$d"
  mkdir -p "$d"
  export SGE_SINGLE_LINE=1

  # Cluster-wide. min_uid/min_gid: root may submit. INHERIT_ENV: a job does not
  # see the daemon's environment. load_report_time: the host becomes known (and
  # mem_free fresh) within 2 s. flush times: qacct has a job 1 s after its end.
  # mailer: the end of a job never becomes mail.
  qconf -sconf global | set_values \
    min_uid 0 min_gid 0 \
    mailer /bin/true \
    load_report_time 00:00:02 \
    execd_params INHERIT_ENV=false \
    reporting_params "accounting=true reporting=false flush_time=00:00:01 accounting_flush_time=00:00:01 $no_logs" \
    >"$d/global"
  quiet qconf -Mconf "$d/global"

  # Scheduler. By default it looks every 15 s (plus job_load_adjustments, which
  # hold jobs back for 7 minutes after each start). schedule_interval 1 s, and a
  # run 1 s after every submission and end ("flush"; 0 there means "no flush").
  qconf -ssconf | set_values \
    schedule_interval 0:0:1 flush_submit_sec 1 flush_finish_sec 1 \
    job_load_adjustments NONE load_adjustment_decay_time 0:0:0 \
    schedd_job_info true >"$d/sched"
  quiet qconf -Msconf "$d/sched"

  # Complexes.
  {
    qconf -sc | grep -v -e '^#' -e '^gpu ' -e '^ram_free '
    echo 'gpu      gpu      INT    <= YES YES 0 10000'
    echo 'ram_free ram_free MEMORY <= YES JOB 0 0'
  } >"$d/complex"
  quiet qconf -Mc "$d/complex"

  # This host: administration (the daemon sees to that), submission, execution.
  qconf -ss 2>/dev/null | grep -qxF "$HOST" || quiet qconf -as "$HOST"
  qconf -sh 2>/dev/null | grep -qxF "$HOST" || quiet qconf -ah "$HOST"
  cat >"$d/host" <<OBJ
hostname $HOST
load_scaling NONE
complex_values gpu=$GE_GPUS,ram_free=$GE_RAM_FREE
user_lists NONE
xuser_lists NONE
projects NONE
xprojects NONE
usage_scaling NONE
report_variables NONE
OBJ
  if qconf -sel 2>/dev/null | grep -qxF "$HOST"; then
    quiet qconf -Me "$d/host"
  else
    quiet qconf -Ae "$d/host"
  fi

  printf 'group_name @allhosts\nhostlist %s\n' "$HOST" >"$d/group"
  if qconf -shgrpl 2>/dev/null | grep -qx @allhosts; then
    quiet qconf -Mhgrp "$d/group"
  else
    quiet qconf -Ahgrp "$d/group"
  fi

  set_values slots 999 allocation_rule "\$pe_slots" </usr/share/gridengine/util/resources/pe/smp >"$d/smp"
  if qconf -spl 2>/dev/null | grep -qx smp; then
    quiet qconf -Mp "$d/smp"
  else
    quiet qconf -Ap "$d/smp"
  fi

  # Queues. No load threshold: a busy test machine still runs its jobs.
  local q
  for q in all.q g.q; do
    local slots=$GE_SLOTS
    [ "$q" = all.q ] || slots=$GE_GPUS
    qconf -sq | set_values qname "$q" hostlist @allhosts slots "$slots" \
      load_thresholds NONE pe_list smp shell "$GE_SHELL" rerun FALSE >"$d/$q"
    if qconf -sql 2>/dev/null | grep -qxF "$q"; then
      quiet qconf -Mq "$d/$q"
    else
      quiet qconf -Aq "$d/$q"
    fi
  done
}

# --- the four commands ----------------------------------------------------------

# This script rewrites the configuration: not that of a cluster with other hosts.
refuse_foreign() {
  [ ! -e "$STATE/ours" ] && ! gone sge_qmaster || return 0
  if qconf -sel 2>/dev/null | grep -vxF -e "$HOST" | grep -q .; then
    die "this machine is the master of another cluster already (qconf -sel lists other hosts)"
  fi
}

# One trivial job, waited for. A root job before the daemon knows min_uid 0, for
# one, would put the queue in error state: that is cleared, and tried again.
trivial_job() { # trivial_job USER
  (cd / && timeout 20 runuser -u "$1" -- \
    qsub -sync y -b y -N selftest -j y -o /dev/null -S /bin/sh true) >>"$LOG" 2>&1 9>&- && return
  qmod -cq '*' >/dev/null 2>&1 || true
  return 1
}

do_start() {
  local t0=$SECONDS want u fresh=''
  installed || do_install
  fix_names
  make_shim
  ensure_user

  refuse_foreign
  # Daemons that something else started may be reachable from outside: replace.
  if wide_open "$SGE_QMASTER_PORT"; then stop_daemon sge_qmaster; fi
  if wide_open "$SGE_EXECD_PORT"; then stop_daemon sge_execd; fi

  if ! daemon_pid sge_qmaster >/dev/null; then
    launch_daemon sge_qmaster
    rm -f "$STATE/configured"
    fresh=yes
  fi
  wait_for "$CLUSTER_TIMEOUT" answers ||
    die "sge_qmaster does not answer: $(qconf -sm 2>&1 | tr '\n' ' '; tail -n 3 /var/spool/gridengine/qmaster/messages)"
  if [ -n "$fresh" ]; then # jobs of a cluster that was killed would hold slots for ever
    timeout 20 qdel -f -u '*' >/dev/null 2>&1 || true
  fi

  refuse_foreign
  touch "$STATE/ours"

  # Configure before the execution daemon starts: it reads the configuration then,
  # and afterwards only once in a while. So a change means a new one (running
  # jobs are not touched by that).
  want="$HOST $ADDR $GE_SLOTS $GE_GPUS $GE_RAM_FREE $GE_SHELL $(cksum <"$0")"
  if [ "$(cat "$STATE/configured" 2>/dev/null)" != "$want" ]; then
    stop_daemon sge_execd
    configure
    printf '%s\n' "$want" >"$STATE/configured"
  fi
  daemon_pid sge_execd >/dev/null || launch_daemon sge_execd
  qmod -cq '*' >/dev/null 2>&1 || true

  for u in root "$CLUSTER_USER"; do
    wait_for "$CLUSTER_TIMEOUT" trivial_job "$u" ||
      die "no job of $u ran: $(tail -n 2 "$LOG"; tail -n 3 /var/spool/gridengine/qmaster/messages)"
  done
  if wide_open "$SGE_QMASTER_PORT" || wide_open "$SGE_EXECD_PORT"; then
    die "port $SGE_QMASTER_PORT or $SGE_EXECD_PORT is open to other machines"
  fi
  say "running on $ADDR: all.q with $GE_SLOTS slots, g.q with $GE_GPUS, gpu=$GE_GPUS;" \
    "jobs of root and $CLUSTER_USER ran (took $((SECONDS - t0)) s)"
}

do_stop() {
  local t0=$SECONDS
  if gone sge_qmaster && gone sge_execd; then
    say "already stopped"
    return
  fi
  # No job outlives the cluster: they would keep running without their daemon, and
  # pending ones would come back with the next start.
  if answers; then
    timeout 20 qdel -u '*' >/dev/null 2>&1 || true
    wait_for 10 no_jobs || timeout 20 qdel -f -u '*' >/dev/null 2>&1 || true
  fi
  stop_daemon sge_execd
  stop_daemon sge_qmaster
  say "stopped (took $((SECONDS - t0)) s)"
}
no_jobs() { [ -z "$(timeout 10 qstat -u '*' 2>/dev/null)" ]; }

do_status() {
  local m e
  m=$(daemon_pid sge_qmaster) || { say "down"; return 3; }
  e=$(daemon_pid sge_execd) || { say "sge_qmaster runs (pid $m), sge_execd does not"; return 3; }
  answers || { say "sge_qmaster (pid $m) does not answer"; return 3; }
  say "up: sge_qmaster pid $m, sge_execd pid $e, $(qstat -u '*' | awk 'NR > 2' | wc -l) job lines in qstat"
}

main "$@"
