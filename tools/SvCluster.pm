package SvCluster;

# The common part of queue.pl and slurm.pl: submit jobs as arrays, wait for the marks that tasks leave (run_task.pl),
# retry, and end the tasks when the submitter ends. SvClusterConfig.pm reads the configuration, SvScheduler.pm asks the
# scheduler.
#
# Only its mark says how a task ended. Now and then the scheduler is asked which tasks it still knows; a task that it
# does not know and that left no mark was killed.

use strict;
use warnings;
use Config;
use File::Basename qw(basename dirname);
use File::Path qw(make_path remove_tree);
use FindBin;
use List::Util qw(min max sum);
use Sys::Hostname qw(hostname);
use SvClusterConfig;
use SvJobs;
use SvScheduler;
use SvSpool;

my $me = basename($0);
my $dead_seconds = 900;      # a submitter on another machine that gives no sign of life for so long is dead
my $killed_seconds = 2;      # how long after its end the mark of a task may come that the scheduler calls killed
my $longest_nap = 1;
my $longest_silence = 15;    # between two questions to the scheduler

# Variables that the node, the scheduler or the terminal sets; jobs get all others from the submitter.
my $not_carried = qr/^(?:
    SLURM.* | SGE_.* | PE(?:_HOSTFILE)? | NSLOTS | NQUEUES | NHOSTS | JOB_.* | QUEUE | RESTARTED | REQUEST | REQNAME
    | ARC | TMPDIR | TMP | TEMP | HOSTNAME | HOST | HOSTTYPE | PWD | OLDPWD | SHLVL | _ | TERM | DISPLAY | XAUTHORITY
    | XDG_.* | SSH_.* | (?:CUDA|HIP|ROCR|NVIDIA)_VISIBLE_DEVICES | GPU_DEVICE_ORDINAL | ZE_AFFINITY_MASK
)$/x;

my ($caught, $watchdog);

sub note {
    my ($kind, $what) = @_;
    print STDERR "$me: $kind: $what\n";
}

# Make the folder of a call. If a dead submitter left one of that name, end its jobs and remove it.
sub make_spool {
    my ($scheduler, $call) = @_;
    my $name = basename($call->{log}) =~ s/\.log$//r;
    my $spool = dirname($call->{log}) . "/q/$name";
    if (defined(my $job_name = $call->{job_name})) {
        $spool =~ s/\Q$job_name\E/JOB/g;
    }
    make_path(dirname($spool), {error => \my $failed});
    $spool = SvSpool::absolute(dirname($spool)) . '/' . basename($spool);
    for my $try (1, 2) {
        if (mkdir $spool, 0700) {
            SvSpool::must_write("$spool/owner", SvSpool::write_words(hostname(), $$, SvSpool::start_time($$)));
            return $spool;
        }
        $!{EEXIST} or die "$spool: cannot make: $!\n";
        remove_stale($scheduler, $spool) if $try == 1;
    }
    die "$spool: cannot be removed; remove it by hand\n";
}

