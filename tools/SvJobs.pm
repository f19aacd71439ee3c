package SvJobs;

# The common part of run.pl, queue.pl and slurm.pl: Kaldi's calling convention
#
#   run.pl [options] [JOB=1:40] log-file command [arguments]
#
# the quoting of the command, its execution, the first and last lines of a log, the report on failed jobs, and the
# process that cleans up after a submitter that was killed. SvCluster.pm has what only queue.pl and slurm.pl need.

use strict;
use warnings;
use Exporter 'import';
use Config;
use File::Basename qw(basename dirname);
use File::Path qw(make_path);
use IO::Handle;
use List::Util qw(max);
use POSIX qw(setpgid strftime);
use Sys::Hostname qw(hostname);

our @EXPORT_OK = qw(parse_command_line refuse needs_shell shell_quote shell_line become_command log_header log_footer
    exit_code describe_status report_failures worst_status watch);

my $stage_log = delete $ENV{SV_STAGE_LOG};    # of a recipe; a job has its own log

my $me = basename($0);
my $tail_lines = 10;

# Options that all three know, each with a value; sites define others in the configuration of queue.pl and slurm.pl.
my @common = qw(--mem --gpu --num-threads --time --max-jobs-run --max-retries --together --config --queue
    --partition --account --qos --nodelist --exclude --hostname);
my %num_values = ('-V' => 0, '-cwd' => 0, '-pe' => 2);    # the scheduler's own, such as -hold_jid 12, take one value

# Arguments that are shell operators when they stand alone, as in Kaldi: run.pl x.log cat a \| sort \> b
my %operators = map { $_ => 1 } ('|', '|&', '||', '&&', ';', qw(> >> < 2> 2>> 2>&1 >&2 1>&2 &> &>>));
my %starts_command = map { $_ => 1 } ('|', '|&', '||', '&&', ';');

# Print one line to stderr and exit with status 2.
sub refuse {
    my ($what) = @_;
    print STDERR "$me: error: $what\n";
    exit 2;
}

sub print_usage {
    my ($out, $status) = @_;
    print $out <<"END";
Usage: $me [options] [JOB=1:<n>] <log-file> <command> [<argument> ...]
e.g.: $me --max-jobs-run 4 JOB=1:40 exp/log/x.JOB.log copy.py --in data/split40/JOB/feats.scp --out exp/x.JOB.ark
JOB (any name will do) becomes the number of the job in the log's name and in the command. Arguments reach the command
as they are, except that one which is just | |& || && ; > >> < 2> 2>> 2>&1 (quoted for your shell) is an operator.
Options: --max-jobs-run <n> (jobs at a time), --max-retries <n> (runs of a job that failed, after the first),
--together true (when a job has failed for good, the others are ended, as they need it),
--num-threads <n>, --mem <size>, --gpu <n>, --time <time>, --config <file>, and the scheduler's own (-l, -q, -pe ...).
END
    exit $status;
}

# Move options from @$argv to the call: --name to options (name => value), the scheduler's own to pass, unchanged.
sub take_options {
    my ($argv, $call) = @_;
    while (@$argv && $argv->[0] =~ /^-./) {
        my ($name, @values) = split /=/, shift @$argv, 2;
        print_usage(*STDOUT, 0) if $name =~ /^(--help|-h)$/;
        my $num = $num_values{$name} // 1;
        push @values, shift @$argv while @values < $num && @$argv;
        @values == $num && !grep { /^--/ } @values or refuse("$name needs a value");
        $name = '--max-jobs-run' if $name eq '-tc';
        if ($name =~ /^--(.+)/) {
            $call->{options}{$1 =~ tr/_/-/r} = $values[0];
        } else {
            push @{$call->{pass}}, $name, @values;
        }
    }
}

