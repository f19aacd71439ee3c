"""One pass over a trial list: a block is read, scored, and its lines are written; no more than a block is ever held."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.errors import log
from sv.io import Trials, atomic_write, check_both_kinds, read_trials, write_scores
from sv.io.columns import byte_bar

Column = NDArray[np.floating[Any]]


def score_list(
    trials: Path,
    scores: Path,
    score_block: Callable[[Trials], Sequence[Column]],
    *,
    known: Sequence[str],
    known_enroll: Sequence[str] | None = None,
    source: Path,
    enroll_source: Path | None = None,
) -> int:
    """Write the score file of a trial list, whole or not at all; returns the number of trials.

    On a terminal a bar shows how much of the list is done.

    Args:
        trials: the list.
        scores: the file to write.
        score_block: gives the scores of a block, and the factors that go behind the label, if any; each (trials,).
        known, known_enroll, source, enroll_source: see `read_trials`.

    Raises:
        UserError: see `read_trials`; a list with labels all of which are the same.
    """
    check_both_kinds(trials)
    blocks = read_trials(trials, known, known_enroll=known_enroll, source=source, enroll_source=enroll_source or "")
    count = 0
    with atomic_write(scores) as f, byte_bar(trials, scores.name) as bar:
        for block in blocks:
            values, *factors = score_block(block)
            write_scores(f, block, values, factors)
            count += len(block)
            bar.update(block.num_bytes)
    log.info("%d scores in %s", count, scores)
    return count
