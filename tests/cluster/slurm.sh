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

CLUSTER=slurm
PACKAGES=(slurmctld slurmd slurm-client munge)
STOP_SECONDS=20
# shellcheck source=tests/cluster/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

installed() { have_packages; }
prepare_install() { :; }

# --- host name ----------------------------------------------------------------

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
  name_loopback
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
# program's.
daemon_pid() { # daemon_pid munged|slurmctld|slurmd
  local pid
  { read -r pid <"$STATE/$1.pid"; } 2>/dev/null || return 1
  runs_as "$pid" "$1" "$1-wlm" || return 1
  echo "$pid"
}

munge_works() { munge -n 2>/dev/null | unmunge >/dev/null 2>&1; }
answers() { timeout 10 scontrol ping 2>/dev/null | grep -q ' is UP'; }
node_up() { timeout 10 sinfo -h -N -o %T 2>/dev/null | grep -qxE 'idle|mixed|allocated|completing'; }

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
  cp /run/munge/munged.pid "$STATE/munged.pid"
}

# --- the four commands ----------------------------------------------------------

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
    launch slurmctld -c # without the jobs of a cluster that was killed: they would hold CPUs for ever
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

main "$@"
