# shellcheck shell=bash disable=SC2034
# Scoring and fine-tuning
trials=               # trial lists in <test-data>/trials (default: all)
enroll_map=           # FILE: "model utt1 utt2 ..." lines, if the trial lists name enroll models (default: utterances)
matched_trials=       # those of --trials whose non-target pairs share --matched-by; they are calibrated on such pairs
matched_by=           # tables of <train-data>, as in "spk2gender spk2age"; needs --matched-trials
score_norm_method=asnorm # asnorm|snorm|znorm|tnorm: method of stage 6
top_n=300             # nearest speakers of the cohort, for asnorm; the cohort: training speakers not held out
lda_dim=150           # dimensions that LDA keeps before PLDA, below the number of training speakers; 0: no LDA
lm_config=            # FILE: stage 9: what changes in the configuration of the trained system
lm_set=               # stage 9: further keys, as in "num_epochs=3 margin_update.final_margin=0.35"
lm_stop_stage=8       # stage 9: last stage of the fine-tuned system
