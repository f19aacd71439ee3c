# shellcheck shell=bash disable=SC2034
# Features
fbank=                # DIR: feature archives (default: <data>/fbank)
train_feats=          # ark: the arks of stage 2; online: waveforms, augmented on the fly; shard: tar shards [train_feats]
data_type=            # feat|raw|shard: WeSpeaker's names of the same [train_feats]
speeds=               # speed-perturbed copies of the training data, each with speakers of its own, such as "0.9 1.1"
augment=              # with ark: augmented copies of the training data, of "reverb noise music babble"
musan=                # DIR: MUSAN, to augment with (default: synthetic noise)
rirs=                 # DIR: RIRS_NOISES, to augment with (default: synthetic rooms)
check_audio=true      # true|false: decode every file before stage 2, look for faults, print a table of hours; once
allow_pipes=false     # true|false: run the commands in wav.scp; those of a stranger may do anything
verify=false          # true|false: compare files that are there with their checksums, not by size alone
