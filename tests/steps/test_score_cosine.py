"""steps/compute_mean.py and steps/score_cosine.py on embeddings one can check by hand."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sv.io import ArkWriter, sha256_of

Run = Callable[..., subprocess.CompletedProcess[str]]

VECTORS = {"a/1.wav": [4.0, 1.0], "a/2.wav": [1.0, 4.0], "b/1.wav": [-2.0, 1.0], "b/2.wav": [1.0, -2.0]}  # mean (1, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_vectors(tmp_path, VECTORS)
    (tmp_path / "list.kaldi").write_text("a/1.wav a/2.wav target\nb/1.wav a/1.wav nontarget\na/1.wav a/1.wav target\n")
    return tmp_path


def write_vectors(folder: Path, vectors: dict[str, list[float]]) -> None:
    with ArkWriter(folder / "xvector.ark", folder / "xvector.scp") as writer:
        for utt, vector in vectors.items():
            writer.write(utt, np.array(vector, dtype=np.float32))


def score(run: Run, folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    return run("steps/score_cosine.py", *options, "list.kaldi", "xvector.scp", "out/x.score", cwd=folder)


@pytest.fixture(scope="session")
def run_from_root(run: Run, root: Path) -> Run:
    """As `run`, but the script may be named from another folder."""

    def run_it(script: str, *args: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        return run(root / script, *args, cwd=cwd)

    return run_it


def test_scores_are_cosines(run_from_root: Run, folder: Path) -> None:
    result = score(run_from_root, folder)
    assert result.returncode == 0, result.stderr
    assert (folder / "out" / "x.score").read_text() == (
        "a/1.wav a/2.wav 0.47059 target\n"  # 8 / 17
        "b/1.wav a/1.wav -0.75926 nontarget\n"  # -7 / sqrt(5 * 17)
        "a/1.wav a/1.wav 1.00000 target\n"
    )
    assert result.stdout == "" and "3 scores in out/x.score" in result.stderr


def test_mean_is_subtracted(run_from_root: Run, folder: Path) -> None:
    result = run_from_root("steps/compute_mean.py", "xvector.scp", "mean_vec.npy", cwd=folder)
    assert result.returncode == 0, result.stderr
    mean = np.load(folder / "mean_vec.npy")
    assert mean.dtype == np.float32 and mean.tolist() == [1.0, 1.0]
    result = score(run_from_root, folder, "--mean", "mean_vec.npy")
    assert result.returncode == 0, result.stderr
    scores = [line.split()[2] for line in (folder / "out" / "x.score").read_text().splitlines()]
    assert scores == ["0.00000", "-1.00000", "1.00000"]  # (3, 0), (0, 3), (-3, 0)


def test_models_of_several_utterances(run_from_root: Run, folder: Path) -> None:
    (folder / "map").write_text("both a/1.wav a/2.wav\none b/1.wav\n")
    (folder / "list.kaldi").write_text("both a/1.wav target\none b/2.wav nontarget\n")
    result = score(run_from_root, folder, "--enroll-map", "map")
    assert result.returncode == 0, result.stderr
    assert (folder / "out" / "x.score").read_text() == (
        "both a/1.wav 0.85749 target\n"  # 5 / sqrt(2 * 17): their mean points along (1, 1)
        "one b/2.wav -0.80000 nontarget\n"
    )


def test_mark_tells_what_the_scores_come_from(run_from_root: Run, folder: Path) -> None:
    mark = {"options": {"model_sha256": "m"}, "inputs": {}, "outputs": {"xvector.ark": {"size": 1, "sha256": "e"}}}
    (folder / ".done").write_text(json.dumps(mark))
    score(run_from_root, folder)
    found = json.loads((folder / "out" / ".done.x.score").read_text())
    trials = sha256_of(folder / "list.kaldi")
    assert found["options"] == {"model_sha256": "m", "embeddings_sha256": "e", "trials_sha256": trials}
    assert found["outputs"]["x.score"]["sha256"] == sha256_of(folder / "out" / "x.score")


def test_list_without_labels_is_scored(run_from_root: Run, folder: Path) -> None:
    (folder / "list.kaldi").write_text("a/1.wav a/2.wav\n")
    score(run_from_root, folder)
    assert (folder / "out" / "x.score").read_text() == "a/1.wav a/2.wav 0.47059\n"


def unknown_utterance(folder: Path) -> str:
    (folder / "list.kaldi").write_text("a/1.wav a/2.wav target\na/1.wav c/1.wav nontarget\n")
    return "list.kaldi:2: c/1.wav is not in xvector.scp; extract it (stage 4)"


def zero_embedding(folder: Path) -> str:
    write_vectors(folder, {**VECTORS, "b/2.wav": [0.0, 0.0]})
    return "xvector.scp: the embedding of b/2.wav is zero; extract it again, or leave it out"


def no_embeddings(folder: Path) -> str:
    (folder / "xvector.scp").unlink()
    return "xvector.scp does not exist; extract the embeddings first (stage 4)"


def truncated_ark(folder: Path) -> str:
    ark = folder / "xvector.ark"
    ark.write_bytes(ark.read_bytes()[:-1])
    return "it is truncated, make it again"


def mean_of_other_dimension(folder: Path) -> str:
    np.save(folder / "mean_vec.npy", np.zeros(3, dtype=np.float32))
    return "embeddings have dimension 2, the mean has shape (3,)"


def mean_that_is_no_numpy_file(folder: Path) -> str:
    (folder / "mean_vec.npy").write_text("1 2 3\n")
    return "mean_vec.npy is not a numpy file"


def missing_mean(folder: Path) -> str:
    (folder / "mean_vec.npy").unlink()
    return "mean_vec.npy does not exist; make it with steps/compute_mean.py (stage 4)"


def targets_alone(folder: Path) -> str:
    (folder / "list.kaldi").write_text("a/1.wav a/2.wav target\n")
    return "list.kaldi: all trials are target; EER and minDCF need nontarget trials too"


def nontargets_alone(folder: Path) -> str:
    (folder / "list.kaldi").write_text("a/1.wav b/2.wav nontarget\n" * 3)
    return "list.kaldi: all trials are nontarget; EER and minDCF need target trials too"


def embedding_with_nan(folder: Path) -> str:
    ark = folder / "xvector.ark"
    ark.write_bytes(ark.read_bytes()[:-4] + np.array([np.nan], "<f4").tobytes())
    return "b/2.wav has NaN or infinite values"


BAD = [targets_alone, nontargets_alone, embedding_with_nan, unknown_utterance, zero_embedding]
BAD += [no_embeddings, truncated_ark, mean_of_other_dimension]
BAD += [mean_that_is_no_numpy_file, missing_mean]


@pytest.mark.parametrize("spoil", BAD)
def test_bad_input_is_one_line_and_leaves_no_scores(
    run_from_root: Run, folder: Path, spoil: Callable[[Path], str]
) -> None:
    np.save(folder / "mean_vec.npy", np.ones(2, dtype=np.float32))
    message = spoil(folder)
    result = score(run_from_root, folder, "--mean", "mean_vec.npy")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("score_cosine.py: error: ") and message in line
    assert not (folder / "out" / "x.score").exists()
    assert list(folder.glob("out/.*")) == []
