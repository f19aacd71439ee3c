package SvScheduler;

# The commands of a scheduler, which may be late, silent or gone.

use strict;
use warnings;
use Cwd qw(getcwd);
use POSIX qw(setpgid);

my $answer_seconds = 60;    # the longest wait for an answer

# Run a command; its exit status (-1: no answer in time) and all that it says.
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

# What a command said, as one line.
sub one_line {
    my ($said) = @_;
    $said = join ' ', split ' ', $said;
    return length $said ? substr($said, 0, 500) : 'it says nothing';
}

# Ask from within a folder, which becomes the scheduler's working folder: any name will do for it.
sub ask_in {
    my ($folder, @command) = @_;
    my $cwd = getcwd();
    chdir $folder or die "$folder: cannot enter: $!\n";
    local $ENV{PWD} = $folder;
    my @answer = ask(@command);
    chdir $cwd or die "$cwd: cannot enter: $!\n";
    return @answer;
}

# Are the jobs no more in the queue? They are taken out of it, and waited for.
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
