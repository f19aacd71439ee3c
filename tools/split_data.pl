#!/usr/bin/env perl
# Distribute the lines of a data dir over the folders of split_data.sh, which calls this.
#
#   split_data.pl <data-dir> <folder> <num-parts> spk|utt <file keyed by utterance>...
#
# Writes <folder>/<part>/<file>. A part has successive utterances or, with spk, all utterances of successive speakers,
# in numbers as equal as that allows. All tables are sorted by their ids; only speakers are held in memory.

use strict;
use warnings;

my ($dir, $folder, $num_parts, $unit, @files) = @ARGV;
my $flush_bytes = 1 << 16;
my (%part_of_speaker, $num_utts);

sub fail { print STDERR "split_data.sh: error: @_\n"; exit 1 }

sub open_table {
    my ($file) = @_;
    open my $in, '<', "$dir/$file" or fail("$dir/$file: cannot be read: $!");
    return $in;
}

# Put each speaker into the part where its middle utterance falls; every part gets at least one speaker.
sub assign_speakers {
    my @speakers;
    my $in = open_table('spk2utt');
    while (my $line = <$in>) {
        my ($speaker) = $line =~ /^(\S+)/;
        my $count = () = $line =~ /\S+/g;
        push @speakers, [$speaker, $count - 1];
        $num_utts += $count - 1;
    }
    if ($unit eq 'spk' && @speakers < $num_parts) {
        fail("$dir has " . @speakers . " speakers, too few for $num_parts parts; ask for fewer, or say --per-utt");
    } elsif ($num_utts < $num_parts) {
        fail("$dir has $num_utts utterances, too few for $num_parts parts; ask for fewer");
    }
    my ($part, $before) = (0, 0);
    for my $i (0 .. $#speakers) {
        my ($speaker, $count) = @{$speakers[$i]};
        my $wanted = int(($before + $count / 2) * $num_parts / $num_utts) + 1;
        my $at_least = $num_parts - ($#speakers - $i);    # so that the speakers left reach the last part
        $part++ if $part < $wanted || $part < $at_least;
        $part_of_speaker{$speaker} = $part;
        $before += $count;
    }
}

# Return a writer of lines to the parts of one file. It buffers the lines, since the number of open files is limited.
sub part_writer {
    my ($file) = @_;
    my @buffer = ('') x ($num_parts + 1);
    my $flush = sub {
        my ($part) = @_;
        open my $out, '>>', "$folder/$part/$file" or fail("$folder/$part/$file: cannot write: $!");
        print $out $buffer[$part];
        close $out or fail("$folder/$part/$file: cannot write: $!");
        $buffer[$part] = '';
    };
    return sub {
        my ($part, $line) = @_;
        if (!defined $part) {
            $flush->($_) for 1 .. $num_parts;
            return;
        }
        $buffer[$part] .= $line;
        $flush->($part) if length $buffer[$part] > $flush_bytes;
    };
}

# Return an iterator: each call returns the next (utterance, part).
sub parts_of_utts {
    my $in = open_table('utt2spk');
    return sub {
        my $line = <$in> // return;
        my ($utt, $speaker) = split ' ', $line;
        my $part = $unit eq 'spk' ? $part_of_speaker{$speaker} : int(($. - 1) * $num_parts / $num_utts) + 1;
        return ($utt, $part // fail("$dir/utt2spk:$.: speaker $speaker is not in spk2utt"));
    };
}

sub split_by_utt {
    my ($file) = @_;
    my ($next, $write, $in) = (parts_of_utts(), part_writer($file), open_table($file));
    my ($utt, $part) = $next->();
    while (my $line = <$in>) {
        my ($key) = $line =~ /^(\S+)/;
        ($utt, $part) = $next->() while defined $utt && $utt lt $key;
        $write->($part, $line) if defined $utt && $utt eq $key;
    }
    $write->();
}

assign_speakers();
mkdir "$folder/$_" or fail("$folder/$_: cannot make it: $!") for 1 .. $num_parts;
split_by_utt($_) for @files;
