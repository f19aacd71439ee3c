#!/usr/bin/env bash
# A real Slurm on this machine alone (Debian's and Ubuntu's packages slurm-wlm and munge), for the tests of slurm.pl.
#
#   tests/cluster/slurm.sh install|start|stop|status
#
# As root, on a machine that may be changed: it installs packages, owns Slurm's configuration, and puts a line
# "127.0.0.1 <host>" into /etc/hosts if the host's name means anything else. All ports are on 127.0.0.1; systemd is not
# needed. Every command may be repeated.
#
#   install  put the packages on the machine (nothing is started)
#   start    install if needed, write the configuration, start munged, slurmctld
#            and slurmd, and return only when `srun` and `sbatch --wait
#            --array=1-3` have worked for root AND for an ordinary user
#   stop     cancel every job, stop the daemons
#   status   exit 0 if the cluster answers, 3 if it is down
#
# What the cluster has:
#   partitions  main (the default) and gpu, both of the one node
#   node        SLURM_CPUS CPUs and SLURM_MEM megabytes, whatever the machine has;
#               CPUs and memory are both counted (no --mem: 256 MB per CPU)
#   gres        gpu:SLURM_GPUS, made of null devices: jobs are given
#               CUDA_VISIBLE_DEVICES as on a real cluster, but no GPU
#   accounting  none (so `sacct` says it is disabled); ended jobs are seen with
#               `scontrol show job` for 5 minutes, and then in `sacct --completion`
#
# Settings (environment):
#   SLURM_CPUS=2 SLURM_MEM=16000 SLURM_GPUS=2
#   CLUSTER_USER=clusteruser  ordinary user for the self-test (made if missing)
#   CLUSTER_TIMEOUT=60        seconds allowed for the daemons and the self-test

set -euo pipefail

SLURM_CPUS=${SLURM_CPUS:-2}
SLURM_MEM=${SLURM_MEM:-16000}
SLURM_GPUS=${SLURM_GPUS:-2}
CLUSTER_USER=${CLUSTER_USER:-clusteruser}
CLUSTER_TIMEOUT=${CLUSTER_TIMEOUT:-60}

CONF=/etc/slurm                 # where every Slurm command looks by itself
STATE=/var/lib/slurm-loopback   # what this script makes for itself
LOG=$STATE/daemons.log
MARK='# Written by slurm.sh: changes are lost.'
CTLD_PORT=6817
SLURMD_PORT=6818
HOST=$(hostname)
NODE=${HOST%%.*}                # Slurm wants the short name
ADDR=''                         # what that name means, see fix_names

# A caller's own Slurm settings must not lead the commands elsewhere.
unset SLURM_CONF SBATCH_PARTITION SLURM_PARTITION SLURM_JOB_ID

say() { printf 'slurm: %s\n' "$*"; }
die() { printf 'slurm: ERROR: %s\n' "$*" >&2; exit 1; }

# --- packages ---------------------------------------------------------------

installed() {
  local p
  for p in slurmctld slurmd slurm-client munge; do
    dpkg-query -W -f='${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || return 1
  done
}

do_install() {
  if installed; then
    say "packages already installed"
    return
  fi
  command -v apt-get >/dev/null || die "no apt-get here: this is for Debian and Ubuntu"
  local policy=/usr/sbin/policy-rc.d made_policy='' rc=0
  export DEBIAN_FRONTEND=noninteractive
  # Keep the packages from starting daemons on their own.
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made_policy=yes
  fi
  {
    apt-get update -q &&
      apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold \
        slurm-wlm munge
  } >"$STATE/install.log" 2>&1 </dev/null || rc=$?
  [ -z "$made_policy" ] || rm -f "$policy"
  [ "$rc" = 0 ] || die "apt-get failed ($rc), see $STATE/install.log: $(tail -n 2 "$STATE/install.log" | tr '\n' ' ')"
  say "packages installed ($(dpkg-query -W -f='${Version}' slurmctld))"
}

# --- host name ----------------------------------------------------------------

