#!/usr/bin/env perl
# Run a command, or many numbered copies of it, on this machine, each with its own log; wait for all of them.
#
#   run.pl [options] [JOB=1:40] log-file command [arguments]       (run.pl --help tells more)
#
# The number of jobs at a time is that of the CPUs, or --max-jobs-run. Options for clusters are ignored. With
# --max-retries N, a job that failed is run up to N times more. Exit status: 0 if all jobs ended with 0, else the
# highest one (1 for a job that was killed); the first failing log is then named on stderr, with its last lines. Each
# job has its own process group, which ends with run.pl, even if SIGKILL ends that.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IO::Handle;
use POSIX qw(WNOHANG setpgid);
use SvJobs;

my $grace_seconds = 5;    # from SIGTERM to SIGKILL
my ($caught, $watchdog, $retries, $together, @waiting, %running);    # %running: process id => job
pipe my $news, my $signalled or die "cannot make a pipe: $!\n";    # a byte for each signal
$_->blocking(0) for $news, $signalled;

# Return the number of CPUs that this process may use.
sub num_cpus {
    my $count = 0;
    if (open my $in, '<', '/proc/self/status') {
        my ($list) = map { /^Cpus_allowed_list:\s*(\S+)/ ? $1 : () } <$in>;
        $count += /^(\d+)-(\d+)$/ ? $2 - $1 + 1 : 1 for split /,/, $list // '';
    }
    $count ||= (split ' ', `getconf _NPROCESSORS_ONLN 2>/dev/null` || 0)[0];
    return $count || 4;
}

# End whole process groups: send SIGTERM, and SIGKILL some seconds later to what is left.
sub end_groups {
    my @groups = @_;
    kill 'TERM', map { -$_ } @groups;
    kill 'CONT', map { -$_ } @groups;
    my $give_up = time + $grace_seconds;
    while (@groups && time < $give_up) {
        reap() or select undef, undef, undef, 0.05;
        @groups = grep { kill 0, -$_ } @groups;
    }
    kill 'KILL', map { -$_ } @groups;
}

sub start {
    my ($job) = @_;
    $job->{started} = time;
    eval { SvJobs::log_header($job->{log}, $job->{command}, $job->{runs}++); 1 } or do {
        $job->{reason} = $@ =~ s/\s+$//r;
        return;
    };
    my $pid = fork;
    if (!defined $pid) {
        $job->{reason} = "cannot fork: $!";
        return;
    }
    if (!$pid) {
        setpgid(0, 0);
        SvJobs::become_command($job);
    }
    setpgid($pid, $pid);    # parent and child both do this, since either may come first
    print $watchdog "+$pid\n";
    $running{$pid} = $job;
}

# Handle the jobs that have ended, and return how many.
sub reap {
    my $count = 0;
    while ((my $pid = waitpid -1, WNOHANG) > 0) {
        my $job = delete $running{$pid} // next;
        $job->{status} = $?;
        kill 'TERM', -$pid if $?;    # what a failed job has left behind
        print $watchdog "-$pid\n";
        my $seconds = time - $job->{started};
        SvJobs::log_footer($job->{log}, $job->{status}, $seconds, $job->{threads})
            or $job->{reason} = "cannot write its log: $!";
        if ($job->{status} && !$job->{ended} && $job->{runs} <= $retries && !$caught) {
            push @waiting, $job;
        } elsif ($job->{status} && $together) {
            @waiting = ();
            $_->{ended} = 1 for values %running;
            kill 'TERM', map { -$_ } keys %running;
        }
        $count++;
    }
    return $count;
}

# Sleep until a signal comes, unless one came since the last call, for at most this long.
sub wait_for_news {
    my ($seconds) = @_;
    vec(my $files = '', fileno $news, 1) = 1;
    select $files, undef, undef, $seconds;
    sysread $news, my $bytes, 4096;
}

sub stop_all {
    my $count = keys %running;
    print STDERR "run.pl: error: stopped by SIG$caught, ending $count running job", ($count == 1 ? '' : 's'), "\n";
    end_groups(keys %running);
    wait_for_news(1) while !reap() && %running;
    close $watchdog;
    $SIG{$caught} = 'DEFAULT';
    kill $caught, $$;
}

my $call = SvJobs::parse_command_line(\@ARGV);
my $at_a_time = $call->{options}{'max-jobs-run'} // num_cpus();
$retries = $call->{options}{'max-retries'} // 0;
$together = ($call->{options}{together} // 'false') eq 'true';
my $threads = $call->{options}{'num-threads'} // 1;
for my $signal (qw(INT TERM HUP)) {
    next if $signal eq 'HUP' && ($SIG{HUP} // '') eq 'IGNORE';    # nohup; SIGINT is ignored after any "&" in a script
    $SIG{$signal} = sub { $caught //= $signal; syswrite $signalled, '.' };
}
$SIG{CHLD} = sub { syswrite $signalled, '.' };
$SIG{PIPE} = sub { };    # not IGNORE, which the jobs would inherit
$watchdog = SvJobs::watch(\&end_groups);

my @jobs = map { {%{SvJobs::job_of($call, $_)}, threads => $threads} } $call->{first} .. $call->{last};
@waiting = @jobs;
while (!$caught && (@waiting || %running)) {
    start(shift @waiting) while @waiting && keys %running < $at_a_time && !$caught;
    reap() or !%running or wait_for_news(1);
}
stop_all() if $caught;
close $watchdog;
my @failed = grep { !$_->{ended} && ($_->{reason} || $_->{status}) } @jobs;
SvJobs::report_failures($call, @failed) if @failed;
exit(@failed ? SvJobs::worst_status(@failed) : 0);