sub take_range {
    my ($argv, $call) = @_;
    return unless @$argv && $argv->[0] =~ /^([A-Za-z_]\w*)=(\d*(?::.*)?)$/ && length $2;
    my ($name, $range) = ($1, $2);
    $range =~ /^(\d{1,9})(?::(\d{1,9}))?$/ or refuse("$argv->[0] is not a range of jobs such as $name=1:40");
    my ($first, $last) = ($1, $2 // $1);
    $first >= 1 && $first <= $last or refuse("$argv->[0] is not a range of jobs: 1 <= first <= last");
    @$call{qw(job_name first last)} = ($name, $first, $last);
    shift @$argv;
}

# Return the call as a hash: options (name => value), pass (the scheduler's own options, as words), job_name (undef: one
# job without a number), first, last, and log and command (a list of words), in which job_of replaces job_name.
# $configure, if given, is called with the options and returns the names of further known options.
sub parse_command_line {
    my ($argv, $configure) = @_;
    my @argv = @$argv;
    my %call = (options => {}, pass => [], first => 1, last => 1);
    my $options = $call{options};
    take_options(\@argv, \%call);
    take_range(\@argv, \%call);
    take_options(\@argv, \%call);
    take_range(\@argv, \%call) unless defined $call{job_name};
    my @known = (@common, map { "--$_" } $configure ? $configure->($options) : ());
    my %known = map { $_ => 1 } @known;
    for my $name (sort map { "--$_" } keys %$options) {
        $known{$name} or refuse("unknown option $name; known are @known");
    }
    print_usage(*STDERR, 2) if @argv < 2;
    @call{qw(log command)} = (shift @argv, [@argv]);
    my %least = ('max-jobs-run' => 1, 'num-threads' => 1, 'max-retries' => 0);
    for my $name (sort grep { defined $options->{$_} } keys %least) {
        my $value = $options->{$name};
        $value =~ /^\d{1,9}$/ && $value >= $least{$name}
            or refuse("--$name is a whole number from $least{$name}, not '$value'");
    }
    my $together = $options->{together} // 'false';
    $together =~ /^(true|false)$/ or refuse("--together is true or false, not '$together'");
    if ($call{last} > $call{first} && index($call{log}, $call{job_name}) < 0) {
        refuse("$call{log}: several jobs cannot share one log; put $call{job_name} into its name");
    }
    return \%call;
}

# Return job $id of a call: its log and command.
sub job_of {
    my ($call, $id) = @_;
    my ($log, @command) = ($call->{log}, @{$call->{command}});
    if (defined(my $name = $call->{job_name})) {
        s/\Q$name\E/$id/g for $log, @command;
    }
    return {id => $id, log => $log, command => \@command};
}

# Quote a word so that bash reads exactly these bytes.
sub shell_quote {
    my ($word) = @_;
    return $word if $word =~ m{^[\w\@%+=:,./-]+$}a;
    if ($word =~ /[\x00-\x1f\x7f]/) {    # a log's first line stays one line
        $word =~ s/([\\'])/\\$1/g;
        $word =~ s/([\x00-\x1f\x7f])/sprintf '\\%03o', ord $1/ge;
        return "\$'$word'";
    }
    $word =~ s/'/'\\''/g;
    return "'$word'";
}

# Return the command as one line for bash: operators and leading VAR=value as they are, all else quoted.
sub shell_line {
    my ($at_start, @line) = (1);
    for my $word (@_) {
        if ($operators{$word}) {
            push @line, $word;
            $at_start = $starts_command{$word} // $at_start;
        } elsif ($at_start && $word =~ /^([A-Za-z_]\w*=)(.*)$/s) {
            push @line, $1 . (length $2 ? shell_quote($2) : '');
        } else {
            push @line, $at_start && $word =~ /=/ ? "'$word'" : shell_quote($word);
            $at_start = 0;
        }
    }
    return join ' ', @line;
}

# Return whether only bash can run the command; else it is executed directly.
sub needs_shell {
    return $_[0] =~ /^[A-Za-z_]\w*=/ || grep { $operators{$_} } @_;
}

sub now { return strftime('%a %b %e %H:%M:%S %Z %Y', localtime) }

# Replace this process by a job's command, with output to its log and an empty stdin.
sub become_command {
    my ($job) = @_;
    $SIG{$_} = 'DEFAULT' for grep { ref $SIG{$_} } qw(INT TERM HUP USR1 USR2 XCPU CHLD PIPE);
    open STDIN, '<', '/dev/null' or POSIX::_exit(126);
    open STDOUT, '>>', $job->{log} or POSIX::_exit(126);
    open STDERR, '>&', \*STDOUT or POSIX::_exit(126);
    my @command = @{$job->{command}};
    @command = ('bash', '-c', 'set -o pipefail; ' . shell_line(@command)) if needs_shell(@command);
    no warnings 'exec';
    exec {$command[0]} @command;
    my ($error, $code) = ($!, $!{ENOENT} ? 127 : 126);
    syswrite STDERR, "$me: error: cannot run $command[0]: $error\n";
    POSIX::_exit($code);
}

# Begin the log of a job, or append to that of an earlier run ($again); die with a message if it cannot be written.
sub log_header {
    my ($log, $command, $again) = @_;
    make_path(dirname($log), {error => \my $failed});
    my $line = shell_line(@$command);
    open my $out, $again ? '>>' : '>', $log or die "$log: cannot write: $!\n";
    print $out "# $line\n# Running on ", hostname(), "\n# Started at ", now(), "\n#\n";
    close $out or die "$log: cannot write: $!\n";
}

# End the log of a job, whose $? is $status; return whether the lines were written.
sub log_footer {
    my ($log, $status, $seconds, $threads) = @_;
    my $code = exit_code($status);
    open my $out, '>>', $log or return 0;
    print $out "#\n";
    print $out "# Killed by signal ", describe_signal($status & 127), "\n" if $status & 127;
    print $out "# Accounting: time=$seconds threads=$threads\n";
    print $out "# Ended (code $code) at ", now(), ", elapsed time $seconds seconds\n";
    return close $out;
}

# Return the exit code as a shell has it: 128 + N for signal N.
sub exit_code {
    my ($status) = @_;
    return $status & 127 ? 128 + ($status & 127) : $status >> 8;
}

sub describe_signal {
    my ($number) = @_;
    my $name = (split ' ', $Config{sig_name})[$number] // '?';
    return "$number (SIG$name" . ($name eq 'KILL' ? '; as when memory runs out)' : ')');
}

sub describe_status {
    my ($status) = @_;
    my $code = exit_code($status);
    return "code $code" unless $code > 128 && $code < 128 + 65;    # bash passes on a signal as 128 + N
    return "code $code: killed by signal " . describe_signal($code - 128);
}

# Return the last lines that the command itself wrote to a log, in its last run.
sub log_tail {
    my ($log) = @_;
    open my $in, '<', $log or return "(cannot be read: $!)";
    my $size = -s $in;
    seek $in, $size - 65536, 0 if $size > 65536;
    my $said = join('', <$in>) =~ s/.*^# Started at [^\n]*\n//msr;
    my @lines = grep { !/^# (Accounting|Ended|Killed)|^#?\s*$/ } split /^/m, $said;
    s/[\x00-\x08\x0b-\x1f\x7f]//g, s/\s+$//, $_ = length > 1000 ? substr($_, 0, 1000) . ' ...' : $_ for @lines;
    return @lines > $tail_lines ? @lines[-$tail_lines .. -1] : @lines;
}

# Say on stderr that jobs failed, and why the first did. @failed: hashes with id, log and status ($?), in the order of
# id; a reason replaces status and log.
sub report_failures {
    my ($call, @failed) = @_;
    my $first = $failed[0];
    my $why = $first->{reason} // describe_status($first->{status});
    my $total = $call->{last} - $call->{first} + 1;
    my $what = defined $call->{job_name}
        ? @failed . " of $total job" . ($total > 1 ? 's' : '') . " failed, the first is job $first->{id}"
        : 'the job failed';
    my @tail = $first->{reason} ? () : log_tail($first->{log});
    my $said = "error: $what ($why); see $first->{log}" . (@tail ? ', which ends:' : '') . "\n";
    $said .= "  $_\n" for @tail;
    print STDERR "$me: $said";
    if (defined $stage_log && open my $out, '>>', $stage_log) {
        print $out strftime('%F %T', localtime), " $me: $said";
    }
}

# Return the highest exit status of failed jobs; a job without one, or killed, counts as 1: the 128 + N of a signal
# would say that this script was killed, which tools/say.sh tells.
sub worst_status {
    return max map { my $code = exit_code($_->{status} // 0); $code && $code <= 128 ? $code : 1 } @_;
}

# Start a process that outlives this one, and return a handle. Print "+name\n" and "-name\n" to it: when this process
# ends, even by SIGKILL, $clean_up is called with the names that were added and not removed.
sub watch {
    my ($clean_up) = @_;
    pipe my $in, my $out or die "cannot make a pipe: $!\n";
    my $pid = fork // die "cannot fork: $!\n";
    if ($pid) {
        close $in;
        $out->autoflush(1);
        return $out;
    }
    close $out;
    setpgid(0, 0);
    $SIG{$_} = 'IGNORE' for qw(INT TERM HUP);
    open STDIN, '<', '/dev/null';
    open STDOUT, '>', '/dev/null';
    open STDERR, '>', '/dev/null';
    my %names;
    while (my $line = <$in>) {
        my ($added, $name) = $line =~ /^([+-])(.+)$/;
        $added eq '+' ? ($names{$name} = 1) : delete $names{$name};
    }
    $clean_up->(sort keys %names) if %names;
    POSIX::_exit(0);
}

1;
