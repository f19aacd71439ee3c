"""All back-ends of a small system: names of files, what calibration needs, and one more back-end by one entry."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sv.errors import UserError
from sv.io import ArkWriter
from sv.jobs import DoneMark
from sv.scoring.backends import BACKENDS
from sv.scoring.calibration_trials import write_calibration_trials
from sv.scoring.cosine import write_mean
from sv.scoring.system import SystemBackend

OPTIONS = {"top_n": 3, "lda_dim": 2, "other": 1}


def make_set(folder: Path, exp_dir: Path, speakers: range, seed: int) -> list[str]:
    """Embeddings of a data dir, four utterances a speaker; returns the utterances."""
    rng, utts = np.random.default_rng(seed), []
    scp = exp_dir / "embeddings" / folder.name / "xvector.scp"
    with ArkWriter(scp.with_suffix(".ark"), scp) as writer:
        for speaker in speakers:
            center = rng.normal(size=4)
            for number in range(4):
                utts.append(f"s{speaker:02d}-{number}")
                writer.write(utts[-1], (center + 0.4 * rng.normal(size=4)).astype(np.float32))
    folder.mkdir()
    (folder / "utt2spk").write_text("".join(f"{utt} {utt[:3]}\n" for utt in utts))
    return utts


@pytest.fixture
def system(tmp_path: Path) -> SystemBackend:
    """The cosine of a system with embeddings and mean, of which two training speakers were held out."""
    system = SystemBackend(tmp_path / "exp", tmp_path / "train", tmp_path / "test", BACKENDS["cos"], OPTIONS)
    make_set(system.train_data, system.exp_dir, range(10), 0)
    utts = make_set(system.test_data, system.exp_dir, range(10, 14), 1)
    np.save(system.exp_dir / "embeddings" / "train" / "mean_vec.npy", np.zeros(4, dtype=np.float32))
    (system.exp_dir / "heldout_spk").write_text("s00\ns01\n")
    (system.test_data / "trials").mkdir()
    lines = [
        f"{x} {y} {'target' if x[:3] == y[:3] else 'nontarget'}\n" for i, x in enumerate(utts) for y in utts[i + 1 :]
    ]
    (system.test_data / "trials" / "O.kaldi").write_text("".join(lines))
    return system


LABELS = {"cos": ("cos", ""), "asnorm": ("asnorm3", "train_asnorm3_"), "snorm": ("snorm", "train_snorm_")}
LABELS |= {"znorm": ("znorm", "train_znorm_"), "tnorm": ("tnorm", "train_tnorm_"), "plda": ("plda", "plda_")}


@pytest.mark.parametrize("name", list(BACKENDS))
def test_scores_calibration_and_results_have_their_names(system: SystemBackend, name: str) -> None:
    label, prefix = LABELS[name]
    backend = replace(system, backend=BACKENDS[name])
    backend.prepare()
    lines = backend.score_and_measure(["O.kaldi"])
    assert lines.startswith(f"---- {prefix}O.kaldi.score -----\n")
    scores = system.exp_dir / "scores"
    assert (scores / f"test_{label}_result").read_text() == lines
    write_calibration_trials(system.exp_dir, system.train_data, "heldout_X.kaldi")
    lines = backend.calibrate_and_measure("heldout_X.kaldi", ["O.kaldi"])
    assert (scores / f"test_cali_{label}_X_result").read_text() == lines and "Cllr" in lines
    for path in (f"{prefix}heldout_X.kaldi.score", f"cali_{prefix}O.kaldi.score", f".done.{prefix}O.kaldi.score"):
        assert (scores / path).is_file()
    thresholds = json.loads((system.exp_dir / "thresholds.json").read_text())
    assert list(thresholds) == [f"{label}_X"]
    assert ("mean" in thresholds[f"{label}_X"]["measured_on"]) == (name != "plda")
    assert sorted(json.loads((system.exp_dir / "results.json").read_text())["results"]["O.kaldi"]) == sorted(
        [label, f"{label}_cali"]
    )


@pytest.mark.parametrize("name", ["cos", "asnorm", "plda"])
def test_lists_of_enroll_models_are_scored_calibrated_and_measured(system: SystemBackend, name: str) -> None:
    enroll_map = system.test_data / "enroll.map"
    enroll_map.write_text("".join(f"m{spk} s{spk}-0 s{spk}-1\n" for spk in range(10, 14)))
    lines = [f"m{m} s{t}-{n} {int(m == t)}\n" for m in range(10, 14) for t in range(10, 14) for n in (2, 3)]
    (system.test_data / "trials" / "M.trl").write_text("".join(lines))
    backend = replace(system, backend=BACKENDS[name], enroll_map=enroll_map)
    backend.prepare()
    backend.score_and_measure(["M.trl"])
    write_calibration_trials(system.exp_dir, system.train_data, "heldout.kaldi")
    backend.calibrate_and_measure("heldout.kaldi", ["M.trl"])
    entries = json.loads((system.exp_dir / "results.json").read_text())["results"]["M.trl"]
    assert list(entries) == [LABELS[name][0], f"{LABELS[name][0]}_cali"]
    for entry in entries.values():
        assert (entry["num_target"], entry["num_nontarget"]) == (8, 24)
        assert entry["enroll_map"] == str(enroll_map)


def test_held_out_speakers_are_in_no_cohort(system: SystemBackend) -> None:
    replace(system, backend=BACKENDS["snorm"], given={}).prepare()
    cohort = system.exp_dir / "embeddings" / "train" / "spk_xvector.scp"
    assert [line.split()[0] for line in cohort.open()] == [f"s{speaker:02d}" for speaker in range(2, 10)]
    (system.exp_dir / "heldout_spk").write_text("")
    replace(system, backend=BACKENDS["snorm"], given={}).prepare()
    assert len(cohort.read_text().splitlines()) == 10


def test_scores_of_a_list_do_not_depend_on_those_before_it(system: SystemBackend) -> None:
    trials = system.test_data / "trials"
    lines = (trials / "O.kaldi").read_text().splitlines(keepends=True)
    (trials / "few.kaldi").write_text("".join(lines[:20]))
    backend = replace(system, backend=BACKENDS["asnorm"])
    backend.prepare()
    backend.score_and_measure(["O.kaldi"])
    alone = backend.score_file("O.kaldi").read_bytes()
    backend.score_and_measure(["few.kaldi", "O.kaldi"])
    assert backend.score_file("O.kaldi").read_bytes() == alone


def test_no_list_gives_thresholds_alone(system: SystemBackend) -> None:
    write_calibration_trials(system.exp_dir, system.train_data)
    backend = replace(system, backend=BACKENDS["cos"], given={})
    assert backend.calibrate_and_measure("heldout.kaldi", []) == ""
    assert (system.exp_dir / "thresholds.json").is_file() and not (system.exp_dir / "results.json").exists()


@pytest.mark.parametrize(
    ("name", "scores", "stage"),
    [("cos", "O.kaldi", 5), ("asnorm", "train_asnorm300_O.kaldi", 6), ("plda", "plda_O.kaldi", 7)],
)
def test_calibration_of_nothing_names_its_stage(system: SystemBackend, name: str, scores: str, stage: int) -> None:
    backend = replace(system, backend=BACKENDS[name], given={})
    with pytest.raises(UserError, match=r"heldout\.kaldi does not exist; make it with steps/make_calibration_trials"):
        backend.calibrate_and_measure("heldout.kaldi", ["O.kaldi"])
    write_calibration_trials(system.exp_dir, system.train_data)
    with pytest.raises(UserError, match=rf"/{scores}\.score does not exist; score it first \(stage {stage}\)"):
        backend.calibrate_and_measure("heldout.kaldi", ["O.kaldi"])
    assert not (system.exp_dir / "scores").exists()


def test_a_back_end_is_one_entry(system: SystemBackend) -> None:
    entry = replace(BACKENDS["cos"], title="a copy", label="copy", prefix="{train}_{label}_")
    replace(system, backend=entry).score_and_measure(["O.kaldi"])
    copied = system.exp_dir / "scores" / "train_copy_O.kaldi.score"
    replace(system, backend=BACKENDS["cos"], given={}).score_and_measure(["O.kaldi"])
    assert copied.read_bytes() == (system.exp_dir / "scores" / "O.kaldi.score").read_bytes()


def embed_again(system: SystemBackend, seed: int) -> None:
    """New embeddings of the training data by the same model, with their mark, and their mean."""
    shutil.rmtree(system.train_data)
    make_set(system.train_data, system.exp_dir, range(10), seed)
    scp = system.exp_dir / "embeddings" / "train" / "xvector.scp"
    DoneMark(scp.with_name(".done"), {"model_sha256": "m", "fingerprint": "f"}).write([scp.with_suffix(".ark"), scp])
    write_mean(scp, scp.with_name("mean_vec.npy"))


def test_results_on_the_training_data_of_before_do_not_stay_beside_new_ones(system: SystemBackend) -> None:
    plda = replace(system, backend=BACKENDS["plda"])
    for seed, left in ((0, ["cos"]), (1, ["cos"]), (1, ["cos", "plda"])):
        embed_again(system, seed)
        system.score_and_measure(["O.kaldi"])
        assert list(json.loads((system.exp_dir / "results.json").read_text())["results"]["O.kaldi"]) == left
        plda.prepare()
        plda.score_and_measure(["O.kaldi"])
