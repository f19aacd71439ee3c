#!/usr/bin/env perl
# Run one task of an array that queue.pl or slurm.pl has submitted; the job script calls this on the node.
#
#   run_task.pl <folder of the call> <folder of the array>
#
# Runs the command in the submitter's folder and environment, with its log, and writes a mark last (SvSpool.pm lists the
# files). Any warning signal of the scheduler reaches the command as SIGTERM.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use SvJobs;
use SvSpool;

# Claim task $index of this array; exit if the scheduler got the array twice, since its answer was lost, and the other
# one has claimed it.
sub claim {
    my ($folder, $index) = @_;
    my $job_id = $ENV{SLURM_ARRAY_JOB_ID} // $ENV{JOB_ID} // '';
    my $claim = "$folder/claim.$index";
    SvSpool::write_file("$claim.$job_id", "$job_id\n") or die "$claim: cannot write: $!\n";
    link "$claim.$job_id", $claim;
    my ($owner) = SvSpool::read_lines($claim);
    exit 0 if ($owner // '') ne "$job_id\n";
}

sub enter {
    my ($spool) = @_;
    my ($call) = SvSpool::read_lines("$spool/call");
    my ($cwd, $umask, $threads) = SvSpool::read_words($call // die "$spool/call: cannot read: $!\n");
    chdir $cwd or die "$cwd: cannot enter: $!; is it on a filesystem that all machines share?\n";
    umask $umask;
    delete @ENV{qw(SLURM_EXPORT_ENV SBATCH_EXPORT)};    # else srun starts processes without the environment
    for my $line (SvSpool::read_lines("$spool/environment")) {
        my ($name, $value) = SvSpool::read_words($line);
        $ENV{$name} = $value;
    }
    $ENV{PWD} = $cwd;
    return $threads;
}

sub find_job {
    my ($spool, $folder, $index) = @_;
    my ($id) = SvSpool::read_words((SvSpool::read_lines("$folder/tasks"))[$index - 1]);
    for my $line (SvSpool::read_lines("$spool/jobs")) {
        my ($found, $log, @command) = SvSpool::read_words($line);
        return {id => $id, log => $log, command => \@command} if $found eq $id;
    }
    die "$spool/jobs: has no job $id\n";
}

# Send SIGTERM to all processes of this task except this one.
sub end_others {
    my ($pid) = @_;
    local $SIG{TERM} = 'IGNORE';
    kill 'TERM', getpgrp == $$ ? -$$ : $pid;
}

# Run the command and return its $?, and why it could not be run, if so.
sub run_command {
    my ($job, $again) = @_;
    eval { SvJobs::log_header($job->{log}, $job->{command}, $again); 1 } or return (256, $@ =~ s/\s+$//r);
    my $pid = fork // return (256, "cannot fork: $!");
    SvJobs::become_command($job) if !$pid;
    $SIG{$_} = sub { end_others($pid) } for qw(INT TERM HUP USR1 USR2 XCPU);
    1 while waitpid($pid, 0) < 0 && $!{EINTR};
    my $status = $?;
    end_others($pid) if $status;    # what a failed command has left behind
    return ($status, '');
}

my ($spool, $folder) = @ARGV;
my $index = $ENV{SLURM_ARRAY_TASK_ID} // $ENV{SGE_TASK_ID};
my $again = ($ENV{RESTARTED} // 0) || ($ENV{SLURM_RESTART_COUNT} // 0) || $folder !~ m{/1$};
claim($folder, $index);
my $job = find_job($spool, $folder, $index);
my $begin = time;
my $threads = enter($spool);
my ($status, $reason) = run_command($job, $again);
if (!$reason && !SvJobs::log_footer($job->{log}, $status, time - $begin, $threads)) {
    ($status, $reason) = ($status || 256, "cannot write its log: $!");
}
SvSpool::write_file("$folder/mark.$index", SvSpool::write_words($status, -s $job->{log} // 0, $reason))
    or die "$folder/mark.$index: cannot write: $!\n";
# Grid Engine takes 99 for "run again" and 100 for "hold".
my $code = SvJobs::exit_code($status);
exit($code < 99 ? $code : 1);
