#!/usr/bin/env perl
# Run a command, or many numbered copies of it, through Slurm, each with its own log; wait for all of them.
#
#   slurm.pl [options] [JOB=1:40] log-file command [arguments]       (slurm.pl --help tells more)
#
# A site's options are in conf/slurm.conf or --config FILE, in Kaldi's syntax; slurm.pl --print-config prints the
# built-in ones. See docs/cluster.md. Exit status: 0 if all jobs ended with 0, else the highest one (1
# for a job that was killed); the first failing log is then named on stderr, with its last lines.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use SvCluster;
use SvScheduler;

my $config = <<'END';
# What slurm.pl does with its options; copy this to conf/slurm.conf and change it there.
command sbatch --export=PATH --ntasks=1
option mem=* --mem-per-cpu=$0
option mem=0
option num_threads=* --cpus-per-task=$0
option num_threads=1
option time=* --time=$0
option gpu=* --gres=gpu:$0
option gpu=0
option partition=* --partition=$0
option queue=* --partition=$0
option account=* --account=$0
option qos=* --qos=$0
option nodelist=* --nodelist=$0
option hostname=* --nodelist=$0
option exclude=* --exclude=$0
END

# Reasons to wait that are usual, or hopeless. Any other reason is reported.
my $usual = qr/^(None|Priority|Resources|JobArrayTaskLimit|Dependency|BeginTime|Cleaning|Prolog|Licenses|Reservation
    |QOS.*|Assoc.*|MaxJobs.*|WaitingForScheduling|NodeDown|Nodes_?required.*)$/xi;
my $hopeless = qr/^(DependencyNeverSatisfied|BadConstraints|InvalidAccount|InvalidQOS|JobLaunchFailure
    |JobHoldMaxRequeue)$/x;

sub submit {
    my ($words, $name, $count, $at_a_time) = @_;
    my $limit = defined $at_a_time ? "%$at_a_time" : '';
    return (@$words, '--parsable', "--job-name=$name", '--output=out.%a', '--error=out.%a', '--open-mode=append',
        "--array=1-$count$limit", 'run.sh');
}

# Return the tasks in the queue, {"<job>.<index>" => {...}}; or undef and why the scheduler did not answer.
sub list {
    my ($status, $said) = SvScheduler::ask('squeue', '-h', '-r', '-j', join(',', @_), '-o', '%F|%K|%T|%r');
    return {} if $status && $said =~ /Invalid job id/;
    return (undef, $said) if $status;
    my %known;
    for my $line (split /\n/, $said) {
        my ($job_id, $index, $state, $why) = $line =~ /^(\d+)\|(\d+)\|(\w+)\|(.*)$/ or next;
        my $waits = $state eq 'PENDING' && $why !~ $usual;
        $known{"$job_id.$index"} = $waits ? {($why =~ $hopeless ? 'hopeless' : 'waits') => $why} : {};
    }
    return \%known;
}

# Return whether a task that has left the queue was killed, and what its record says.
sub fate {
    my ($job_id, $index) = @_;
    my ($status, $said) = SvScheduler::ask('scontrol', '-o', 'show', 'job', "${job_id}_$index");
    my ($state, $code, $signal) = $said =~ /\bJobState=(\w+).*?\bExitCode=(\d+):(\d+)/;
    return (0, 'scontrol does not know it') if $status || !defined $state;
    my $killed = $signal || $state !~ /^(COMPLETED|FAILED|COMPLETING)$/;
    return ($killed, "scontrol says $state, ExitCode=$code:$signal");
}

exit SvCluster::run({
    config => $config,
    largest_array => 1000,    # below MaxArraySize
    submit => \&submit,
    list => \&list,
    fate => \&fate,
    cancel => sub { ('scancel', @_) },
    cancel_task => sub { ('scancel', "$_[0]_$_[1]") },
}, @ARGV);