# The IPv4 address that the host's own name stands for, if any: gethostbyname().
own_addr() {
  perl -MSocket -e '$a = gethostbyname(shift); print inet_ntoa($a) if $a' "$HOST"
}

# With No(Ctld)InAddrAny the daemons, and srun, open their ports on the address
# that the host's own name stands for: that must be a loopback address, and as
# slurmd answers srun at the address it was called from, it must be 127.0.0.1 (not
# Debian's usual 127.0.1.1). Only when it is not is /etc/hosts changed.
fix_names() {
  # Slurm looks addresses up with AI_ADDRCONFIG: where 127.0.0.1 is the only IPv4
  # address of the machine (a container without a network), that finds nothing,
  # not even "127.0.0.1". A second loopback address is enough.
  if ! getent ahostsv4 127.0.0.1 >/dev/null; then
    ip addr add 127.0.0.2/8 dev lo 2>>"$LOG" || true
    getent ahostsv4 127.0.0.1 >/dev/null ||
      die "the machine has no IPv4 address but 127.0.0.1, which Slurm cannot work with," \
        "and \`ip addr add 127.0.0.2/8 dev lo\` did not help: $(tail -n 1 "$LOG")"
    say "added 127.0.0.2 to lo (there was no IPv4 address but 127.0.0.1)"
  fi
  ADDR=$(own_addr)
  [ "$ADDR" != 127.0.0.1 ] || return 0
  local rest
  rest=$(cat /etc/hosts)
  # Written in place (a container's /etc/hosts cannot be replaced), and first (the
  # first line with the name wins).
  printf '127.0.0.1 %s # added by slurm.sh\n%s\n' "$HOST" "$rest" >/etc/hosts
  ADDR=$(own_addr)
  [ "$ADDR" = 127.0.0.1 ] || die "the name $HOST still means '$ADDR', not 127.0.0.1, after a line in /etc/hosts"
  say "/etc/hosts: added 127.0.0.1 $HOST"
}

# --- configuration ------------------------------------------------------------

slurm_conf() {
  local gres=''
  [ "$SLURM_GPUS" = 0 ] || gres="Gres=gpu:$SLURM_GPUS"
  cat <<OBJ
$MARK
ClusterName=loopback
SlurmUser=slurm
AuthType=auth/munge
CredType=cred/munge

# This machine only: ports are opened on the host's address, which is loopback.
SlurmctldHost=$NODE($ADDR)
SlurmctldPort=$CTLD_PORT
SlurmdPort=$SLURMD_PORT
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny

StateSaveLocation=$STATE/slurmctld
SlurmdSpoolDir=$STATE/slurmd
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmdPidFile=$STATE/slurmd.pid
SlurmctldLogFile=$STATE/slurmctld/slurmctld.log
SlurmdLogFile=$STATE/slurmd.log

# No cgroups: a job's processes are those below its first one.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none

AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc=$STATE/jobcomp.log

# Speed, for jobs of a second: by default batch jobs wait up to 3 s for a
# scheduler run, and a cancelled job is killed 30 s after its SIGTERM.
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=5,bf_interval=5
KillWait=3
CompleteWait=0
MinJobAge=300

SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=256
GresTypes=gpu

# The node is what is said here, not what the machine has (config_overrides), and
# it comes back by itself after an unclean stop (ReturnToService).
SlurmdParameters=config_overrides
ReturnToService=2
NodeName=$NODE NodeAddr=$ADDR CPUs=$SLURM_CPUS RealMemory=$SLURM_MEM $gres State=UNKNOWN
PartitionName=main Nodes=$NODE Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=$NODE MaxTime=INFINITE State=UP
OBJ
}

gres_conf() {
  echo "$MARK"
  echo 'AutoDetect=off'
  # The number at the end of a file's name becomes the CUDA device number.
  [ "$SLURM_GPUS" = 0 ] || echo "NodeName=$NODE Name=gpu File=$STATE/dev/gpu[0-$((SLURM_GPUS - 1))]"
}

