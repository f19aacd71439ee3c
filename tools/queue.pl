#!/usr/bin/env perl
# Run a command, or many numbered copies of it, through Grid Engine, each with its own log; wait for all of them.
#
#   queue.pl [options] [JOB=1:40] log-file command [arguments]       (queue.pl --help tells more)
#
# A site's options are in conf/queue.conf or --config FILE, in Kaldi's syntax; queue.pl --print-config prints the
# built-in ones. See docs/cluster.md. Exit status: 0 if all jobs ended with 0, else the highest one (1
# for a job that was killed); the first failing log is then named on stderr, with its last lines.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use SvCluster;
use SvScheduler;

my $config = <<'END';
# What queue.pl does with its options; copy this to conf/queue.conf and change it there.
command qsub -w e -S /bin/bash  # -w e: refuse what can never run
option mem=* -l ram_free=$0  # a consumable; -w e does not know load values such as mem_free
option mem=0
option num_threads=* -pe smp $0
option num_threads=1
option time=* -l h_rt=$0
option gpu=* -l gpu=$0 -q g.q
option gpu=0
option queue=* -q $0
option hostname=* -l hostname=$0
END

sub submit {
    my ($words, $name, $count, $at_a_time) = @_;
    return (@$words, '-terse', '-cwd', '-j', 'y', '-N', $name, '-o', 'out.$TASK_ID', '-t', "1-$count",
        defined $at_a_time ? ('-tc', $at_a_time) : (), 'run.sh');
}

# Return the tasks in the queue, {"<job>.<index>" => {...}}; or undef and why the scheduler did not answer.
sub list {
    my %wanted = map { $_ => 1 } @_;
    my ($status, $said) = SvScheduler::ask('qstat', '-xml');
    return (undef, $said) if $status || $said !~ m{</job_info>\s*$};
    my %known;
    for my $entry ($said =~ m{<job_list\b.*?</job_list>}sg) {
        my ($job_id) = $entry =~ m{<JB_job_number>(\d+)<};
        next if !$wanted{$job_id};
        my ($state, $tasks) = $entry =~ m{<state>(\w*)<.*?<tasks>([\d,:-]+)<}s;
        for my $range (split /,/, $tasks // '1') {
            my ($first, $last, $step) = $range =~ /^(\d+)(?:-(\d+)(?::(\d+))?)?$/;
            for (my $index = $first; $index <= ($last // $first); $index += $step // 1) {
                $known{"$job_id.$index"} = {hopeless => $state =~ /E/ ? '?' : undef,
                    waits => $state =~ /h/ ? "it is held (qrls $job_id)" : undef};
            }
        }
    }
    return \%known;
}

sub explain {
    my ($job_id) = @_;
    my (undef, $said) = SvScheduler::ask('qstat', '-j', $job_id);
    return $said =~ /error reason\s+\d+:\s*(.*?)\s*$/m ? $1 : "it is in an error state (qstat -j $job_id)";
}

# Return whether a task that has left the queue was killed, and what its record says.
sub fate {
    my ($job_id, $index) = @_;
    my ($status, $said) = SvScheduler::ask('qacct', '-j', $job_id, '-t', $index);
    return (0, 'qacct does not know it') if $status;
    my ($failed) = $said =~ /^failed\s+(.*?)\s*$/m;
    my ($exit) = $said =~ /^exit_status\s+(.*?)\s*$/m;
    my $killed = ($failed // '0') !~ /^0\b/;
    return ($killed, "qacct says failed $failed, exit_status $exit");
}

exit SvCluster::run({
    config => $config,
    largest_array => 75000,    # max_aj_tasks
    submit => \&submit,
    list => \&list,
    explain => \&explain,
    fate => \&fate,
    cancel => sub { ('qdel', @_) },
    cancel_task => sub { ('qdel', $_[0], '-t', $_[1]) },
}, @ARGV);
