#!/usr/bin/env perl
# Turn "utt spk" lines into "spk utt1 utt2 ..." lines; speakers and their utterances keep the order of the input.
#
#   utt2spk_to_spk2utt.pl [utt2spk] > spk2utt          (reads stdin without a file; holds the ids in memory)

use strict;
use warnings;

if (@ARGV > 1 || (@ARGV && $ARGV[0] =~ /^-./)) {
    print STDERR "Usage: utt2spk_to_spk2utt.pl [<utt2spk>] > spk2utt\n",
        "e.g.: utt2spk_to_spk2utt.pl data/train/utt2spk > data/train/spk2utt\n";
    exit 2;
}
my $name = @ARGV && $ARGV[0] ne '-' ? $ARGV[0] : 'stdin';
-d $name || ($name ne 'stdin' && !-r _) and fail("$name: cannot be read");
my (@speakers, %utts);
while (my $line = <>) {
    my @fields = split ' ', $line;
    @fields == 2 or fail("$name:$.: expected 2 columns, utt and spk, found " . @fields);
    push @speakers, $fields[1] unless exists $utts{$fields[1]};
    $utts{$fields[1]} .= " $fields[0]";
}
print "$_$utts{$_}\n" for @speakers;
close STDOUT or fail("cannot write: $!");

sub fail { print STDERR "utt2spk_to_spk2utt.pl: error: @_\n"; exit 1 }
