"""The lists of CN-Celeb around audio that is laid out as in the corpus."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray


def write_sound(path: Path, samples: NDArray[Any], rate: int = 1000) -> None:
    """Write a FLAC file of 16-bit samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.astype(np.int16), rate)


def make_tree(root: Path, train: Sequence[str]) -> None:
    """Write dev.lst, enroll.map and trials.lst: every model of eval/enroll against every file of eval/test."""
    lists = root / "eval" / "lists"
    lists.mkdir(parents=True)
    (root / "dev").mkdir()
    (root / "dev" / "dev.lst").write_text("".join(f"{spk}\n" for spk in train))
    models = sorted(path.stem for path in (root / "eval" / "enroll").iterdir())
    with (lists / "enroll.map").open("w") as f:
        for model in models:
            spk = model.partition("-")[0]
            names = sorted(f"{spk}/{path.stem}.wav" for path in (root / "data" / spk).iterdir())
            f.write(f"{' '.join([model, *names])}\n")
    with (lists / "trials.lst").open("w") as f:
        for model in models:
            for path in sorted((root / "eval" / "test").iterdir()):
                same = path.name.partition("-")[0] == model.partition("-")[0]
                f.write(f"{model} test/{path.stem}.wav {int(same)}\n")
