"""Score a trial list in one pass: read a block, score it, write its lines. Only a block is held in memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.errors import log
from sv.io import ScoreWriter, Trials, atomic_write, check_both_kinds, read_trials
from sv.io.progress import byte_bar
from sv.metrics.provenance import check_same_model, mark_scores, trained_on
from sv.scoring.inputs import Inputs

Column = NDArray[np.floating[Any]]
ScoreBlock = Callable[[Trials], Sequence[Column]]


@dataclass(frozen=True)
class Scorer:
    """A back-end that is ready to score lists.

    Attributes:
        inputs: files that it was loaded from.
        begin_list: returns what scores the blocks of one list: the scores, then the factors that follow the label,
            if any; each (trials,).
        test_ids: ids of the test utterances, each once.
        enroll_ids: ids of the enroll models; None: enroll on the utterances.
        made_from: files beside trials and embeddings that decide the scores, by name, for their mark.
        settings: options that decide the scores, for their mark.
        label: name of the back-end in results; "": unknown.
    """

    inputs: Inputs
    begin_list: Callable[[], ScoreBlock]
    test_ids: Sequence[str]
    enroll_ids: Sequence[str] | None = None
    made_from: Mapping[str, Path | None] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""


def score_list(trials: Path, scores: Path, scorer: Scorer) -> int:
    """Write the score file of a trial list, whole or not at all, and its mark; return the number of trials.

    On a terminal a bar shows how much of the list is done.

    Args:
        trials: the list.
        scores: the file to write.
        scorer: scorer of a back-end.

    Raises:
        UserError: see `read_trials`; a list with labels all of which are the same; embeddings and a file of the
            back-end are of two models.
    """
    check_both_kinds(trials)
    inputs = scorer.inputs
    files = [path for path in inputs.files.values() if path]
    check_same_model(inputs.xvector_scp, files)
    blocks = read_trials(
        trials,
        scorer.test_ids,
        known_enroll=scorer.enroll_ids,
        source=inputs.xvector_scp,
        enroll_source=inputs.enroll_map or "",
    )
    score_block, count = scorer.begin_list(), 0
    with atomic_write(scores) as f, byte_bar(trials, scores.name) as bar:
        writer = ScoreWriter(f)
        for block in blocks:
            values, *factors = score_block(block)
            writer.write(block, values, factors)
            count += len(block)
            bar.update(block.num_bytes)
    made_from = {**scorer.made_from, "enroll_map": inputs.enroll_map}
    settings = {**({"backend": scorer.label} if scorer.label else {}), **scorer.settings, **trained_on(files)}
    mark_scores(scores, trials, inputs.xvector_scp, made_from, settings)
    log.info("%d scores in %s", count, scores)
    return count
