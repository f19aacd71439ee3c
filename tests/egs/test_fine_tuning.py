"""Stage 9 of the recipes on features of a few seconds: from a trained system to the results of its fine-tuning."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from sv.io import ArkWriter, read_table, write_table

SYSTEM = """
model: resnet_small
model_args: {m_channels: 2, embed_dim: 8}
loss: aam
num_epochs: 1
num_avg: 1
margin_update: {increase_type: fixed}
dataset_args: {num_frms: 24, min_num_frames: 10, fbank_args: {num_mel_bins: 16}}
dataloader_args: {batch_size: 8, num_workers: 1}
scheduler_args: {warm_up_epoch: 0}
heldout_speakers: 2
tensorboard: false
"""
TRIALS = "vox1_O_cleaned.kaldi"


def make_set(folder: Path, speakers: int) -> None:
    """A data dir of random features, as stage 2 leaves it."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(speakers)
    num_frames = {f"spk{s}-{u}": 25 + u for s in range(speakers) for u in range(8)}
    with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=True) as writer:
        for utt, frames in num_frames.items():
            writer.write(utt, rng.normal(size=(frames, 16)))
    write_table(folder / "utt2num_frames", num_frames)
    labels = {utt: utt[:4] for utt in num_frames}
    write_table(folder / "utt2spk", labels)
    write_table(folder / "spk2utt", {spk: " ".join(u for u in labels if labels[u] == spk) for spk in labels.values()})


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with the lists, features and configuration of a small corpus."""
    folder = tmp_path_factory.mktemp("inputs")
    for name, speakers in (("vox2_dev", 6), ("vox1", 3)):
        make_set(folder / "data" / name, speakers)
    trials = folder / "data" / "vox1" / "trials" / TRIALS
    trials.parent.mkdir()
    trials.write_text("spk0-0 spk0-1 target\nspk1-2 spk1-3 target\nspk0-0 spk1-1 nontarget\nspk1-0 spk2-0 nontarget\n")
    (folder / "c.yaml").write_text(SYSTEM)
    return folder


@pytest.fixture(scope="module")
def recipe(run, inputs):
    """Run egs/voxceleb/run.sh on that corpus, into an experiment folder."""

    def run_it(exp, *words, speeds=("--speeds", "")):
        where = ["--data", inputs / "data", "--exp-dir", exp, "--config", inputs / "c.yaml"]
        quick = [*speeds, "--gpus", "none", "--num-threads", 1, "--nj", 1]
        return run("egs/voxceleb/run.sh", *where, *quick, *words)

    return run_it


@pytest.fixture(scope="module")
def trained(recipe, inputs):
    """The folder of a system trained with seed 3."""
    done = recipe(inputs / "exp", "--stage", 3, "--stop-stage", 4, "--seed", 3)
    assert done.returncode == 0, done.stderr
    return inputs / "exp"


@pytest.mark.slow
def test_stage_9_fine_tunes_what_stage_3_trained_and_scores_it(recipe, trained):
    changes = ["--lm-set", "num_epochs=2 dataset_args.num_frms=40 dataloader_args.batch_size=8"]
    done = recipe(trained, "--stage", 9, "--lm-stop-stage", 5, *changes)
    assert done.returncode == 0, done.stderr
    tuned = trained.with_name("exp-LM")
    config = yaml.safe_load((tuned / "config.yaml").read_text())
    assert (config["loss"], config["seed"], config["num_epochs"], config["num_avg"]) == ("aam", 3, 2, 1)
    assert config["margin_update"]["final_margin"] == 0.5
    assert config["dataset_args"]["num_frms"] == 40
    assert read_table(tuned / "spk2id") == read_table(trained / "spk2id")
    assert (tuned / "heldout_spk").read_text() == (trained / "heldout_spk").read_text()
    log = (tuned / "log" / "stage3.log").read_text()
    assert "encoder loaded; head: loaded" in log and "effective learning rate" in log
    assert json.loads((tuned / "results.json").read_text())["results"][TRIALS]
    again = recipe(trained, "--stage", 9, "--lm-stop-stage", 3, *changes)
    assert "training is complete (2 epochs); nothing to do" in again.stderr
    other = recipe(trained, "--stage", 9, "--set", "seed=1")
    assert "exp was begun with another configuration: seed was 3, now 1" in other.stderr.splitlines()[-1]


@pytest.mark.slow
def test_stage_9_without_a_trained_system_is_one_line(recipe, tmp_path):
    done = recipe(tmp_path / "exp", "--stage", 9)
    assert done.returncode == 1
    assert "exp/config.yaml does not exist; train the system first (stage 3)" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "exp-LM").exists()


@pytest.mark.slow
def test_a_teacher_is_asked_once_and_learned_from(recipe, inputs, trained, tmp_path):
    student, words = tmp_path / "student", ["--stage", 3, "--stop-stage", 3, "--teacher", trained, "--loss", "teacher"]
    plan = recipe(student, *words, "--dry-run", "true", speeds=())  # leaves out the copies
    teacher_embeddings = f"{trained}/distillation{inputs}/data/vox2_dev"
    assert f"first the teacher's embeddings, {teacher_embeddings}/xvector.scp" in plan.stdout
    (trained / "distillation").mkdir()
    log = student / "log" / "stage3.log"
    until_it_waits = f"until grep -qs 'waiting for its end' {log}; do sleep 0.1; done"
    another = ["timeout", "90", "flock", trained / "distillation" / ".lock", "bash", "-c", until_it_waits]
    with subprocess.Popen(another) as other:  # which learns from the same teacher
        first = recipe(student, *words, speeds=())
    assert (first.returncode, other.returncode) == (0, 0), first.stderr
    again = recipe(student, *words, speeds=())
    assert again.returncode == 0, again.stderr
    assert "training is complete" in again.stderr
    config = yaml.safe_load((student / "config.yaml").read_text())
    assert (config["teacher"], config["teacher_args"]["dim"]) == (str(trained), 8)
    assert Path(f"{teacher_embeddings}/log/extract.1.log").read_text().count("48 utterances in") == 1
