"""steps/score_trials.py with compute_mean.py and compute_spk_means.py, on embeddings one can check by hand."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sv.io import ArkWriter, read_vectors, sha256_of
from sv.jobs import DoneMark

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


def score(step: Run, folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    return step("steps/score_trials.py", *options, "list.kaldi", "xvector.scp", "out/x.score", cwd=folder)


def test_scores_are_cosines(step: Run, folder: Path) -> None:
    result = score(step, folder)
    assert result.returncode == 0, result.stderr
    assert (folder / "out" / "x.score").read_text() == (
        "a/1.wav a/2.wav 0.47059 target\n"  # 8 / 17
        "b/1.wav a/1.wav -0.75926 nontarget\n"  # -7 / sqrt(5 * 17)
        "a/1.wav a/1.wav 1.00000 target\n"
    )
    assert result.stdout == "" and "3 scores in out/x.score" in result.stderr


def test_mean_is_subtracted(step: Run, folder: Path) -> None:
    result = step("steps/compute_mean.py", "xvector.scp", "mean_vec.npy", cwd=folder)
    assert result.returncode == 0, result.stderr
    mean = np.load(folder / "mean_vec.npy")
    assert mean.dtype == np.float32 and mean.tolist() == [1.0, 1.0]
    result = score(step, folder, "--mean", "mean_vec.npy")
    assert result.returncode == 0, result.stderr
    scores = [line.split()[2] for line in (folder / "out" / "x.score").read_text().splitlines()]
    assert scores == ["0.00000", "-1.00000", "1.00000"]  # (3, 0), (0, 3), (-3, 0)


def test_kaldis_mean_and_text_vectors_are_read(step: Run, folder: Path) -> None:
    (folder / "mean.vec").write_text(" [ 1 1 ]\n")
    (folder / "xvector.scp").write_text("".join(f"{utt}  [ {x} {y} ]\n" for utt, (x, y) in VECTORS.items()))
    result = score(step, folder, "--mean", "mean.vec")
    assert result.returncode == 0, result.stderr
    scores = [line.split()[2] for line in (folder / "out" / "x.score").read_text().splitlines()]
    assert scores == ["0.00000", "-1.00000", "1.00000"]  # as in the test above


def test_models_of_several_utterances(step: Run, folder: Path) -> None:
    (folder / "map").write_text("both a/1.wav a/2.wav\none b/1.wav\n")
    (folder / "list.kaldi").write_text("both a/1.wav target\none b/2.wav nontarget\n")
    result = score(step, folder, "--enroll-map", "map")
    assert result.returncode == 0, result.stderr
    assert (folder / "out" / "x.score").read_text() == (
        "both a/1.wav 0.85749 target\n"  # 5 / sqrt(2 * 17): their mean points along (1, 1)
        "one b/2.wav -0.80000 nontarget\n"
    )


def test_mark_tells_what_the_scores_come_from(step: Run, folder: Path) -> None:
    mark = DoneMark(folder / ".done", made_by := {"model_sha256": "m", "fingerprint": "f"})
    mark.write([folder / "xvector.ark", folder / "xvector.scp"])
    score(step, folder)
    found = json.loads((folder / "out" / ".done.x.score").read_text())
    trials = sha256_of(folder / "list.kaldi")
    made_of = {"embeddings_sha256": sha256_of(folder / "xvector.ark"), "trials_sha256": trials}
    assert found["options"] == {"backend": "cos", **made_by, **made_of}
    assert found["outputs"]["x.score"]["sha256"] == sha256_of(folder / "out" / "x.score")


def marked(folder: Path, model: str, front_end: str = "") -> None:
    """Mark embeddings as those of a model and front-end."""
    made_by = {"model_sha256": model, "fingerprint": f"{model} {front_end}"}
    DoneMark(folder / ".done", made_by).write([folder / "xvector.ark", folder / "xvector.scp"])


def test_mean_of_another_model_is_refused(step: Run, folder: Path) -> None:
    marked(folder, "one")
    assert step("steps/compute_mean.py", "xvector.scp", "mean_vec.npy", cwd=folder).returncode == 0
    assert score(step, folder, "--mean", "mean_vec.npy").returncode == 0
    before = (folder / "out" / "x.score").read_bytes()
    marked(folder, "other")
    result = score(step, folder, "--mean", "mean_vec.npy")
    told = "mean_vec.npy is of model one, xvector.scp of model other (SHA-256); make both with the same model\n"
    assert (result.returncode, result.stderr) == (1, f"score_trials.py: error: {told}")
    assert (folder / "out" / "x.score").read_bytes() == before
    np.save(folder / "mean_vec.npy", np.zeros(2, np.float32))  # one's own
    told = "mean_vec.npy has changed since .done.mean_vec.npy was written; make it again, or remove that mark "
    told += "if it is yours\n"
    assert score(step, folder, "--mean", "mean_vec.npy").stderr == f"score_trials.py: error: {told}"
    (folder / ".done.mean_vec.npy").unlink()
    assert score(step, folder, "--mean", "mean_vec.npy").returncode == 0


def test_scp_of_another_folder_is_refused_by_its_mark(step: Run, folder: Path) -> None:
    marked(folder, "one")
    scp = folder / "xvector.scp"
    (folder / "other").mkdir()
    (folder / "xvector.ark").rename(folder / "other" / "xvector.ark")
    assert "xvector.ark is missing; extract the embeddings again (stage 4)" in score(step, folder).stderr
    (folder / "xvector.ark").write_bytes((folder / "other" / "xvector.ark").read_bytes())
    assert score(step, folder).returncode == 0
    scp.write_text(scp.read_text().replace("./", f"{folder}/other/"))
    told = (
        f"xvector.scp names {folder}/other/xvector.ark in place of xvector.ark; extract the embeddings again (stage 4)"
    )
    assert told in score(step, folder).stderr
    lines = scp.read_text().replace(f"{folder}/other/", "./").splitlines(keepends=True)
    scp.write_text("".join(reversed(lines)))
    assert "xvector.scp has changed since .done was written; extract the embeddings again" in score(step, folder).stderr


def joined(step: Run, folder: Path, first: str, second: str) -> subprocess.CompletedProcess[str]:
    """Score enroll utterances of a folder against test utterances of another, by one scp of both."""
    lines = []
    for side, front_end, speaker in (("enroll", first, "a"), ("test", second, "b")):
        (folder / side).mkdir(exist_ok=True)
        write_vectors(folder / side, {utt: x for utt, x in VECTORS.items() if utt.startswith(speaker)})
        if front_end:
            marked(folder / side, "m", front_end)
        lines.append((folder / side / "xvector.scp").read_text().replace("./", f"./{side}/"))
    (folder / "xvector.scp").write_text("".join(lines))
    return score(step, folder)


def test_embeddings_of_two_front_ends_are_never_scored_together(step: Run, folder: Path) -> None:
    assert joined(step, folder, "povey", "povey").returncode == 0
    found = json.loads((folder / "out" / ".done.x.score").read_text())["options"]
    assert (found["model_sha256"], found["fingerprint"]) == ("m", "m povey")
    result = joined(step, folder, "povey", "hamming")
    told = (
        "test/xvector.ark is of model and front-end m hamming, enroll/xvector.ark of model and front-end m povey "
        "(SHA-256); make both with the same model and front-end\n"
    )
    assert (result.returncode, result.stderr) == (1, f"score_trials.py: error: {told}")


def test_embeddings_of_another_toolkit_are_scored_with_any(step: Run, folder: Path) -> None:
    assert joined(step, folder, "povey", "").returncode == 0
    marked(folder / "test", "m", "hamming")
    with open(folder / "test" / "xvector.ark", "ab") as f:  # no longer the archive of the mark
        f.write(b"more")
    assert score(step, folder).returncode == 0


@pytest.mark.parametrize("suffix", ["", ".npy"])
def test_mean_and_cohort_of_another_front_end_are_refused(step: Run, folder: Path, suffix: str) -> None:
    joined(step, folder, "povey", "povey")
    (folder / "cohort").mkdir()
    write_vectors(folder / "cohort", VECTORS)
    marked(folder / "cohort", "m", "hamming")
    step("steps/compute_mean.py", "cohort/xvector.scp", "mean.npy", cwd=folder)
    (folder / "cohort.scp").write_text((folder / "cohort" / "xvector.scp").read_text().replace("./", "./cohort/"))
    options = ["--mean", "mean.npy"] if suffix else ["--backend", "asnorm", "--top-n", "2", "--cohort", "cohort.scp"]
    result = score(step, folder, *options)
    told = f"{options[-1]} is of model and front-end m hamming, xvector.scp of model and front-end m povey (SHA-256)"
    assert result.returncode == 1 and told in result.stderr


def test_list_without_labels_is_scored(step: Run, folder: Path) -> None:
    (folder / "list.kaldi").write_text("a/1.wav a/2.wav\n")
    score(step, folder)
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
def test_bad_input_is_one_line_and_leaves_no_scores(step: Run, folder: Path, spoil: Callable[[Path], str]) -> None:
    np.save(folder / "mean_vec.npy", np.ones(2, dtype=np.float32))
    message = spoil(folder)
    result = score(step, folder, "--mean", "mean_vec.npy")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("score_trials.py: error: ") and message in line
    assert not (folder / "out" / "x.score").exists()
    assert list(folder.glob("out/.*")) == []


TRAIN = {"a1": [3.0, 0.0], "a2": [5.0, 0.0], "b1": [0.0, 2.0], "c1": [0.0, -9.0], "d1": [-1.0, 0.0]}
TEST = {"x": [2.0, 0.0], "y": [0.6, 0.8]}


@pytest.fixture
def cohort(tmp_path: Path, step: Run) -> Path:
    write_vectors(tmp_path / "train", TRAIN)
    write_vectors(tmp_path / "test", TEST)
    (tmp_path / "utt2spk").write_text("".join(f"{utt} {utt[0]}\n" for utt in TRAIN))
    (tmp_path / "list").write_text("x y target\ny x nontarget\n")
    (tmp_path / "heldout_spk").write_text("d\n")
    result = compute_means(step, tmp_path, "--exclude", tmp_path / "heldout_spk")
    assert result.returncode == 0, result.stderr
    return tmp_path


def compute_means(step: Run, cohort: Path, *options: object) -> subprocess.CompletedProcess[str]:
    train = cohort / "train"
    return step(
        "steps/compute_spk_means.py", *options, train / "xvector.scp", cohort / "utt2spk", train / "spk_xvector.scp"
    )


def normalize(step: Run, cohort: Path, *options: object) -> subprocess.CompletedProcess[str]:
    means = cohort / "train" / "spk_xvector.scp"
    words = ["--cohort", means, cohort / "list", cohort / "test" / "xvector.scp", cohort / "out" / "x.score"]
    return step("steps/score_trials.py", *options, *words)


def test_means_are_those_of_the_speakers(cohort: Path) -> None:
    means = read_vectors(cohort / "train" / "spk_xvector.scp")
    assert means.ids == ["a", "b", "c"]
    assert means.matrix.tolist() == [[4, 0], [0, 2], [0, -9]]


def test_cohort_of_another_model_is_refused(step: Run, cohort: Path) -> None:
    for name, model in (("train", "one"), ("test", "other")):
        marked(cohort / name, model)
    assert compute_means(step, cohort).returncode == 0
    result = normalize(step, cohort, "--backend", "asnorm", "--top-n", 2)
    assert result.returncode == 1 and "spk_xvector.scp is of model one, " in result.stderr
    assert result.stderr.count("\n") == 1 and not (cohort / "out").exists()


def test_scores_are_normalized(step: Run, cohort: Path) -> None:
    """x scores 1, 0, 0 with the cohort, y 0.6, 0.8, -0.8; the two nearest: (1, 0) and (0.8, 0.6)."""
    result = normalize(step, cohort, "--backend", "asnorm", "--top-n", 2)
    assert result.returncode == 0, result.stderr
    expected = ((0.6 - 0.5) / 0.5 + (0.6 - 0.7) / 0.1) / 2
    assert (cohort / "out" / "x.score").read_text() == (
        f"x y {expected:.5f} target 2.0000 1.0000 0.5000 0.7000\n"
        f"y x {expected:.5f} nontarget 1.0000 2.0000 0.7000 0.5000\n"
    )
    options = json.loads((cohort / "out" / ".done.x.score").read_text())["options"]
    assert options["method"] == "asnorm" and options["top_n"] == 2 and len(options["cohort_sha256"]) == 64


def test_normalized_list_without_labels_has_three_columns(step: Run, cohort: Path) -> None:
    (cohort / "list").write_text("x y\n")
    normalize(step, cohort, "--backend", "tnorm")
    mean, std = 0.2, np.std([0.6, 0.8, -0.8])
    assert (cohort / "out" / "x.score").read_text() == f"x y {(0.6 - mean) / std:.5f}\n"


def test_models_of_several_utterances_of_normalized_lists(step: Run, cohort: Path) -> None:
    (cohort / "map").write_text("m x y\n")
    (cohort / "list").write_text("m y target\nm x nontarget\n")
    result = normalize(step, cohort, "--backend", "asnorm", "--top-n", 2, "--enroll-map", cohort / "map")
    assert result.returncode == 0, result.stderr
    model, y = np.array([1.6, 0.8]) / np.sqrt(3.2), np.array([0.6, 0.8])
    expected = ((model @ y - model.mean()) / model.std() + (model @ y - 0.7) / 0.1) / 2
    text = (cohort / "out" / "x.score").read_text().splitlines()[0].split()
    assert float(text[2]) == pytest.approx(expected, abs=1e-4)
    assert text[4:] == ["1.5000", "1.0000", f"{model.mean():.4f}", "0.7000"]


def top_n_above_cohort(cohort: Path) -> str:
    return "spk_xvector.scp has 3 speakers; set it to 2 to 3"


def empty_cohort(cohort: Path) -> str:
    (cohort / "train" / "spk_xvector.scp").write_text("")
    return "spk_xvector.scp is empty"


def missing_cohort(cohort: Path) -> str:
    (cohort / "train" / "spk_xvector.scp").unlink()
    return "spk_xvector.scp does not exist; make it with steps/compute_spk_means.py (stage 6)"


def zero_mean_speaker(cohort: Path) -> str:
    with ArkWriter(cohort / "train" / "spk_xvector.ark", cohort / "train" / "spk_xvector.scp") as writer:
        writer.write("a", np.array([1, 2], dtype=np.float32))
        writer.write("b", np.zeros(2, dtype=np.float32))
    return "spk_xvector.scp: the embedding of b is zero"


def cohort_of_other_dimension(cohort: Path) -> str:
    with ArkWriter(cohort / "train" / "spk_xvector.ark", cohort / "train" / "spk_xvector.scp") as writer:
        for speaker in "abc":
            writer.write(speaker, np.arange(1, 4, dtype=np.float32))
    (cohort / "train" / ".done.spk_xvector.scp").unlink()
    return "spk_xvector.scp: vectors of dimension 3, the embeddings have 2"


def cohort_with_nan(cohort: Path) -> str:
    ark = cohort / "train" / "spk_xvector.ark"
    ark.write_bytes(ark.read_bytes()[:-4] + np.array([np.nan], "<f4").tobytes())
    return "c has NaN or infinite values"


def cohort_list_of_targets_alone(cohort: Path) -> str:
    (cohort / "list").write_text("x y target\n")
    return "list: all trials are target; EER and minDCF need nontarget trials too"


def unknown_utterance_to_normalize(cohort: Path) -> str:
    (cohort / "list").write_text("x z target\nx y nontarget\n")
    return "list:1: z is not in"


BAD_COHORT = [
    top_n_above_cohort,
    empty_cohort,
    missing_cohort,
    zero_mean_speaker,
    cohort_with_nan,
    cohort_of_other_dimension,
]
BAD_COHORT += [cohort_list_of_targets_alone, unknown_utterance_to_normalize]


@pytest.mark.parametrize("spoil", BAD_COHORT)
def test_bad_input_is_one_line_and_leaves_no_scores_of_normalized_lists(
    step: Run, cohort: Path, spoil: Callable[[Path], str]
) -> None:
    message = spoil(cohort)
    result = normalize(step, cohort, "--backend", "asnorm", "--top-n", 4 if spoil is top_n_above_cohort else 2)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("score_trials.py: error: ") and message in line
    assert not list(cohort.glob("out/*")) and not list(cohort.glob("out/.*"))


def test_means_of_an_utterance_without_speaker(step: Run, cohort: Path) -> None:
    (cohort / "utt2spk").write_text("a1 a\n")
    result = compute_means(step, cohort)
    assert result.returncode == 1
    assert "utt2spk: a2 of" in result.stderr and "(4 such utterances)" in result.stderr


def test_a_file_that_the_back_end_does_not_read_is_refused(step: Run, cohort: Path) -> None:
    result = normalize(step, cohort, "--backend", "cos")
    told = "score_trials.py: error: --cohort: --backend cos does not read it; leave it out\n"
    assert (result.returncode, result.stderr) == (2, told)
