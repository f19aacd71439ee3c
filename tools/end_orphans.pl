#!/usr/bin/env perl
# Wait for the end of a process, however it ends, and then end what it has left running on this machine.
#
#   end_orphans.pl <pid> <start>       start: of the process, in ticks since the machine was started
#
# What it has left is known by SV_GUARDED=<pid>.<start> in the environment: SIGTERM, and SIGKILL 5 seconds later for what
# is still there. queue.pl and slurm.pl take as long as they need, to take their jobs out of the queue.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use SvSpool;

my ($pid, $start) = @ARGV;
my $grace_seconds = 5;

# Processes that were started under the mark, by their ids, with their command lines.
sub left_behind {
    my %left;
    opendir my $dir, '/proc' or return;
    for my $id (grep { /^\d+$/ && $_ != $$ } readdir $dir) {
        my ($environment) = SvSpool::read_lines("/proc/$id/environ");
        next if !grep { $_ eq "SV_GUARDED=$pid.$start" } split /\0/, $environment // '';
        ($left{$id}) = SvSpool::read_lines("/proc/$id/cmdline");
    }
    return %left;
}

sub nap { select undef, undef, undef, $_[0] }

$SIG{$_} = 'IGNORE' for qw(INT TERM HUP);
nap(0.3) while SvSpool::start_time($pid) eq $start;
my %left = left_behind();
kill 'TERM', keys %left;
my $give_up = time + $grace_seconds;
while (%left && time < $give_up) {
    nap(0.1);
    %left = left_behind();
}
kill 'KILL', grep { ($left{$_} // '') !~ m{(queue|slurm)\.pl\0} } keys %left;
