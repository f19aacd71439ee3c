# shellcheck shell=bash disable=SC2034
# Features
fbank=                # DIR: feature archives (default: <data>/fbank)
train_feats=          # ark: arks of stage 2; online: waveforms, augmented in training; shard: tar shards [train_feats]
data_type=            # feat|raw|shard: WeSpeaker's names of the same [train_feats]
speeds=               # speed-perturbed copies of the training data, each with speakers of its own, such as "0.9 1.1"
augment=              # with ark: augmented copies of the training data, some of "reverb noise music babble mixed"
backend_augment=      # augmented copies that back-ends are also trained and calibrated on, as in "mixed"
musan=                # DIR: MUSAN, to augment with (default: synthetic noise)
rirs=                 # DIR: RIRS_NOISES, to augment with (default: synthetic rooms)
check_audio=true      # true|false: before stage 2, decode every file once, look for faults and print a table of hours
allow_pipes=false     # true|false: run the commands in wav.scp; only for lists that you trust
verify=false          # true|false: compare existing files by checksum, not only by size
