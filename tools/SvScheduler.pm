package SvScheduler;

# Call the commands of a scheduler, which may answer late or not at all.

use strict;
use warnings;
use Cwd qw(getcwd);
use POSIX qw(setpgid);

my $answer_seconds = 60;    # the longest wait for an answer

# Run a command; return its exit status (-1: no answer in time) and its output.
sub ask {
    my @command = @_;
    pipe my $in, my $out or die "cannot make a pipe: $!\n";
    my $pid = fork // die "cannot fork: $!\n";
    if (!$pid) {
        setpgid(0, 0);    # Ctrl-C is for the submitter
        open STDIN, '<', '/dev/null';
        open STDOUT, '>&', $out;
        open STDERR, '>&', $out;
        no warnings 'exec';
        exec {$command[0]} @command;
        syswrite STDERR, "cannot run $command[0]: $!";
        POSIX::_exit(127);
    }
    close $out;
    my ($said, $give_up) = ('', time + $answer_seconds);
    while (time < $give_up) {
        vec(my $files = '', fileno $in, 1) = 1;
        select($files, undef, undef, 1) > 0 or next;
        my $count = sysread $in, $said, 65536, length $said;
        last if defined $count && !$count;
    }
    my $late = time >= $give_up;
    kill 'KILL', $pid if $late;
    1 while waitpid($pid, 0) < 0 && $!{EINTR};
    return $late ? (-1, "no answer in $answer_seconds seconds") : ($? & 127 ? 128 : $? >> 8, $said);
}

# Return the output of a command as one line.
sub one_line {
    my ($said) = @_;
    $said = join ' ', split ' ', $said;
    return length $said ? substr($said, 0, 500) : 'it printed nothing';
}

# Run a command in a folder, which becomes the job's working folder; a folder given as an option could not have any
# name.
sub ask_in {
    my ($folder, @command) = @_;
    my $cwd = getcwd();
    chdir $folder or die "$folder: cannot enter: $!\n";
    local $ENV{PWD} = $folder;
    my @answer = ask(@command);
    chdir $cwd or die "$cwd: cannot enter: $!\n";
    return @answer;
}

# Remove jobs from the queue, wait, and return whether they are gone.
sub cancel {
    my ($scheduler, @job_ids) = @_;
    return 1 if !@job_ids;
    my $give_up = time + $answer_seconds;
    ask($scheduler->{cancel}->(@job_ids));
    while (time < $give_up) {
        my ($known) = $scheduler->{list}->(@job_ids);
        return 1 if $known && !%$known;
        select undef, undef, undef, 0.3;
    }
    return 0;
}

1;
