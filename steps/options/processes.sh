# shellcheck shell=bash disable=SC2034
# Processes of a training
gpus=auto             # "0,1": a process on each of these; auto: one GPU if there is one; none: CPU
num_procs=1           # number of training processes, if no GPU is used
num_threads=0         # threads of each training process on the CPU; 0: all cores
num_nodes=1           # number of jobs that train together, each with these GPUs or processes (docs/cluster.md)
