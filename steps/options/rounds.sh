# shellcheck shell=bash disable=SC2034
# Recordings without labels
unlabelled=           # DIR: train on these too, with clusters as speakers; a data dir, its labels are not read
num_rounds=3          # most rounds of clustering and training; 0: train on the labelled speakers alone
teacher=              # DIR: system, such as an imported one, that makes the first clusters; without --unlabelled: to learn from
pseudo_labels=        # FILE: "utt spk" to train on in place of clusters, in one round
truth=                # FILE: "utt spk", the true speakers: clusters are measured against them, nothing else
min_utts=4            # utterances of the smallest cluster that is trained on
false_links=0.01      # largest share of clusters that are linked to a wrong labelled speaker
