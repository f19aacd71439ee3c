# shellcheck shell=bash disable=SC2034
# Jobs
nj=16                 # parallel jobs
cmd="${SV_CMD:-run.pl}" # how jobs run: run.pl here, "queue.pl --mem 4G" or "slurm.pl --mem 4G" on a cluster (docs/cluster.md)
gpus=auto             # "0,1": those, a process each; auto: one if there is one; none: CPU
num_procs=1           # training processes on the CPU, where no GPU is used
num_threads=0         # threads of a training process on the CPU; 0: all cores
num_nodes=1           # jobs that train together, each with these GPUs or processes (docs/cluster.md)
