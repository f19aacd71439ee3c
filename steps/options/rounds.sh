# shellcheck shell=bash disable=SC2034
# Recordings without labels
unlabelled=           # DIR: data dir of recordings to train on as well, with clusters as speakers; labels are not read
num_rounds=3          # maximum number of rounds of clustering and training; 0: train on the labelled speakers only
teacher=              # DIR: system that makes the first clusters; without --unlabelled, the teacher of distillation
pseudo_labels=        # FILE: "utt spk", labels to train on instead of clusters, in one round
truth=                # FILE: "utt spk", the true speakers; they only measure the clusters
min_utts=4            # minimum number of utterances of a cluster that is trained on
false_links=0.01      # maximum share of clusters that are linked to a wrong labelled speaker