# Write the files; say (by the exit status) whether anything changed.
configure() {
  local f i changed=1
  mkdir -p "$CONF" "$STATE/slurmd" "$STATE/dev"
  install -d -o slurm -g slurm -m 755 "$STATE/slurmctld"
  # Readable, for `sacct --completion`.
  [ -e "$STATE/jobcomp.log" ] || install -o slurm -g slurm -m 644 /dev/null "$STATE/jobcomp.log"
  # A null device by another name; a container that may not make one gets a file,
  # which slurmd takes with a complaint in its log.
  for ((i = 0; i < SLURM_GPUS; i++)); do
    [ -c "$STATE/dev/gpu$i" ] || mknod "$STATE/dev/gpu$i" c 1 3 2>/dev/null || : >"$STATE/dev/gpu$i"
  done
  for f in slurm gres; do
    if [ -e "$CONF/$f.conf" ] && ! grep -qxF "$MARK" "$CONF/$f.conf"; then
      die "$CONF/$f.conf is somebody else's: this machine has a Slurm already"
    fi
    "${f}_conf" >"$STATE/$f.conf"
    if ! cmp -s "$STATE/$f.conf" "$CONF/$f.conf"; then
      install -m 644 "$STATE/$f.conf" "$CONF/$f.conf"
      changed=0
    fi
  done
  return "$changed"
}

# --- daemons ------------------------------------------------------------------

# The daemons write their own pid files. A pid is believed only when it is that
# program's, and no zombie's.
pid_file() {
  case $1 in
    munged) echo "$STATE/munged.pid" ;;
    *) echo "$STATE/$1.pid" ;;
  esac
}
daemon_pid() { # daemon_pid munged|slurmctld|slurmd
  local pid comm state
  { read -r pid <"$(pid_file "$1")"; } 2>/dev/null || return 1
  { read -r _ comm state _ <"/proc/$pid/stat"; } 2>/dev/null || return 1
  case $comm in
    "($1)" | "($1-wlm)") ;;
    *) return 1 ;;
  esac
  [ "$state" != Z ] || return 1
  echo "$pid"
}

