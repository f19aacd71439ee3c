"""Score files whose targets and non-targets are two Gaussians."""

from pathlib import Path

import numpy as np


def write_scores_file(path: Path, seed: int, name: str) -> None:
    """200 target and 2,000 non-target trials."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [("target", s) for s in rng.normal(0.6, 0.15, 200)] + [("nontarget", s) for s in rng.normal(0.1, 0.15, 2000)]
    path.write_text("".join(f"{name}{i} {name}{i + 1} {s:.5f} {label}\n" for i, (label, s) in enumerate(rows)))


def make_scored_system(folder: Path) -> Path:
    """An experiment folder with scores of the lists heldout.kaldi and O.kaldi."""
    for seed, name in enumerate(("heldout.kaldi", "O.kaldi")):
        write_scores_file(folder / "scores" / f"{name}.score", seed, name[0])
    return folder
