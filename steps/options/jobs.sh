# shellcheck shell=bash disable=SC2034
# Jobs
nj=16                 # parallel jobs
cmd="${SV_CMD:-run.pl}" # how jobs run: run.pl here, "queue.pl --mem 4G" or "slurm.pl --mem 4G" (docs/cluster.md)
