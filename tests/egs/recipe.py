"""Functions for the tests of recipes: read a result, and make the same encoder before its training."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

Run = Callable[..., CompletedProcess[str]]


def eer_of(exp_dir: Path, trials: str) -> float:
    """EER in percent of the cosine scores, from results.json."""
    results = json.loads((exp_dir / "results.json").read_text())
    return float(results["results"][trials]["cos"]["eer"])


def evaluate_untrained(run: Run, step: Run, exp_dir: Path, data_dir: Path, trials: str) -> float:
    """EER in percent of the encoder as it was before the first step, extracted and scored as the trained one.

    Args:
        run, step: the fixtures, which run a shell script and a Python one.
    """
    untrained = exp_dir.with_name(exp_dir.name + "-untrained")
    (untrained / "models").mkdir(parents=True)
    shutil.copy(exp_dir / "config.yaml", untrained)
    for name in ("model_0.pt", "model_0.pt.sha256"):
        shutil.copy(exp_dir / "models" / name, untrained / "models")
    embeddings, scores = untrained / "embeddings" / data_dir.name, untrained / "scores" / f"{trials}.score"
    model = untrained / "models" / "model_0.pt"
    for result in (
        run("steps/extract_embeddings.sh", "--nj", 1, "--model", model, untrained, data_dir),
        step("steps/score_trials.py", data_dir / "trials" / trials, embeddings / "xvector.scp", scores),
        step("steps/compute_metrics.py", untrained, "cos_result", data_dir / "trials", trials),
    ):
        assert result.returncode == 0, result.stderr[-2000:]
    return eer_of(untrained, trials)