wait_for() { # wait_for SECONDS COMMAND... : until the command succeeds
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

gone() { ! daemon_pid "$1" >/dev/null; }
munge_works() { munge -n 2>/dev/null | unmunge >/dev/null 2>&1; }
answers() { timeout 10 scontrol ping 2>/dev/null | grep -q ' is UP'; }
node_up() { timeout 10 sinfo -h -N -o %T 2>/dev/null | grep -qxE 'idle|mixed|allocated|completing'; }

# Is a port open on every interface? (/proc/net/tcp: local address, state 0A)
wide_open() {
  awk -v p="$(printf '00000000:%04X' "$1")" '$2 == p && $4 == "0A" { f = 1 } END { exit !f }' /proc/net/tcp
}

start_munge() {
  munge_works && return
  # Root's directory, munge's files: munged is strict about who owns what.
  install -d -o munge -g munge -m 755 /run/munge
  install -d -o munge -g munge -m 700 /etc/munge /var/log/munge
  install -d -o munge -g munge -m 711 /var/lib/munge
  if [ ! -s /etc/munge/munge.key ]; then
    (umask 077 && head -c 128 /dev/urandom >/etc/munge/munge.key)
    chown munge:munge /etc/munge/munge.key
  fi
  # A Unix socket: nothing of it can be reached from outside. --force: a stale
  # socket is no obstacle.
  launch runuser -u munge -- munged --force --pid-file=/run/munge/munged.pid
  wait_for 10 munge_works || die "munged does not answer: $(tail -n 3 "$LOG")"
  # Ours, so stop may end it.
  cp /run/munge/munged.pid "$(pid_file munged)"
}

launch() { # descriptor 9 is the lock
  setsid "$@" </dev/null >>"$LOG" 2>&1 9>&- || die "$* failed: $(tail -n 3 "$LOG")"
}

# End a daemon by its own pid: TERM, then KILL when it does not heed.
stop_daemon() {
  local pid
  pid=$(daemon_pid "$1") || return 0
  kill "$pid" 2>/dev/null || true
  wait_for 20 gone "$1" || kill -KILL "$pid" 2>/dev/null || true
  wait_for 5 gone "$1" || die "$1 (pid $pid) does not end"
}

# --- the four commands ----------------------------------------------------------

ensure_user() {
  id "$CLUSTER_USER" >/dev/null 2>&1 || useradd -m -s /bin/bash "$CLUSTER_USER" ||
    die "cannot make the user $CLUSTER_USER"
}

trivial_jobs() { # trivial_jobs USER : one with srun, three with sbatch
  (
    cd / &&
      timeout 20 runuser -u "$1" -- srun hostname &&
      timeout 40 runuser -u "$1" -- sbatch --wait --array=1-3 -J selftest -o /dev/null --wrap true
  ) >>"$LOG" 2>&1 9>&-
}

do_start() {
  local t0=$SECONDS u fresh=''
  installed || do_install
  fix_names
  ensure_user
  if configure; then
    stop_daemon slurmd
    stop_daemon slurmctld
  fi
  start_munge
  if gone slurmctld; then
    launch slurmctld
    fresh=yes
  fi
  wait_for "$CLUSTER_TIMEOUT" answers ||
    die "slurmctld does not answer: $(tail -n 3 "$LOG" "$STATE/slurmctld/slurmctld.log" | tr '\n' ' ')"
  daemon_pid slurmd >/dev/null || launch slurmd
  # A node that was set aside (a job's process would not die, say) is taken back.
  if ! wait_for 10 node_up; then
    scontrol update nodename="$NODE" state=resume >/dev/null 2>&1 || true
    wait_for "$CLUSTER_TIMEOUT" node_up ||
      die "the node is not up: $(sinfo -h -N -o '%T %E' 2>&1; tail -n 3 "$STATE/slurmd.log")"
  fi
  if wide_open "$CTLD_PORT" || wide_open "$SLURMD_PORT"; then
    die "port $CTLD_PORT or $SLURMD_PORT is open to other machines"
  fi
  # A new slurmctld lets its first batch job wait 3 s, and `sbatch --wait` looks after
  # 2 s and then only after 10: let a job that nobody waits for take that delay.
  if [ -n "$fresh" ]; then
    (cd / && sbatch -Q -J selftest -o /dev/null --wrap true) >>"$LOG" 2>&1 || true
    wait_for 10 no_jobs || true
  fi
  for u in root "$CLUSTER_USER"; do
    wait_for "$CLUSTER_TIMEOUT" trivial_jobs "$u" ||
      die "no job of $u ran: $(tail -n 3 "$LOG" "$STATE/slurmctld/slurmctld.log" | tr '\n' ' ')"
  done
  say "running on $ADDR: node $NODE with $SLURM_CPUS CPUs, $SLURM_MEM MB, gpu:$SLURM_GPUS;" \
    "jobs of root and $CLUSTER_USER ran (took $((SECONDS - t0)) s)"
}

no_jobs() { [ -z "$(timeout 10 squeue -h 2>/dev/null)" ]; }

do_stop() {
  local t0=$SECONDS
  if gone slurmd && gone slurmctld && gone munged; then
    say "already stopped"
    return
  fi
  # No job outlives the cluster.
  if answers; then
    squeue -h -o %A 2>/dev/null | sort -u | xargs -r scancel 2>/dev/null || true
    wait_for 15 no_jobs || true
  fi
  stop_daemon slurmd
  stop_daemon slurmctld
  stop_daemon munged
  say "stopped (took $((SECONDS - t0)) s)"
}

do_status() {
  local c d
  c=$(daemon_pid slurmctld) || { say "down"; return 3; }
  d=$(daemon_pid slurmd) || { say "slurmctld runs (pid $c), slurmd does not"; return 3; }
  answers || { say "slurmctld (pid $c) does not answer"; return 3; }
  node_up || { say "the node is $(sinfo -h -N -o '%T (%E)' | head -n 1)"; return 3; }
  say "up: slurmctld pid $c, slurmd pid $d, $(squeue -h | wc -l) job lines in squeue"
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

main "$@"
