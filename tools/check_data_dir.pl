#!/usr/bin/env perl
# Check a data dir for validate_data_dir.sh; files are read line by line, and none is held in memory.
#
#   check_data_dir.pl <data-dir> <name in messages> no_feats=true|false ...          (options of validate_data_dir.sh)
#
# Prints one line to stderr and exits with status 1 at the first fault. Lines are compared as bytes, as LC_ALL=C sort
# does.

use strict;
use warnings;
use POSIX qw(strftime);

my ($dir, $shown, @options) = @ARGV;
my %flag = map { /^(\w+)=(\w+)$/ ? ($1 => $2 eq 'true') : () } @options;
my $fix = "run tools/fix_data_dir.sh $shown";

# Ids and lines that need no closer look; the checks below are some ten times slower.
my $plain_id = qr{(?![/.]|\S*/\.)[\w\@%+=:,./~^#-]{1,1000}}a;
my $plain_line = qr{^($plain_id)[ \t]+([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)\n$};

# Checks of the value after the id; each returns what is wrong, or nothing.
my %check_value = (
    'utt2spk' => sub { $_[0] =~ /^$plain_id$/o ? undef : check_columns(1, @_) // check_id(@_) },
    'wav.scp' => sub { $_[0] =~ /^\s*\|\s*$/ ? 'a pipe without a command' : undef },
    'feats.scp' => \&check_ark,
    'vad.scp' => \&check_ark,
    'cmvn.scp' => \&check_ark,
    'segments' => \&check_segment,
    'utt2num_frames' => sub { $_[0] =~ /^[1-9]\d*$/ ? undef : "'$_[0]' is not a number of frames" },
    'utt2dur' => \&check_duration,
    'reco2dur' => \&check_duration,
    'utt2uniq' => sub { check_columns(1, @_) },
    'spk2gender' => sub { $_[0] =~ /^[mf]$/ ? undef : "'$_[0]' is not m or f" },
    'spk2age' => sub { $_[0] =~ /^\d{1,3}(\.\d+)?$/ ? undef : "'$_[0]' is not an age in years" },
    'text' => sub { !$flag{non_print} && $_[0] =~ /\p{C}/ ? 'a character that cannot be printed' : undef },
);

sub fault {
    my ($file, $line, $what) = @_;
    utf8::encode($what) if utf8::is_utf8($what);
    my $said = "validate_data_dir.sh: error: $shown/$file" . ($line ? ":$line" : '') . ": $what\n";
    print STDERR $said;
    if (defined $ENV{SV_STAGE_LOG} && open my $log, '>>', $ENV{SV_STAGE_LOG}) {
        print $log strftime('%F %T ', localtime), $said;
    }
    exit 1;
}

sub decoded { utf8::decode(my $text = $_[0]); return $text }

sub shorten { return length $_[0] > 80 ? substr($_[0], 0, 80) . '...' : $_[0] }

sub check_columns {
    my ($wanted, $value) = @_;
    my $found = () = $value =~ /\S+/g;
    return $found == $wanted ? undef : 'expected ' . ($wanted + 1) . ' columns, found ' . ($found + 1);
}

# Ids become parts of paths and of command lines; the same rule as check_id in sv/io/tables.py.
sub check_id {
    my ($id) = @_;
    my $name = "id '" . shorten($id) . "'";
    return "$name holds '$1'; rename it" if $id =~ /(['"`;|<>&\$\\*?(){}\[\]!])/;
    return sprintf "$name holds the character U+%04X; rename it", ord $1 if $id =~ /([\p{C}\p{Z}])/;
    return "an id of " . length($id) . " characters; 1 to 1000 are allowed" if length $id > 1000;
    return "$name holds '$1'; rename it" if $id =~ m{(?:^|/)(\.\.?)(?:/|$)};
    return "$name begins with '/'; rename it" if $id =~ m{^/};
    return;
}

my %ark_size;

sub check_ark {
    my ($value) = @_;
    my ($path, $offset) = $value =~ /^(.*\S):(\d+)(?:\[[\d:,]*\])?$/
        or return "'" . shorten($value) . "' is not ark:offset; make the features again";
    return unless $flag{check_arks};
    utf8::encode($path);
    $path = "$dir/$path" if $path =~ m{^\.\.?/};    # from the folder of the scp: sv/io/paths.py
    $ark_size{$path} //= -f $path ? -s _ : -1;
    return "$path does not exist; make the features again" if $ark_size{$path} < 0;
    return "$path has $ark_size{$path} bytes, none at $offset: cut short; make the features again"
        if $offset >= $ark_size{$path};
    return;
}

sub check_duration {
    my ($value) = @_;
    my $is_number = $value =~ /^(\d+\.?\d*|\.\d+)(e[-+]?\d{1,3})?$/i && $value > 0 && $value < 1e9;
    return $is_number ? undef : "'$value' is not a duration in seconds";
}

sub check_segment {
    my ($value) = @_;
    if (my $wrong = check_columns(3, $value)) {
        return "$wrong: utt recording start end";
    }
    my ($recording, $start, $end) = split ' ', $value;
    return "end $end: Kaldi's -1, the end of the recording, is not read here; write the recording's seconds"
        if $end =~ /^-1(\.0*)?$/;
    for my $time ($start, $end) {
        return "'$time' is not a time in seconds, from 0 on" unless $time =~ /^(\d+\.?\d*|\.\d+)(e[-+]?\d{1,3})?$/i;
    }
    return "end $end is not after start $start" unless $start < $end;
    return check_id($recording);
}

# Return an iterator over a table: each call returns (id, value, line number), checked; nothing at the end. With
# `plain`, for a file that was checked before, nothing is checked.
sub rows {
    my ($file, %how) = @_;
    open my $in, '<', "$dir/$file" or fault($file, 0, "cannot be read: $!");
    fault($file, 0, 'is empty; make it again') unless -s $in;
    my ($last, $number, $check_value) = ('', 0, $check_value{$file});
    return sub {
        my $line = <$in> // return;
        $number++;
        return ($line =~ /^(\S+)[ \t]+(.*\S)/, $number) if $how{plain};
        my ($key, $value) = $line =~ /$plain_line/o ? ($1, $2) : check_line($file, $number, $line);
        if ($check_value) {
            my $wrong = $check_value->($value);
            fault($file, $number, decoded($key) . ": $wrong") if $wrong;
        }
        check_order($file, $number, $last, $key) if $key le $last;
        $last = $key;
        return ($key, $value, $number);
    };
}

sub check_line {
    my ($file, $number, $line) = @_;
    fault($file, $number, "a byte-order mark (BOM) before the first id; $fix") if $line =~ /^\xef\xbb\xbf/;
    fault($file, $number, "DOS line end (CRLF); $fix") if $line =~ /\r\n?$/;
    fault($file, $number, 'the line does not end: cut short; make the file again') unless $line =~ s/\n$//;
    utf8::decode($line) or fault($file, $number, 'not UTF-8 text; write it again as UTF-8');
    fault($file, $number, "an empty line; $fix") if $line =~ /^\s*$/;
    fault($file, $number, "blanks before the id; $fix") if $line =~ /^\s/;
    if ($file ne 'text' && $line =~ /([\x00-\x08\x0a-\x1f\x7f])/) {
        fault($file, $number, sprintf 'the control character U+%04X; make the file again', ord $1);
    }
    my ($key, $value) = split /[ \t]+/, $line, 2;
    my $wrong = check_id($key);
    fault($file, $number, $wrong) if $wrong;
    $value = ($value // '') =~ s/\s+$//r;
    if ($value eq '') {
        fault($file, $number, $file eq 'spk2utt' ? "speaker $key has no utterance; $fix" : "$key has no value; $fix");
    }
    utf8::encode($key);    # ids are compared as bytes
    return ($key, $value);
}

sub check_order {
    my ($file, $number, $last, $key) = @_;
    fault($file, $number, "$key comes twice; $fix") if $key eq $last;
    fault($file, $number, "not sorted: $key comes after $last; sort it with LC_ALL=C sort, or $fix");
}

sub check_utt2spk {
    my $next = rows('utt2spk');
    my $last = '';
    while (my ($utt, $spk, $number) = $next->()) {
        if ($spk lt $last && !$flag{no_spk_sort}) {
            fault('utt2spk', $number, "speaker $spk comes after $last: sorted by utterance, but not by speaker; put "
                    . "the speaker before its utterances: tools/copy_data_dir.sh --speaker-prefix true $shown <new-dir>");
        }
        $last = $spk;
    }
}

# Check that spk2utt says the same as utt2spk, in any order within a line.
sub check_spk2utt {
    my $next = rows('spk2utt');
    1 while $next->();
    my $remake = "make it again: utt2spk_to_spk2utt.pl $shown/utt2spk > $shown/spk2utt";
    my $command = 'set -o pipefail; awk \'{ for (i = 2; i <= NF; i++) print $i, $1 }\' "$0/spk2utt" | sort';
    open my $turned, '-|', 'bash', '-c', $command, $dir or die "cannot run bash: $!\n";
    $next = rows('utt2spk', plain => 1);
    my $last = '';
    while (defined(my $line = <$turned>)) {
        my ($utt, $spk) = split ' ', $line;
        fault('spk2utt', 0, "$utt comes twice; $remake") if $utt eq $last;
        my ($known_utt, $known_spk) = $next->();
        $known_utt //= '';
        if ($known_utt eq '' || $utt lt $known_utt) {
            fault('spk2utt', 0, "$utt of $spk is not in utt2spk; $remake");
        } elsif ($utt gt $known_utt) {
            fault('spk2utt', 0, "lacks $known_utt of $known_spk, which is in utt2spk; $remake");
        } elsif ($spk ne $known_spk) {
            fault('spk2utt', 0, "$utt belongs to $spk here and to $known_spk in utt2spk; $remake");
        }
        $last = $utt;
    }
    close $turned or die "cannot sort $dir/spk2utt\n";
    if (my ($utt, $spk) = $next->()) {
        fault('spk2utt', 0, "lacks $utt of $spk, which is in utt2spk; $remake");
    }
}

# Check all rows of a table, and its ids against those of `known`, an iterator over a correct table. Unless `partial`,
# the table must have all of these ids.
sub check_against {
    my ($file, $known, $known_name, $what, $partial) = @_;
    my $next = rows($file);
    my ($id) = $known->();
    my (@missing, @extra);    # (number, first id, its line)
    my $miss = sub { $missing[0]++; $missing[1] //= $id; ($id) = $known->() };
    while (my ($key, undef, $number) = $next->()) {
        $miss->() while defined $id && $id lt $key;
        if (defined $id && $id eq $key) {
            ($id) = $known->();
        } else {
            @extra = ($extra[0] ? $extra[0] + 1 : 1, $extra[1] // $key, $extra[2] // $number);
        }
    }
    $miss->() while defined $id;
    if (@extra) {
        my $others = $extra[0] > 1 ? ' and ' . ($extra[0] - 1) . ' more are' : ' is';
        fault($file, $extra[2], "$what $extra[1]$others not in $known_name; $fix");
    }
    return if $partial || !@missing;
    fault($file, 0, "lacks $missing[0] $what" . ($missing[0] > 1 ? 's' : '') . " of $known_name, first $missing[1]; "
            . "make it whole, or $fix to leave out what is not in all files");
}

# Check that segments and wav.scp have the same recordings.
sub check_recordings {
    my $command = 'set -o pipefail; awk \'{ print $2 }\' "$0/segments" | sort -u';
    my $next = rows('wav.scp');
    open my $used, '-|', 'bash', '-c', $command, $dir or die "cannot run bash: $!\n";
    my $recording = sub { my $line = <$used> // return; chomp $line; return $line };
    my $id = $recording->();
    while (my ($key, undef, $number) = $next->()) {
        last if defined $id && $id lt $key;
        fault('wav.scp', $number, "recording $key is not in segments; $fix") if !defined $id || $key lt $id;
        $id = $recording->();
    }
    fault('segments', 0, "recording $id is not in wav.scp; bring it back, or $fix") if defined $id;
    close $used or die "cannot sort $dir/segments\n";
}

sub require_file {
    my ($file, $remedy) = @_;
    -e "$dir/$file" or fault($file, 0, "does not exist; $remedy");
    -f _ or fault($file, 0, 'is not a file');
}

# Return the files of the data dir whose whole name matches.
sub names {
    my ($pattern) = @_;
    opendir my $in, $dir or die "$dir cannot be read: $!\n";
    return sort grep { /^(?:$pattern)$/ && -f "$dir/$_" } readdir $in;
}

require_file('utt2spk', 'prepare the data (stage 1)');
require_file('spk2utt', "make it: utt2spk_to_spk2utt.pl $shown/utt2spk > $shown/spk2utt");
require_file('wav.scp', 'prepare the data (stage 1), or say --no-wav') unless $flag{no_wav};
require_file('feats.scp', 'make it with steps/make_fbank.sh (stage 2), or say --no-feats') unless $flag{no_feats};
check_utt2spk();
check_spk2utt();

my $has_segments = -e "$dir/segments";
my @per_utt = ('feats.scp', 'vad.scp', 'segments', ($flag{no_text} ? () : 'text'), ($has_segments ? () : 'wav.scp'));
for my $file (names(join '|', @per_utt, '(?!utt2spk$)utt2\w+')) {
    my $partial = $file =~ /^utt2(?!num_frames|dur|uniq|lang)/;    # files that Kaldi does not know may lack utterances
    check_against($file, rows('utt2spk', plain => 1), 'utt2spk', 'utterance', $partial);
}
check_recordings() if $has_segments && -e "$dir/wav.scp";
for my $file (-e "$dir/wav.scp" ? names('reco2dur|reco2file_and_channel') : ()) {
    check_against($file, rows('wav.scp', plain => 1), 'wav.scp', 'recording');
}
for my $file (names('(?!spk2utt$)spk2\w+|cmvn.scp')) {
    check_against($file, rows('spk2utt', plain => 1), 'spk2utt', 'speaker', $file ne 'cmvn.scp');
}
