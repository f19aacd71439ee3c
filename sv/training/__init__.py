"""Training: schedules, the loop, checkpoints, several processes, held-out speakers. Begin reading at run.py."""
