"""Work shared by several jobs: parts, marks of finished work, locks, free disk, GPUs, ties between processes."""

from sv.jobs.done import DoneMark, claim_folder
from sv.jobs.lock import folder_lock

__all__ = ["DoneMark", "claim_folder", "folder_lock"]
