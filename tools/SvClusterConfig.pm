package SvClusterConfig;

# Turn options of queue.pl and slurm.pl into options of the scheduler, by a configuration in the syntax of Kaldi's
# conf/queue.conf.

use strict;
use warnings;
use File::Basename qw(basename);
use FindBin;
use Text::ParseWords qw(shellwords);
use SvJobs;

my $me = basename($0);

# Options of the submitters themselves; a configuration may change their defaults.
my %own = ('max-jobs-run' => undef, 'max-retries' => 0, 'fs-delay' => 60, 'scheduler-timeout' => 3600);

# Read a configuration: {command => [words], defaults => {name => value}, options => {name => {value => [words]}}}.
sub parse_config {
    my ($text, $where) = @_;
    my (%config, $number);
    for my $line (split /\n/, $text) {
        $number++;
        $line =~ s/(^|\s)#.*//;
        next if $line !~ /\S/;
        my ($key, $rest) = $line =~ /^\s*(\S+)\s*(.*?)\s*$/;
        my @words = shellwords($rest);
        @words || !length $rest or SvJobs::refuse("$where:$number: a quote does not end: $line");
        if ($key eq 'command' && @words) {
            $config{command} = \@words;
        } elsif ($key eq 'default' && @words == 1 && $words[0] =~ /^([\w-]+)=(.*)$/) {
            $config{defaults}{$1 =~ tr/_/-/r} = $2;
        } elsif ($key eq 'option' && @words && $words[0] =~ /^([\w-]+)=(.+)$/) {
            $config{options}{$1 =~ tr/_/-/r}{$2} = [@words[1 .. $#words]];
        } else {
            SvJobs::refuse("$where:$number: neither `command NAME ...`, `option NAME=VALUE ...` nor "
                    . "`default NAME=VALUE`: $line");
        }
    }
    $config{command} or SvJobs::refuse("$where has no line that begins with `command`");
    return \%config;
}

# Return the configuration of --config FILE, else of the site (conf/queue.conf in the repository), else the built-in
# one.
sub find_config {
    my ($scheduler, $given) = @_;
    my $site = "$FindBin::RealBin/../conf/" . $me =~ s/\.pl$/.conf/r;
    my $file = $given // (-e $site ? $site : undef);
    return parse_config($scheduler->{config}, "the configuration built into $me") if !defined $file;
    open my $in, '<', $file or SvJobs::refuse("--config $file: cannot read: $!");
    local $/;
    return parse_config(<$in> // '', $file);
}

# Set the configuration's defaults in the options, and return the names of all known options.
sub apply_defaults {
    my ($config, $options) = @_;
    my $defaults = {%own, %{$config->{defaults} // {}}};
    $options->{$_} //= $defaults->{$_} for keys %$defaults;
    delete $options->{'max-jobs-run'} if !defined $options->{'max-jobs-run'};
    for my $name (grep { defined $options->{$_} } sort keys %own) {
        my $value = $options->{$name};
        $value =~ /^\d{1,9}$/ or SvJobs::refuse("--$name is a whole number, not '$value'");
    }
    return (keys %own, keys %{$config->{options}});
}

# Return the submission command with its options.
sub submit_words {
    my ($config, $call) = @_;
    my ($options, @words) = ($call->{options}, @{$config->{command}});
    for my $name (sort keys %$options) {
        next if exists $own{$name} || $name =~ /^(config|together)$/;
        my $value = $options->{$name};
        my $known = $config->{options}{$name} // {};
        my $found = $known->{$value} // $known->{'*'};
        $found or SvJobs::refuse("--$name $value: the configuration has no line `option $name=$value ...`"
                . (%$known ? '; known are ' . join(' ', sort keys %$known) : " nor `option $name=* ...`"));
        push @words, map { s/\$0/$value/gr } @$found;
    }
    return (@words, @{$call->{pass}});
}

1;
