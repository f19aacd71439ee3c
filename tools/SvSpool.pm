package SvSpool;

# The files through which queue.pl or slurm.pl and the tasks that it submitted communicate.
#
# <folder of the log>/q/<name>/    exists while the call runs
#     owner                        host, process and start time of the submitter; renewed as a sign of life
#     call, environment, jobs      what run_task.pl needs
#     <n>/                         the n-th array: run.sh, tasks (jobs of the indexes 1, 2, ...), job_id,
#                                  claim.<index>, out.<index>, mark.<index>
# A line of a file is a list of words (write_words, read_words).

use strict;
use warnings;
use Cwd qw(getcwd);

# Turn a list of words into a line of a file, and back.
sub write_words {
    return join("\t", map { s/([%\t\n])/sprintf '%%%02X', ord $1/ger } @_) . "\n";
}

sub read_words {
    my ($line) = @_;
    chomp $line;
    return map { s/%([0-9A-F]{2})/chr hex $1/ger } split /\t/, $line, -1;
}

sub read_lines {
    my ($file) = @_;
    open my $in, '<', $file or return;
    return <$in>;
}

# Write a file whole or not at all; return whether it was written.
sub write_file {
    my ($file, @lines) = @_;
    open my $out, '>', "$file.tmp" or return 0;
    print $out @lines;
    return close $out && rename "$file.tmp", $file;
}

sub must_write {
    my ($file) = @_;
    write_file(@_) or die "$file: cannot write: $!\n";
}

# Return when a process started, in ticks since boot; '' if there is no such process.
sub start_time {
    my ($stat) = read_lines("/proc/$_[0]/stat");
    return $stat ? (split ' ', $stat =~ s/^.*\)//sr)[19] : '';
}

sub glob_files {
    my ($folder, $pattern, $file) = @_;
    opendir my $dir, $folder or return;
    return map { "$folder/$_/$file" } grep { $_ =~ $pattern } readdir $dir;
}

# Return the absolute path of a folder, by the name in PWD if it is right: an automounter's name works on all machines.
sub absolute {
    my ($folder) = @_;
    my $cwd = getcwd();
    my $known = $ENV{PWD};
    if (defined $known && $known =~ m{^/} && -d $known) {
        my ($a, $b) = map { join ':', (stat $_)[0, 1] } $known, $cwd;
        $cwd = $known if $a eq $b;
    }
    $folder =~ s{^(\./+)+}{};
    return $folder eq '.' ? $cwd : $folder =~ m{^/} ? $folder : "$cwd/$folder";
}

1;
