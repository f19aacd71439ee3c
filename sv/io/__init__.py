"""Formats: Kaldi data directories, ark and scp, trials and scores.

All are checked as they are read, and written whole or not at all.
"""

from sv.io.ark import ArkHeader, ArkWriter, read_header, read_matrix, read_vector
from sv.io.atomic import atomic_write, sha256_of
from sv.io.data_dir import DataDir, part_rows
from sv.io.json_yaml import parse_yaml, read_json, read_yaml
from sv.io.paths import path_from, read_path, written_path
from sv.io.score_writer import ScoreWriter
from sv.io.scores import (
    ScoredTrials,
    check_scores_of_list,
    iter_same_trials,
    iter_scored_trials,
    read_scored_trials,
)
from sv.io.tables import base_speaker, check_id, iter_table, original_speakers, read_scp, read_table, write_table
from sv.io.trials import Trials, check_both_kinds, read_enroll_map, read_trials
from sv.io.vectors import Vectors, read_vectors

__all__ = [
    "ArkHeader",
    "ArkWriter",
    "DataDir",
    "ScoreWriter",
    "ScoredTrials",
    "Trials",
    "Vectors",
    "atomic_write",
    "base_speaker",
    "check_both_kinds",
    "check_id",
    "check_scores_of_list",
    "iter_same_trials",
    "iter_scored_trials",
    "iter_table",
    "original_speakers",
    "parse_yaml",
    "part_rows",
    "path_from",
    "read_enroll_map",
    "read_header",
    "read_json",
    "read_matrix",
    "read_path",
    "read_scored_trials",
    "read_scp",
    "read_table",
    "read_trials",
    "read_vector",
    "read_vectors",
    "read_yaml",
    "sha256_of",
    "write_table",
    "written_path",
]
