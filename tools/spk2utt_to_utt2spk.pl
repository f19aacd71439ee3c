#!/usr/bin/env perl
# Turn "spk utt1 utt2 ..." lines into "utt spk" lines, in the same order.
#
#   spk2utt_to_utt2spk.pl [spk2utt] | LC_ALL=C sort > utt2spk          (reads stdin without a file)

use strict;
use warnings;

if (@ARGV > 1 || (@ARGV && $ARGV[0] =~ /^-./)) {
    print STDERR "Usage: spk2utt_to_utt2spk.pl [<spk2utt>] > utt2spk\n",
        "e.g.: spk2utt_to_utt2spk.pl data/train/spk2utt | LC_ALL=C sort > data/train/utt2spk\n";
    exit 2;
}
my $name = @ARGV && $ARGV[0] ne '-' ? $ARGV[0] : 'stdin';
-d $name || ($name ne 'stdin' && !-r _) and fail("$name: cannot be read");
while (my $line = <>) {
    my ($spk, @utts) = split ' ', $line;
    @utts or fail("$name:$.: expected 'spk utt1 utt2 ...', found " . (defined $spk ? 'no utterance' : 'nothing'));
    print "$_ $spk\n" for @utts;
}
close STDOUT or fail("cannot write: $!");

sub fail { print STDERR "spk2utt_to_utt2spk.pl: error: @_\n"; exit 1 }
