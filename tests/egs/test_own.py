"""The recipe for a corpus of one's own: from folders to a decision of verification; too small a corpus is one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.runs import OPTIONS

Run = Callable[..., Any]
SMALL = OPTIONS[:2] + ["--set", OPTIONS[-1].replace("heldout_speakers=3 model_args.embed_dim=32 ", "")]


def folders(mini: Path, corpus: Path, speakers: int) -> Path:
    """Make a folder with a folder for each speaker, of voices of the mini corpus."""
    for voice in sorted(mini.glob("voxceleb?/**/id?????"))[-speakers:]:
        (corpus / voice.name).mkdir(parents=True)
        for path in voice.rglob("*.wav"):
            (corpus / voice.name / f"{path.parent.name}-{path.name}").symlink_to(path)
    return corpus


@pytest.mark.recipe
def test_from_folders_to_verification(run: Run, step: Run, small_corpus: Path, tmp_path: Path) -> None:
    corpus = folders(small_corpus, tmp_path / "corpus", 14)
    words = [
        "--corpus",
        corpus,
        "--data",
        tmp_path / "data",
        "--exp-dir",
        tmp_path / "exp",
        "--gpus",
        "none",
        "--nj",
        1,
        *SMALL,
    ]
    done = run("egs/own/run.sh", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "14 speakers: 3 to test on, 2 to calibrate with, 9 to train on\n" in done.stderr
    logs = "".join((tmp_path / "exp" / "log" / f"stage{stage}.log").read_text() for stage in (5, 6, 7))
    for warning in ("O: no intervals: target trials are of 3 speakers", "no threshold fa_0.001: 0.1 % of"):
        assert logs.count(warning) >= 3 and done.stderr.count(warning) == 1
    table, all_rows = ((tmp_path / "exp" / name).read_text() for name in ("results.txt", "results.md"))
    assert done.stdout.endswith(table)
    for backend in ("cos_cali", "asnorm4_cali", "plda_cali"):
        assert f"| O | {backend} |" in all_rows
    assert (tmp_path / "exp" / "report.html").is_file()
    words[:2] = ["--stage", 5, "--stop-stage", 7]  # the corpus is not needed any more
    again = run("egs/own/run.sh", *words)
    assert again.returncode == 0 and again.stdout.endswith(table)
    pair = sorted(next(folder for folder in sorted(corpus.iterdir())).iterdir())[:2]
    decided = step("steps/verify.py", "--model", tmp_path / "exp", *pair)
    assert decided.returncode in (0, 3, 4), decided.stderr  # same, different, cannot tell
    assert any(word in decided.stdout for word in ("same", "different", "cannot tell"))


@pytest.mark.slow
def test_eight_speakers_end_in_one_line(run: Run, small_corpus: Path, tmp_path: Path) -> None:
    corpus = folders(small_corpus, tmp_path / "corpus", 8)
    result = run("egs/own/run.sh", "--corpus", corpus, "--data", tmp_path / "data", "--exp-dir", tmp_path / "exp")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "plan_corpus.py: error: 8 speakers, 8 with two utterances or more: too few" in result.stderr
    assert "import a trained model (steps/import_model.py), calibrate it (steps/calibrate.py --on" in result.stderr
    assert not (tmp_path / "data").exists() and not (tmp_path / "exp").exists()


@pytest.mark.slow
def test_a_system_of_another_corpus_is_refused_before_the_data_are_replaced(
    run: Run, small_corpus: Path, tmp_path: Path
) -> None:
    corpus, exp, data = folders(small_corpus, tmp_path / "corpus", 14), tmp_path / "exp", tmp_path / "data"
    words = ["--corpus", corpus, "--data", data, "--exp-dir", exp]
    exp.mkdir()
    (exp / "config.yaml").write_text("heldout_speakers: 9\n")  # which follows from the speakers
    (exp / "heldout_spk").write_text("a\nb\n")
    (exp / "spk2id").write_text("".join(f"{name} 0\n" for name in "cdefghi"))
    told = (
        "was trained with 9 speakers (held-out ones included); this corpus gives 11 (without test speakers), and 0 are"
    )
    for dry in ("true", "false"):
        result = run("egs/own/run.sh", *words, "--dry-run", dry)
        assert result.returncode == 1 and not (data / "train").exists()
        assert told in result.stderr.splitlines()[-1]


@pytest.mark.slow
def test_sizes_that_do_not_fit_are_refused_before_stage_1(run: Run, small_corpus: Path, tmp_path: Path) -> None:
    corpus = folders(small_corpus, tmp_path / "corpus", 14)
    words = ["--corpus", corpus, "--data", tmp_path / "data", "--exp-dir", tmp_path / "exp", "--top-n", 50]
    for more, wrong in (
        ([], "--top-n 50 (give 2 to 9)"),
        (["--lda-dim", 9], "--top-n 50 (give 2 to 9) --lda-dim 9 (give 0 to 8)"),
    ):
        result = run("egs/own/run.sh", *words, *more)
        told = f"train will have 11 speakers, of which 2 are held out; out of range: {wrong}"
        assert result.returncode == 1 and result.stderr.endswith(told + "\n"), result.stderr
        assert not (tmp_path / "data").exists() and "stage 1" not in result.stderr


@pytest.mark.slow
def test_a_dry_run_on_another_corpus_plans_its_lists_anew(run: Run, small_corpus: Path, tmp_path: Path) -> None:
    first, other = (folders(small_corpus, tmp_path / name, 14) for name in ("first", "other"))
    words = ["--data", tmp_path / "data", "--exp-dir", tmp_path / "exp"]
    assert run("egs/own/run.sh", "--corpus", first, *words, "--stop-stage", 1).returncode == 0
    for corpus, anew in ((first, 0), (other, 4)):
        plan = run("egs/own/run.sh", "--corpus", corpus, *words, "--dry-run")
        assert plan.returncode == 0 and plan.stdout.count(": to do: stage 1 makes its lists anew\n") == anew, (
            plan.stderr
        )
    changed = run("egs/own/run.sh", "--corpus", first, *words, "--dry-run", "--test-speakers", 4)
    assert changed.stdout.count("stage 1 makes its lists anew") == 4


@pytest.mark.slow
def test_speakers_of_which_all_files_are_left_out_are_not_counted(run: Run, small_corpus: Path, tmp_path: Path) -> None:
    corpus = folders(small_corpus, tmp_path / "corpus", 14)
    for number in range(6):
        (corpus / f"empty{number}").mkdir()
        (corpus / f"empty{number}" / "a.wav").touch()
    words = ["--corpus", corpus, "--data", tmp_path / "data", "--exp-dir", tmp_path / "exp", "--leave-out-bad", "true"]
    assert run("egs/own/run.sh", *words, "--stop-stage", 1).returncode == 0
    plan = run("egs/own/run.sh", *words, "--dry-run", "true")
    assert "14 speakers: 3 to test on, 2 to calibrate with, 9 to train on" in plan.stderr
    assert "--lda-dim 7" in plan.stderr and "stage 1 makes its lists anew" not in plan.stdout
    prepared = run("egs/own/run.sh", *words[2:], "--stage", 2, "--dry-run", "true")  # checks the sizes with the lists
    assert (plan.returncode, prepared.returncode) == (0, 0), plan.stderr + prepared.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "num_epochs"),
    [
        (["--speeds", "0.9 1.1"], 30),
        (["--speeds", "0.9 1.1", "--augment", "noise reverb"], 15),
        (["--speeds", "0.9 1.1", "--train-feats", "online"], 120),  # which draws them
    ],
)
def test_with_copies_epochs_are_fewer(
    run: Run, small_corpus: Path, tmp_path: Path, given: list[str], num_epochs: int
) -> None:
    corpus = folders(small_corpus, tmp_path / "corpus", 14)
    words = ["--corpus", corpus, "--data", tmp_path / "data", "--exp-dir", tmp_path / "exp", "--dry-run", "true"]
    result = run("egs/own/run.sh", *words, *given)
    assert result.returncode == 0 and f"--num-epochs {num_epochs}\n" in result.stderr, result.stderr


@pytest.mark.slow
def test_epochs_are_not_chosen_to_fine_tune(run: Run, small_corpus: Path, tmp_path: Path) -> None:
    corpus, exp, model = folders(small_corpus, tmp_path / "corpus", 14), tmp_path / "exp", tmp_path / "model.pt"
    model.touch()  # stage 3 reads it
    words = ["--corpus", corpus, "--data", tmp_path / "data", "--exp-dir", exp, "--stop-stage", 1]
    result = run("egs/own/run.sh", *words, "--checkpoint", model)
    assert result.returncode == 0, result.stderr
    assert "\nnum_epochs: 15\n" in (exp / "system.yaml").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ([], ["chosen: embed_dim 64, --top-n 4, --lda-dim 7, --num-epochs 120"]),
        (["--num-epochs", 2, "--top-n", 5], ["chosen: embed_dim 64, --lda-dim 7"]),
        (["--set", "num_epochs=2 model_args.embed_dim=16", "--lda-dim", 3], ["chosen: --top-n 4"]),
        (["--set", "num_epochs=2 model_args.embed_dim=16", "--lda-dim", 3, "--top-n", 5], []),
    ],
)
def test_only_what_is_chosen_is_said(
    run: Run, small_corpus: Path, tmp_path: Path, given: list[object], chosen: list[str]
) -> None:
    corpus = folders(small_corpus, tmp_path / "corpus", 14)
    words = ["--corpus", corpus, "--data", tmp_path / "data", "--exp-dir", tmp_path / "exp", "--dry-run", "true"]
    result = run("egs/own/run.sh", *words, *given)
    said = [line[line.index("chosen") :] for line in result.stderr.splitlines() if "chosen" in line]
    assert (result.returncode, said) == (0, chosen), result.stderr


@pytest.mark.slow
def test_what_is_given_is_not_chosen(run: Run, small_corpus: Path, tmp_path: Path) -> None:
    corpus = folders(small_corpus, tmp_path / "corpus", 14)
    words = ["--corpus", corpus, "--data", tmp_path / "data", "--exp-dir", tmp_path / "exp", "--stop-stage", 1]
    given = ["--test-speakers", 4, "--top-n", 90, "--set", "heldout_speakers=3 model_args.embed_dim=16"]
    result = run("egs/own/run.sh", *words, *given)
    assert result.returncode == 0, result.stderr
    assert "14 speakers: 4 to test on, 3 to calibrate with, 7 to train on" in result.stderr
    system = (tmp_path / "exp" / "system.yaml").read_text()
    assert "heldout_speakers: 3\n" in system and "embed_dim: 16\n" in system and "num_epochs: 120\n" in system
    assert len((tmp_path / "data/test/spk2utt").read_text().splitlines()) == 4
    result = run("egs/own/run.sh", *words[2:-2], "--stage", 2, *given)
    assert result.returncode == 1
    assert "has 10 speakers, of which 3 are held out; out of range: --top-n 90 (give 2 to 7)" in result.stderr
