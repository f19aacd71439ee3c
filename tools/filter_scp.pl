#!/usr/bin/env perl
# Keep the lines of a table whose id is in a list (the first column of a file), in the order of the table.
#
#   filter_scp.pl [--exclude] [-f <field>] <id-list> [<in.scp>] > out.scp          (stdin without <in.scp>)
#
# --exclude keeps the other lines; -f 2 looks at the second column. If both files are sorted by the id
# (LC_ALL=C), they are merged without being held in memory. Otherwise the list is held.

use strict;
use warnings;

my ($exclude, $field) = (0, 1);
while (@ARGV && $ARGV[0] =~ /^-./) {
    my $option = shift @ARGV;
    if ($option eq '--exclude') {
        $exclude = 1;
    } elsif ($option eq '-f' && @ARGV && $ARGV[0] =~ /^[1-9]\d{0,8}$/) {
        $field = shift @ARGV;
    } else {
        usage("unknown option $option, or no number after it; known are --exclude and -f <field>");
    }
}
usage() if @ARGV < 1 || @ARGV > 2;
my ($list, $scp) = @ARGV;

my $ids = open_table($list);
my $in = defined $scp && $scp ne '-' ? open_table($scp) : \*STDIN;
if ($field == 1 && is_sorted($ids) && is_sorted($in)) {
    merge();
} else {
    look_up();
}
close STDOUT or fail("cannot write: $!");

sub fail { print STDERR "filter_scp.pl: error: @_\n"; exit 1 }

sub open_table {
    my ($path) = @_;
    fail("$path: cannot be read: it is a folder") if -d $path;
    open my $file, '<', $path or fail("$path: cannot be read: $!");
    return $file;
}

sub usage {
    print STDERR "filter_scp.pl: error: @_\n" if @_;
    print STDERR "Usage: filter_scp.pl [--exclude] [-f <field>] <id-list> [<in.scp>] > out.scp\n",
        "e.g.: filter_scp.pl data/dev/utt2spk data/train/feats.scp > data/dev/feats.scp\n";
    exit 2;
}

# Return whether this is a file that can be read twice, with its first column in ascending order.
sub is_sorted {
    my ($file) = @_;
    return 0 unless -f $file;
    my ($last, $sorted) = ('', 1);
    while ($sorted && defined(my $line = <$file>)) {
        my ($key) = $line =~ /^(\S+)/;
        $sorted = defined $key && $key ge $last;
        $last = $key;
    }
    seek $file, 0, 0;
    $. = 0;
    return $sorted;
}

sub merge {
    my ($id, $line) = ('');
    while (defined($line = <$in>)) {
        my ($key) = $line =~ /^(\S+)/;
        while (defined $id && $id lt $key) {
            ($id) = (<$ids> // '') =~ /^(\S+)/;
        }
        print $line if $exclude xor (defined $id && $id eq $key);
    }
}

sub look_up {
    my %is_listed;
    while (my $line = <$ids>) {
        my ($id) = $line =~ /^\s*(\S+)/ or fail("$list:$.: an empty line");
        $is_listed{$id} = undef;
    }
    while (my $line = <$in>) {
        my $key = (split ' ', $line, $field + 1)[$field - 1] // '';
        length $key or fail(($scp // 'stdin') . ":$.: has no column $field");
        print $line if $exclude xor exists $is_listed{$key};
    }
}
