# shellcheck shell=bash disable=SC2034
# Processes of a training
gpus=auto             # "0,1": those, a process each; auto: one if there is one; none: CPU
num_procs=1           # training processes on the CPU, where no GPU is used
num_threads=0         # threads of a training process on the CPU; 0: all cores
num_nodes=1           # jobs that train together, each with these GPUs or processes (docs/cluster.md)
