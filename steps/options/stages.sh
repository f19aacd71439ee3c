# shellcheck shell=bash disable=SC2034
# Stages
stage=1               # first stage to run
stop_stage=8          # last stage to run (9, large-margin fine-tuning, only when asked)
dry_run=false         # true|false: print what is already done and the plan of the training; run nothing
