#!/usr/bin/env perl
# Print an scp with absolute paths, for Kaldi's own tools. Paths that begin with ./ or ../ start from the scp's folder.
#
#   rebase_scp.pl [--from <dir>] [--to <dir>] [<in.scp>] > out.scp                 (stdin without <in.scp>)
#
# --from is the folder to start from instead; stdin needs it. --to prints paths for an scp in that folder: from there if
# they lead to the folder above it, else absolute. Other paths, and commands, are kept. The same rule as sv/io/paths.py.

use strict;
use warnings;
use Cwd qw(realpath);
use File::Basename qw(dirname);
use File::Spec;

my %dir = (from => undef, to => undef);
while (@ARGV && $ARGV[0] =~ /^--(\w+)$/) {
    usage("unknown option $ARGV[0]") unless exists $dir{$1} && @ARGV > 1;
    my $option = $1;
    shift @ARGV;
    my $folder = shift @ARGV;
    $dir{$option} = realpath($folder);
    fail("--$option $folder is no folder") unless defined $dir{$option} && -d $dir{$option};
}
usage() if @ARGV > 1 || (!@ARGV && !defined $dir{from});
my $in = \*STDIN;
if (@ARGV) {
    fail("$ARGV[0]: cannot be read: it is a folder") if -d $ARGV[0];
    open $in, '<', $ARGV[0] or fail("$ARGV[0]: cannot be read: $!");
    $dir{from} //= realpath(dirname($ARGV[0]));
}
my %known;
while (my $line = <$in>) {
    $line =~ s{^(\S+[ \t]+)(\.\.?/.*?)(?=(?::\d+(?:\[[\d:,]*\])?)?\s*$)}{$1 . ($known{$2} //= rebased($2))}e
        unless $line =~ /\|\s*$/;
    print $line;
}
close STDOUT or fail("cannot write: $!");

sub fail { print STDERR "rebase_scp.pl: error: @_\n"; exit 1 }

sub usage {
    print STDERR "rebase_scp.pl: error: @_\n" if @_;
    print STDERR "Usage: rebase_scp.pl [--from <dir>] [--to <dir>] [<in.scp>] > out.scp\n",
        "e.g.: copy-feats 'scp:tools/rebase_scp.pl data/train/feats.scp |' ark,t:-\n";
    exit 2;
}

# Return the path, given from the folder --from, for the folder --to.
sub rebased {
    my ($path) = @_;
    my ($folder, $name) = ("$dir{from}/$path" =~ m{^(.*)/([^/]*)$});
    my $whole = (realpath($folder) // $folder) . "/$name";
    return $whole unless defined $dir{to};
    my $relative = File::Spec->abs2rel($whole, $dir{to});
    return $whole if $relative =~ m{^\.\./\.\./};
    return $relative =~ m{^\.\./} ? $relative : "./$relative";
}
