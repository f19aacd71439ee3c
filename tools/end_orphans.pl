#!/usr/bin/env perl
# Wait until a process has ended, even by SIGKILL; then end what it has left running on this machine.
#
#   end_orphans.pl <pid> <start>       start: when the process started, in ticks since boot
#
# Its processes have SV_GUARDED=<pid>.<start> in the environment. They get SIGTERM, and SIGKILL 5 seconds later; but
# queue.pl and slurm.pl may take as long as they need to remove their jobs from the queue.

use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use SvSpool;

my ($pid, $start) = @ARGV;
my $grace_seconds = 5;

# Return the processes with this mark: {id => command line}.
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