sub remove_stale {
    my ($scheduler, $spool) = @_;
    my ($line) = SvSpool::read_lines("$spool/owner");
    my ($host, $pid, $started) = $line ? SvSpool::read_words($line) : ('?', 0, '');
    my $age = time - ((stat($line ? "$spool/owner" : $spool))[9] // 0);
    my $here = $host eq hostname();
    if ($here ? SvSpool::start_time($pid) eq $started : $age < ($line ? $dead_seconds : 10)) {
        die "$spool: process $pid on $host runs the jobs of this log; wait for its end, or end it\n";
    }
    my @job_ids = map { SvSpool::read_lines($_) } SvSpool::glob_files($spool, qr{^\d+$}, 'job_id');
    chomp @job_ids;
    note('warning', "process $pid on $host has left jobs behind (@job_ids); ending them") if @job_ids;
    SvScheduler::cancel($scheduler, @job_ids)
        or die "$spool: cannot end the jobs @job_ids; end them, and remove this folder\n";
    remove_tree($spool);
}

sub write_call {
    my ($spool, $call, $jobs) = @_;
    my $threads = $call->{options}{'num-threads'} // 1;
    SvSpool::must_write("$spool/call", SvSpool::write_words(SvSpool::absolute('.'), umask, $threads));
    my @carried = grep { $_ !~ $not_carried } sort keys %ENV;
    SvSpool::must_write("$spool/environment", map { SvSpool::write_words($_, $ENV{$_}) } @carried);
    SvSpool::must_write("$spool/jobs", map { SvSpool::write_words($_->{id}, $_->{log}, @{$_->{command}}) } @$jobs);
}

# Return the state of a call:
#   jobs      all jobs, in order: {id, log, command, runs, status ($?), reason}
#   waiting   jobs to be submitted
#   arrays    submitted and not yet ended: {job_id, folder, tasks => {index => job}, missing => {index => since when}}
sub new_state {
    my ($scheduler, $call, $config) = @_;
    my @jobs = map { SvJobs::job_of($call, $_) } $call->{first} .. $call->{last};
    my %state = (scheduler => $scheduler, call => $call, options => $call->{options}, jobs => \@jobs,
        waiting => [@jobs], arrays => [], num_arrays => 0, words => [SvClusterConfig::submit_words($config, $call)]);
    return \%state;
}

# Submit the waiting jobs, in arrays no larger than the scheduler accepts; with --max-jobs-run, no more than fit beside
# the tasks that have not ended.
sub submit_waiting {
    my ($state) = @_;
    my $limit = $state->{options}{'max-jobs-run'};
    while (@{$state->{waiting}} && !$caught) {
        my $largest = $state->{scheduler}{largest_array};
        if (defined $limit && @{$state->{arrays}}) {
            $largest = min($largest, $limit - sum(map { scalar keys %{$_->{tasks}} } @{$state->{arrays}}));
            return if $largest < 1;
        }
        my @jobs = splice @{$state->{waiting}}, 0, $largest;
        my $folder = "$state->{spool}/" . ++$state->{num_arrays};
        mkdir $folder, 0700 or die "$folder: cannot make: $!\n";
        SvSpool::must_write("$folder/tasks", map { SvSpool::write_words($_->{id}) } @jobs);
        SvSpool::must_write("$folder/run.sh", job_script($state->{spool}, $folder));
        my $job_id = submit($state, $folder, scalar @jobs);
        SvSpool::must_write("$folder/job_id", "$job_id\n");
        print $watchdog "+$job_id\n";
        $_->{runs}++ for @jobs;
        my %tasks = map { $_ + 1 => $jobs[$_] } 0 .. $#jobs;
        push @{$state->{arrays}}, {job_id => $job_id, folder => $folder, tasks => \%tasks, missing => {}};
    }
}

sub job_script {
    my ($spool, $folder) = @_;
    my $words = join ' ', map { SvJobs::shell_quote($_) } "$FindBin::RealBin/run_task.pl", $spool, $folder;
    my $perl = SvJobs::shell_quote($Config{perlpath});
    return "#!/bin/bash\n[ -x $perl ] && exec $perl $words\nexec perl $words\n";
}

# Submit an array and return its id; wait if the scheduler does not answer.
sub submit {
    my ($state, $folder, $count) = @_;
    my ($scheduler, $options) = @$state{qw(scheduler options)};
    my $name = basename($state->{spool}) =~ s/[^\w.-]/_/gr =~ s/^(?![A-Za-z])/j/r;
    my @command = $scheduler->{submit}->($state->{words}, $name, $count, $options->{'max-jobs-run'});
    my $give_up = time + $options->{'scheduler-timeout'};
    while (1) {
        my ($status, $said) = SvScheduler::ask_in($folder, @command);
        return $1 if $status == 0 && $said =~ /^(\d+)(?:[.;]\S*)?\s*$/m;
        my ($known, $why) = $status == 127 ? ({}) : $scheduler->{list}->(1);
        if ($known && $said !~ /timed out|try again/i) {
            die "$command[0] refuses the job: " . SvScheduler::one_line($said) . " (it was: @command)\n";
        }
        die "$command[0] cannot submit: " . SvScheduler::one_line($said) . "\n" if time >= $give_up || $caught;
        complain($state, $why // SvScheduler::one_line($said));
        nap(min(10, $options->{'scheduler-timeout'}));
    }
}

# Warn that the scheduler does not answer, now and then every ten minutes.
sub complain {
    my ($state, $why) = @_;
    return if ($state->{complained} // 0) > time - 600;
    $state->{complained} = time;
    note('warning', 'the scheduler does not answer (' . SvScheduler::one_line($why)
            . '); running jobs go on, and it is asked again for ' . $state->{options}{'scheduler-timeout'} . ' s');
}

# Sleep, until a signal comes.
sub nap {
    my ($seconds) = @_;
    select undef, undef, undef, $seconds if !$caught;
}

# Read the marks of tasks that have ended, and return how many.
sub read_marks {
    my ($state) = @_;
    my $count = 0;
    for my $array (@{$state->{arrays}}) {
        opendir my $dir, $array->{folder} or next;
        for my $index (map { /^mark\.(\d+)$/ ? $1 : () } readdir $dir) {
            next if !$array->{tasks}{$index};
            my ($line) = SvSpool::read_lines("$array->{folder}/mark.$index");
            my ($status, $size, $reason) = SvSpool::read_words($line // next);
            my $job = $array->{tasks}{$index};
            next if !length $reason && !has_log($state, $array, $index, $job, $size);
            end_task($state, $array, $index, $status, $reason);
            $count++;
        }
    }
    return $count;
}

# Return whether the whole log of a task is visible here; a shared filesystem may be late.
sub has_log {
    my ($state, $array, $index, $job, $size) = @_;
    return 1 if (-s $job->{log} // -1) >= $size;
    my $since = $array->{missing}{"log $index"} //= time;
    return 0 if time < $since + $state->{options}{'fs-delay'};
    end_task($state, $array, $index, 256, "its log did not appear in $state->{options}{'fs-delay'} s; "
            . 'is it on a filesystem that all machines share?');
    return 0;
}

# Record how a task ended: $status is $? of its command, or undef if that is not known; $reason then says why.
sub end_task {
    my ($state, $array, $index, $status, $reason) = @_;
    my $job = delete $array->{tasks}{$index};
    $job->{status} = $status;
    $job->{reason} = length($reason // '') ? $reason : undef;
    my $failed = $job->{status} || $job->{reason};
    if ($failed && $job->{runs} <= $state->{options}{'max-retries'} && !$caught) {
        push @{$state->{waiting}}, $job;
    } elsif ($failed && ($state->{options}{together} // '') eq 'true') {
        $state->{given_up} = 1;
    }
}

# Ask the scheduler for its tasks, and give up the tasks that it does not know.
sub find_lost {
    my ($state) = @_;
    my ($scheduler, $options) = @$state{qw(scheduler options)};
    touch($state);
    my ($known, $why) = $scheduler->{list}->(map { $_->{job_id} } @{$state->{arrays}});
    if (!$known) {
        $state->{silent_since} //= time;
        my $reason = SvScheduler::one_line($why);
        die "the scheduler has not answered for $options->{'scheduler-timeout'} s ($reason)\n"
            if time >= $state->{silent_since} + $options->{'scheduler-timeout'};
        complain($state, $why);
        return;
    }
    note('warning', 'the scheduler answers again') if $state->{complained};
    delete @$state{qw(silent_since complained)};
    read_marks($state);    # of tasks that ended just before the answer
    for my $array (@{$state->{arrays}}) {
        for my $index (sort { $a <=> $b } keys %{$array->{tasks}}) {
            my $task = $known->{"$array->{job_id}.$index"};
            $task ? look_at($state, $array, $index, $task) : miss($state, $array, $index);
        }
    }
}

# Renew this machine's cache of the shared folders, and show others that the submitter lives.
sub touch {
    my ($state) = @_;
    utime undef, undef, "$state->{spool}/owner";
    for my $array (@{$state->{arrays}}) {
        SvSpool::write_file("$array->{folder}/kick");
        unlink "$array->{folder}/kick";
    }
}

# Handle a task in the queue, which has {hopeless => why, or '?'} or {waits => why} if the scheduler says so.
sub look_at {
    my ($state, $array, $index, $task) = @_;
    delete $array->{missing}{$index};
    if ($task->{hopeless}) {
        my $why = $task->{hopeless} eq '?' ? $state->{scheduler}{explain}->($array->{job_id}) : $task->{hopeless};
        SvScheduler::ask($state->{scheduler}{cancel_task}->($array->{job_id}, $index));
        end_task($state, $array, $index, undef, "the scheduler will not run it: $why");
    } elsif ($task->{waits} && !$state->{told}{$task->{waits}}++) {
        note('warning', "job $array->{tasks}{$index}{id} waits: $task->{waits}");
    }
}

# Handle a task that has left the queue: if its mark does not come, it was killed.
sub miss {
    my ($state, $array, $index) = @_;
    my $since = $array->{missing}{$index} //= time;
    return if time < $since + $killed_seconds;
    my ($killed, $why) = $state->{scheduler}{fate}->($array->{job_id}, $index);
    return if !$killed && time < $since + $state->{options}{'fs-delay'};
    my $said = join ' ', map { /\S/ ? s/\s+$//r : () } SvSpool::read_lines("$array->{folder}/out.$index");
    my $what = $killed ? 'killed' : -e "$array->{folder}/claim.$index" ? 'ended without a mark' : 'never started';
    my $reason = join '; ', "$what: $why", length $said ? substr($said, 0, 500) : ();
    end_task($state, $array, $index, $killed ? 9 : undef, $reason);
}

# Run a call to its end, and return the exit status.
sub run {
    my ($scheduler, @argv) = @_;
    if (@argv && $argv[0] eq '--print-config') {
        print $scheduler->{config};
        return 0;
    }
    my $config;
    my $call = SvJobs::parse_command_line(\@argv, sub {
        $config = SvClusterConfig::find_config($scheduler, $_[0]{config});
        return SvClusterConfig::apply_defaults($config, $_[0]);
    });
    my $state = new_state($scheduler, $call, $config);
    for my $signal (qw(INT TERM HUP)) {
        next if ($SIG{$signal} // '') eq 'IGNORE' && $signal eq 'HUP';    # nohup
        $SIG{$signal} = sub { $caught //= $signal };
    }
    $SIG{PIPE} = sub { };
    my $finished = eval { $state->{spool} = make_spool($scheduler, $call); wait_for_all($state); 1 };
    my $error = $@;
    stop($state) if $caught;
    if (!$finished) {
        note('error', $error =~ s/\s+$//r);
        give_up($state);
        return 1;
    }
    remove_tree($state->{spool});
    rmdir dirname($state->{spool});    # if it is empty
    my @failed = grep { $_->{reason} || $_->{status} } @{$state->{jobs}};
    SvJobs::report_failures($call, @failed) if @failed;
    return @failed ? SvJobs::worst_status(@failed) : 0;
}

sub wait_for_all {
    my ($state) = @_;
    my $spool = $state->{spool};
    write_call($spool, $state->{call}, $state->{jobs});
    $watchdog = SvJobs::watch(sub { SvScheduler::cancel($state->{scheduler}, @_) and remove_tree($spool) });
    my ($begin, $asked) = (time, time);
    while (!$caught) {
        submit_waiting($state);
        last if !@{$state->{arrays}};
        my $elapsed = time - $begin;
        read_marks($state) or nap(min($longest_nap, max(0.1, $elapsed / 50)));
        if (time - $asked >= max(2, min($longest_silence, $elapsed / 10))) {
            find_lost($state);
            $asked = time;
        }
        end_all($state) if $state->{given_up};
        for my $array (grep { !%{$_->{tasks}} } @{$state->{arrays}}) {
            print $watchdog "-$array->{job_id}\n";
        }
        @{$state->{arrays}} = grep { %{$_->{tasks}} } @{$state->{arrays}};
    }
}

# End the other jobs of a call in which one has failed and all need each other.
sub end_all {
    my ($state) = @_;
    my @job_ids = map { $_->{job_id} } @{$state->{arrays}};
    SvScheduler::cancel($state->{scheduler}, @job_ids)
        or die "cannot end the jobs @job_ids, which need a job that has failed\n";
    $_->{tasks} = {} for @{$state->{arrays}};
    $state->{waiting} = [];
}

# End the submitted jobs after an error, if the scheduler answers.
sub give_up {
    my ($state) = @_;
    my @job_ids = map { $_->{job_id} } @{$state->{arrays}};
    if ($state->{silent_since} || !SvScheduler::cancel($state->{scheduler}, @job_ids)) {
        note('error', "the jobs @job_ids are left as they are, with $state->{spool}");
    } elsif ($state->{spool}) {
        remove_tree($state->{spool});
    }
    print $watchdog map { "-$_\n" } @job_ids if $watchdog;
}

# End the submitted jobs after a signal, and die of it.
sub stop {
    my ($state) = @_;
    my @job_ids = map { $_->{job_id} } @{$state->{arrays}};
    note('error', "stopped by SIG$caught, ending the submitted jobs (@job_ids)");
    if (SvScheduler::cancel($state->{scheduler}, @job_ids)) {
        remove_tree($state->{spool}) if $state->{spool};
        print $watchdog map { "-$_\n" } @job_ids if $watchdog;
    } else {
        note('error', "they could not be ended; type: " . join ' ', $state->{scheduler}{cancel}->(@job_ids));
    }
    $SIG{$caught} = 'DEFAULT';
    kill $caught, $$;
}

1;
