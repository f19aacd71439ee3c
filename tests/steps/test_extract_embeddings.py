"""steps/extract_embeddings.sh: whole, killed, and refused; what it tells run.pl."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from steps import extract_embeddings
from sv.io import ArkWriter, read_matrix, read_scp, read_table, read_vectors, write_table
from sv.models import build_model
from tests.sv.embeddings.random_system import ARGS, MELS, UTTS, extract, make_system, split, work_of

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def system(tmp_path: Path) -> tuple[Path, Path]:
    """An experiment folder and a data dir."""
    return make_system(tmp_path)


def run_script(run: Run, system: tuple[Path, Path], *options: object) -> subprocess.CompletedProcess[str]:
    return run("steps/extract_embeddings.sh", "--nj", 2, *options, *system)


@pytest.mark.slow
def test_embeddings_are_those_of_the_model_utterance_by_utterance(run: Run, system: tuple[Path, Path]) -> None:
    exp, data = system
    result = run_script(run, system)
    assert result.returncode == 0, result.stderr
    out = exp / "embeddings" / "data"
    found = read_vectors(out / "xvector.scp")
    assert found.ids == UTTS
    model = build_model("resnet_small", ARGS).eval()
    state = torch.load(exp / "models" / "avg_model.pt", weights_only=True)
    model.load_state_dict({key: value for key, value in state.items() if not key.startswith("projection")})
    for utt, location in read_scp(data / "feats.scp").items():
        feats = torch.from_numpy(read_matrix(location))
        with torch.no_grad():
            expected = model((feats - feats.mean(0))[None])[0]
        np.testing.assert_allclose(found.matrix[found.index[utt]], expected, atol=1e-5)
    assert sorted(path.name for path in out.iterdir()) == [
        ".done",
        ".lock",
        ".owner",
        "log",
        "xvector.ark",
        "xvector.scp",
    ]

    before = (out / "xvector.ark").stat()
    again = run_script(run, system, "--nj", 3)
    assert again.returncode == 0 and "xvector.scp is there already" in again.stderr
    assert (out / "xvector.ark").stat() == before


@pytest.mark.slow
def test_killed_anywhere_and_run_again_gives_the_same(run: Run, system: tuple[Path, Path], root: Path) -> None:
    expected = extract(work_of(system))
    shutil.rmtree(system[0] / "embeddings")
    command = ["steps/extract_embeddings.sh", "--nj", "2", *map(str, system)]
    for seconds in (0.5, 1.5, 3):  # as it plans, loads torch and embeds
        process = subprocess.Popen(command, cwd=root, start_new_session=True, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    result = run_script(run, system)
    assert result.returncode == 0, result.stderr
    assert (system[0] / "embeddings" / "data" / "xvector.ark").read_bytes() == expected


@pytest.mark.slow
def test_failed_part_fails_the_stage_and_shows_its_log(run: Run, system: tuple[Path, Path]) -> None:
    exp, data = system
    with ArkWriter(data / "huge.ark", data / "huge.scp") as writer:
        writer.write("x", np.linspace(-3e38, 3e38, 30 * MELS, dtype=np.float32).reshape(30, MELS))
    write_table(data / "feats.scp", {**read_table(data / "feats.scp"), UTTS[-1]: read_table(data / "huge.scp")["x"]})
    write_table(data / "utt2num_frames", {**read_table(data / "utt2num_frames"), UTTS[-1]: 30})
    result = run_script(run, system)
    assert result.returncode != 0
    assert "1 of 2 jobs failed, the first is job 2" in result.stderr
    assert (
        f"extract_embeddings.py: error: {data}: {UTTS[-1]}: the embedding has NaN or infinite values" in result.stderr
    )
    assert not (exp / "embeddings" / "data" / "xvector.scp").exists()


@pytest.mark.slow
def test_bad_input_is_one_line_before_any_job_and_leaves_earlier_embeddings(
    run: Run, system: tuple[Path, Path]
) -> None:
    before = extract(work_of(system))
    ark = system[1] / "fbank.ark"
    ark.write_bytes(ark.read_bytes()[:-100])
    result = run_script(run, system)
    assert result.returncode != 0
    (error,) = (line for line in result.stderr.splitlines() if "error:" in line)
    assert error.startswith("extract_embeddings.py: error: ") and "it is truncated, make it again" in error
    assert "Traceback" not in result.stderr
    work = work_of(system)
    assert work.ark.read_bytes() == before and not (work.out_dir / "log").exists()


@pytest.mark.parametrize(
    ("gpus", "plan"), [("none", "4"), ("auto", "4 --max-jobs-run 4"), ("0,1", "4 --max-jobs-run 8")]
)
def test_jobs_know_how_many_gpus_they_share(
    system: tuple[Path, Path],
    gpus: str,
    plan: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    words = ["begin", *system, work_of(system).out_dir, "--num-parts", 4, "--gpus", gpus]
    monkeypatch.setattr(sys, "argv", ["extract_embeddings.py", *map(str, words)])
    extract_embeddings.main()
    assert capsys.readouterr().out.strip() == plan
    extract(work_of(system))
    extract_embeddings.main()
    assert capsys.readouterr().out.strip() == "0"


@pytest.mark.slow
def test_training_data_are_extracted_in_the_same_jobs_as_training_read_them(
    run: Run, system: tuple[Path, Path], tmp_path: Path
) -> None:
    exp, train = system[0], tmp_path / "train"
    text = (exp / "config.yaml").read_text().replace("max_bad_share: 0.01", "max_bad_share: 0.15")
    (exp / "config.yaml").write_text(text.replace("train_feats: ark", "train_feats: online"))
    train.mkdir()
    for number in range(len(UTTS)):
        soundfile.write(train / f"{number}.wav", np.random.default_rng(number).normal(0, 0.1, 8000), 16000)
    (train / "4.wav").write_bytes(b"")
    write_table(train / "wav.scp", {utt: train / f"{number}.wav" for number, utt in enumerate(UTTS)})
    write_table(train / "utt2spk", {utt: utt.split("/")[0] for utt in UTTS})
    write_table(train / "utt2dur", dict.fromkeys(UTTS, "0.500000"))
    write_table(exp / "spk2id", {"spk0": "0", "spk1": "1"})
    result = run_script(run, system, "--nj", 1, "--train-data", train)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("data: 2 of 3 test speakers, such as spk0, were trained on") == 1
    found = read_vectors(exp / "embeddings" / train.name / "xvector.scp")
    assert found.ids == [utt for utt in UTTS if utt != UTTS[4]]
    assert read_vectors(exp / "embeddings" / "data" / "xvector.scp").ids == UTTS
    mean = exp / "embeddings" / train.name / "mean_vec.npy"
    np.testing.assert_allclose(np.load(mean), found.matrix.mean(axis=0), atol=1e-6)
    mean.unlink()
    again = run_script(run, system, "--train-data", train)
    assert again.returncode == 0 and mean.exists() and again.stderr.count("xvector.scp is there already") == 2
    assert "could not be read, and are left out" in again.stderr


@pytest.mark.slow
def test_planning_and_joining_load_no_torch(system: tuple[Path, Path], root: Path) -> None:
    work = split(work_of(system), 2)
    code = "import sys; sys.path.append('steps'); from steps.extract_embeddings import main; main(); "
    code += "sys.exit('torch' in sys.modules)"
    for action in ("begin", "join"):
        words = [sys.executable, "-c", code, action, *system, work.out_dir, "--num-parts", 2]
        assert subprocess.run([*map(str, words)], cwd=root, capture_output=True).returncode == 0
        if action == "begin":
            work.run(1)
            work.run(2)
    assert read_vectors(work.scp).ids == UTTS


def test_wrong_calls(run: Run) -> None:
    assert run("steps/extract_embeddings.sh").returncode == 2
    result = run("steps/extract_embeddings.sh", "--n-jobs", 2, "exp", "data")
    assert result.returncode == 2 and "unknown option --n-jobs" in result.stderr
    assert run("steps/extract_embeddings.sh", "--help").returncode == 0
