"""The tables of several experiments in rounds."""

import json
from pathlib import Path

import pytest

from sv.clustering.summary import Experiment, results_table, rounds_table
from sv.errors import UserError
from sv.metrics.results import KEYS


def write_experiment(path: Path, eer: float) -> Path:
    (path / "round1").mkdir(parents=True)
    entry = {"eer": eer, "num_target": 9, "num_nontarget": 9, "interval": {"eer": [eer - 1, eer + 1]}}
    entry = dict.fromkeys(KEYS, "") | entry | {"min_dcf": {}}
    (path / "round1" / "results.json").write_text(json.dumps({"results": {"H.kaldi": {"cos": entry}}}))
    clusters = {"clusters": 7, "utterances": 10, "left_out": {"utterances": 1}, "nmi": 0.5}
    found = [{"number": n, "heldout_eer": 5.0 - n, "clusters": clusters, "decisions": {}} for n in range(2)]
    (path / "rounds.json").write_text(json.dumps({"best": 1, "why": "", "rounds": found}))
    return path


def test_the_share_of_the_oracles_gain_is_of_the_same_seed(tmp_path: Path) -> None:
    eers = {"labelled-C-seed1": 8.0, "oracle-C-seed1": 4.0, "pseudo-C-seed1": 5.0}
    eers |= {"labelled-C-seed2": 13.0, "oracle-C-seed2": 5.0, "pseudo-C-seed2": 6.0, "pseudo-C-seed3": 6.0}
    found = [Experiment.read(write_experiment(tmp_path / "40" / name, eer)) for name, eer in eers.items()]
    lines = results_table(found, "labelled-C", "oracle-C").splitlines()
    assert "| 40 | pseudo-C | 1 | 1 | 4.00 | 5.00 [4.00, 6.00] | 0.750 |" in lines
    assert "| 40 | pseudo-C | 3 | 1 | 4.00 | 6.00 [5.00, 7.00] |  |" in lines  # nothing to compare it with
    assert "| 40 | oracle-C | mean of 2 |  |  | 4.500 | 1.000 |" in lines
    gains = (10.5 - 5.5) / (10.5 - 4.5)  # of the means over seeds 1 and 2, not the mean of the shares
    assert f"| 40 | pseudo-C | mean of 3 |  |  | 5.667 | {gains:.3f} |" in lines
    row = next(line for line in rounds_table(found).splitlines() if "| pseudo-C | 2 | 0 |" in line)
    assert row.startswith("| 40 | pseudo-C | 2 | 0 | 5.00 | 7 / ? | 0.100 | 0 | 0.500 |")
    with pytest.raises(UserError, match=r"rounds.json does not exist; train in rounds first \(stage 3\)"):
        Experiment.read(tmp_path)
    for damaged in ('{"best": 1', "{}", "[]"):
        (tmp_path / "rounds.json").write_text(damaged)
        with pytest.raises(UserError, match=r"rounds.json is damaged; remove it and run stage 3 again"):
            Experiment.read(tmp_path)
