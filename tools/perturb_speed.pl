#!/usr/bin/env perl
# Adapt one table to another speed, stdin to stdout; for perturb_data_dir_speed.sh.
#
#   perturb_speed.pl <factor> wav.scp|utt2dur|reco2dur|segments

use strict;
use warnings;

if (@ARGV != 2) {
    print STDERR "Usage: perturb_speed.pl <factor> wav.scp|utt2dur|reco2dur|segments\n",
        "e.g.: perturb_speed.pl 0.9 wav.scp < data/train/wav.scp\n";
    exit 2;
}
my ($factor, $file) = @ARGV;

sub quote {
    my ($word) = @_;
    return $word if $word =~ m{^[\w\@%+=:,./-]+$}a;
    return "'" . $word =~ s/'/'\\''/gr . "'";
}

# Return the command that Kaldi's tool of that name writes for a pipe, for audio in an ark, or for a file.
sub perturb_audio {
    my ($audio) = @_;
    my $sox = "-t wav - speed $factor |";
    return "$1 | sox -t wav - $sox" if $audio =~ /^(.*\S)\s*\|$/;
    return 'wav-copy ' . quote($audio) . " - | sox -t wav - $sox" if $audio =~ /:\d+$/;
    my $type = $audio =~ /\.([A-Za-z0-9]+)$/ ? lc $1 : 'wav';
    return "sox -t $type " . quote($audio) . " $sox";
}

# Return seconds with six decimals; trailing zeros tell sv.audio.durations how exact a duration is.
sub divide {
    my ($time) = @_;
    return sprintf('%.6f', $time / $factor);
}

while (my $line = <STDIN>) {
    my ($id, $value) = $line =~ /^(\S+)\s+(.*\S)/ or die "perturb_speed.pl: error: $file:$.: has no value\n";
    if ($file eq 'wav.scp') {
        $value = perturb_audio($value);
    } elsif ($file eq 'segments') {
        my ($recording, @times) = split ' ', $value;
        $value = join ' ', $recording, map { divide($_) } @times;
    } else {
        $value = divide($value);
    }
    print "$id $value\n";
}
close STDOUT or die "perturb_speed.pl: error: cannot write: $!\n";
