"""Work in several jobs: its parts, marks of finished work, locks, disk, and ties between processes."""

from sv.jobs.done import DoneMark, claim_folder
from sv.jobs.lock import folder_lock

__all__ = ["DoneMark", "claim_folder", "folder_lock"]
