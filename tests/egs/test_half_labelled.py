"""--unlabelled of a recipe: rounds on a tiny corpus, killed and continued; what does not go together is one line."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from sv.config import FineTuning, Override
from sv.embeddings.experiment import read_config
from sv.io import ArkWriter, DataDir, read_table, write_table
from sv.report.rounds import read_round
from sv.system import make_system
from sv.training.network import build_network
from tests.faults.runs import OPTIONS
from tests.waiting import wait_until

KEYS = f"{OPTIONS[-1]} pseudo_args.mask=true pseudo_args.labelled_share=0.5"
WORDS = [*OPTIONS[:-1], KEYS, "--gpus", "none", "--nj", "1"]


@pytest.fixture(scope="module")
def corpus(run, root: Path, small_corpus: Path, tmp_path_factory) -> Path:
    """Data lists of 8 labelled speakers and a test set, and recordings of 4 more speakers with their truth."""
    folder = tmp_path_factory.mktemp("half")
    words = ["--corpora", small_corpus, "--data", folder / "all", "--exp-dir", folder / "none"]
    listed = run("egs/mini/run.sh", "--stage", 1, "--stop-stage", 1, *words, *WORDS)
    assert listed.returncode == 0, listed.stderr
    data = DataDir(folder / "all" / "vox2_dev")
    speakers = sorted(data.spk2utt)
    write_table(folder / "labelled", dict.fromkeys(speakers[:8], ""))
    for words in (
        ["subset_data_dir.sh", "--spk-list", folder / "labelled", data.path],
        ["copy_data_dir.sh", folder / "all/vox1"],
    ):
        name = "vox2_dev" if words[0] == "subset_data_dir.sh" else "vox1"
        done = run(f"tools/{words[0]}", *words[1:], folder / "data" / name)
        assert done.returncode == 0, done.stderr
    (folder / "data/vox1/trials").mkdir(exist_ok=True)
    for trials in (folder / "all/vox1/trials").iterdir():
        (folder / "data/vox1/trials" / trials.name).write_bytes(trials.read_bytes())
    write_table(folder / "data/vox2_dev/spk2gender", dict.fromkeys(speakers[:8], "f"))
    truth = {utt: spk for utt, spk in data.utt2spk.items() if spk in speakers[8:]}
    DataDir.write(folder / "calls", {"wav.scp": {utt: data.wav_scp[utt] for utt in truth}})
    write_table(folder / "truth", truth)
    config = make_system(root / "egs/mini/conf/resnet_small.yaml", [Override.of(word) for word in KEYS.split()])
    torch.manual_seed(0)
    torch.save(build_network(config.model_copy(update={"num_speakers": 2})).flat_state(), folder / "start.pt")
    return folder


def command(folder: Path, exp: Path, *words: object) -> list[str]:
    options = [
        "--data",
        folder / "data",
        "--exp-dir",
        exp,
        "--unlabelled",
        folder / "calls",
        "--truth",
        folder / "truth",
    ]
    stages = ["--stage", 2, "--stop-stage", 5, "--trials", "vox1_O_cleaned.kaldi", "--min-utts", 2]
    return [str(word) for word in ("egs/mini/run.sh", *options, *stages, *WORDS, *words)]


@pytest.mark.recipe
def test_rounds_go_on_where_they_were_killed(run, root: Path, corpus: Path) -> None:
    exp = corpus / "exp"
    keys = f"{KEYS} fine_tuning.frozen_epochs=1 fine_tuning.encoder_lr=0.5"
    words = command(corpus, exp, "--num-rounds", 1, "--checkpoint", corpus / "start.pt", "--set", keys)
    begun = subprocess.Popen(
        ["bash", "-c", 'cd "$0" && . ./path.sh && exec "$@"', str(root), *words],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    with contextlib.suppress(AssertionError):  # told below, by what the recipe said
        wait_until((exp / "round1/models/model_1.pt").is_file, begun, seconds=400)
    os.killpg(begun.pid, signal.SIGKILL)
    told = begun.communicate()[1].decode()
    assert (exp / "round1/models/model_1.pt").is_file(), told[-3000:]
    plan = run(*words, "--dry-run", "true")
    assert plan.returncode == 0 and "stage 3: training (round 0," in plan.stdout, plan.stderr
    first = (
        (exp / "round0/models/avg_model.pt").stat().st_mtime_ns,
        (exp / "round0/clusters/utt2spk").stat().st_mtime_ns,
    )
    done = run(*words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert first[1] == (exp / "round0/clusters/utt2spk").stat().st_mtime_ns
    table = json.loads((exp / "rounds.json").read_text())
    assert (table["best"], len(table["rounds"]), table["why"]) == (1, 2, "1 round done")
    assert table["rounds"][1]["clusters"]["true_speakers"] == 4
    labels = read_table(exp / "round0/clusters/utt2spk")
    made_of = (corpus / "data/calls_unlabelled/.made_of").read_text().splitlines()
    assert made_of == [str(corpus / "calls"), str(corpus / "data/vox2_dev")]
    combined = read_table(exp / "round1/data/all/utt2spk")
    assert labels.items() <= combined.items() and len(combined) == len(labels) + 8 * 12
    assert set((exp / "round1/data/all/pseudo_utts").read_text().split()) == labels.keys()
    gender = read_table(exp / "round1/data/all/spk2gender")  # of clusters it is not known
    assert gender == read_table(corpus / "data/vox2_dev/spk2gender")
    heldout = [(exp / f"round{number}/heldout_spk").read_text().split() for number in range(2)]
    assert heldout[0] == heldout[1] and len(heldout[0]) == 3
    classes = read_table(exp / "round1/spk2id").keys()
    assert set(labels.values()) <= classes and not set(heldout[0]) & classes
    assert "rows set to class means" in (exp / "round1/train.log").read_text()
    tunings = [read_config(exp / f"round{number}").fine_tuning for number in range(2)]
    assert tunings == [FineTuning(frozen_epochs=1, encoder_lr=0.5), FineTuning(encoder_lr=0.5)]
    results = json.loads((exp / "round1/results.json").read_text())["results"]
    assert results["vox1_O_cleaned.kaldi"]["cos"]["eer"] < 50
    told = read_round(exp / "round1")  # for the report
    assert told is not None and (told.labels, told.truth) == (labels, read_table(corpus / "truth"))
    clusters = sorted(set(labels.values()))
    write_table(exp / "round1/data/all/maybe_same_spk", {clusters[0]: "nobody", clusters[1]: clusters[2]})
    fine = run(*words, "--stage", 9, "--stop-stage", 9, "--lm-stop-stage", 3, "--lm-set", "num_epochs=1")
    assert fine.returncode == 0, fine.stderr[-3000:]
    assert read_table(exp / "round1/data/trusted/all/maybe_same_spk") == {clusters[1]: clusters[2]}  # who are there
    summary = run("steps/summarize_rounds.py", exp)
    assert summary.returncode == 0 and "| exp |" in summary.stdout, summary.stderr
    oracle = command(corpus, corpus / "oracle", "--teacher", exp / "round0", "--pseudo-labels", corpus / "truth")
    oracle += ["--set", f"{KEYS} pseudo_args.mask=false", "--stop-stage", "3"]  # no pairs are known
    done = run(*oracle)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (corpus / "oracle/round0").resolve() == (exp / "round0").resolve()
    assert read_table(corpus / "truth").items() <= read_table(corpus / "oracle/round1/data/all/utt2spk").items()

    linked = command(corpus, exp, "--teacher", exp / "round0")
    done = run(*linked)
    assert done.returncode == 1 and f"exp was begun without --teacher {exp}/round0; give another" in done.stderr
    waves = read_table(corpus / "calls/wav.scp")
    write_table(corpus / "calls/wav.scp", {utt: path for utt, path in waves.items() if utt != min(labels)})
    done = run(*words)  # its rounds are not those of these recordings
    told = f"exp/round1 was begun with other labels than those of {exp}/round0/clusters/utt2spk; give the options"
    assert done.returncode == 1 and told in done.stderr, done.stderr[-3000:]
    assert read_table(exp / "round1/data/all/utt2spk") == combined
    assert json.loads((exp / "rounds.json").read_text()) == table


@pytest.mark.slow
def test_recordings_of_another_folder_of_the_same_name_are_not_overwritten(run, tmp_path: Path) -> None:
    for name in ("here/calls", "there/calls", "data/train", "data/calls_unlabelled", "exp"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "exp/system.yaml").write_text("heldout_speakers: 2\ntrain_feats: ark\n")
    note = tmp_path / "data/calls_unlabelled/.made_of"
    words = [tmp_path / "data/train", tmp_path / "data/test", tmp_path / "exp"]
    command = ["steps/train_half_labelled.sh", "--unlabelled", tmp_path / "here/calls", *words]
    for folder, refused in (("there/calls", True), ("gone/calls", False), ("here/calls", False)):
        note.write_text(f"{tmp_path}/{folder}\n{tmp_path}/data/train\n")
        done = run(*command)
        told = f"was made from {tmp_path}/{folder}, without what is in {tmp_path}/data/train; rename {tmp_path}/here"
        assert done.returncode == 1 and (told in done.stderr) == refused, done.stderr
        assert refused or f"{tmp_path}/here/calls has no wav.scp" in done.stderr


@pytest.mark.slow
def test_labels_of_other_recordings_are_told_before_training(run, tmp_path: Path) -> None:
    for name, utts in (("train", "ab"), ("test", "cd"), ("calls", "efg")):
        tables = {"wav.scp": {utt: f"{utt}.wav" for utt in utts}}
        DataDir.write(tmp_path / name, tables | {"utt2spk": {utt: utt for utt in utts}})
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp/system.yaml").write_text("heldout_speakers: 2\ntrain_feats: ark\n")
    (tmp_path / "some").write_text("e one\n")
    (tmp_path / "others").write_text("x one\n")
    words = ["--unlabelled", tmp_path / "calls", *(tmp_path / name for name in ("train", "test", "exp"))]
    for option, name, told in (
        ("--truth", "some", f"some lacks 2 utterances of {tmp_path}/calls, first f; give the speakers of all"),
        ("--pseudo-labels", "others", f"others labels no utterance of {tmp_path}/calls; are they from another"),
    ):
        done = run("steps/train_half_labelled.sh", option, tmp_path / name, *words)
        assert done.returncode == 1 and told in done.stderr, done.stderr
    DataDir.write(tmp_path / "calls", {"wav.scp": {"a": "other.wav"}, "segments": {"e": "a 0 1", "f": "a 1 2"}})
    done = run("steps/train_half_labelled.sh", *words)
    told = f"recording a is another file in {tmp_path}/calls than in {tmp_path}/train; rename it in one of them"
    assert done.returncode == 1 and told in done.stderr, done.stderr


@pytest.mark.slow
def test_round_0_is_not_begun_again_in_another_way(run, tmp_path: Path) -> None:
    for name in ("calls", "train", "first/round0/clusters", "other/clusters", "model/models", "linked/round1"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("first/round0/clusters/.done", "other/clusters/.done", "model/models/avg_model.pt"):
        (tmp_path / name).touch()
    (tmp_path / "linked/round0").symlink_to("../first/round0")
    for name in ("trained/round0/system.yaml", "taught/round0/heldout_spk"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    begun = "was begun with --teacher {}/first/round0; give another --exp-dir, or remove this one"
    another = "was begun with another --teacher, a trained system; give another"
    for exp, teacher, told in (
        ("linked", "", begun.format(tmp_path)),
        ("linked", "other", begun.format(tmp_path)),
        ("linked", "model", begun.format(tmp_path)),
        ("linked", "first/round0", "calls has no wav.scp"),
        ("trained", "other", f"was begun without --teacher {tmp_path}/other; give another"),
        ("trained", "model", f"was begun without --teacher {tmp_path}/model; give another"),
        ("trained", "", "calls has no wav.scp"),
        ("taught", "", another),
        ("taught", "other", another),
        ("taught", "model", "calls has no wav.scp"),
    ):
        (tmp_path / exp / "system.yaml").write_text("heldout_speakers: 2\ntrain_feats: ark\n")
        words = ["--teacher", tmp_path / teacher] if teacher else []
        folders = [tmp_path / "train", tmp_path / "test", tmp_path / exp]
        done = run("steps/train_half_labelled.sh", "--unlabelled", tmp_path / "calls", *words, *folders)
        assert done.returncode == 1 and told in done.stderr, (exp, teacher, done.stderr)
    assert (tmp_path / "linked/round0").resolve() == tmp_path / "first/round0"


@pytest.mark.slow
def test_a_verdict_stays_with_its_rounds(run, tmp_path: Path) -> None:
    train = {f"{spk}{number}": spk for spk in "abcd" for number in range(2)}
    labels = {f"e{number}": f"cluster00000{1 + number // 2}" for number in range(4)}
    for name, utts in (("train", train), ("test", {"t1": "t", "t2": "u"}), ("calls", labels)):
        tables = {table: {utt: f"/{utt}.{table}:0" for utt in utts} for table in ("wav.scp", "feats.scp")}
        DataDir.write(tmp_path / name, tables | {"utt2spk": utts})
    teacher, exp = tmp_path / "first/round0", tmp_path / "exp"
    write_table(teacher / "clusters/utt2spk", labels)
    for file, text in (
        ("clusters/clusters.json", '{"clusters": 2}'),
        ("clusters/.done", ""),
        ("heldout_spk", "a\nb\n"),
    ):
        (teacher / file).write_text(text)
    (teacher / "embeddings/train").mkdir(parents=True)
    with ArkWriter(teacher / "embeddings/train/x.ark", teacher / "embeddings/train/xvector.scp") as writer:
        for row, utt in enumerate(train):
            writer.write(utt, np.eye(8, dtype=np.float32)[row // 2] + 0.1 * np.eye(8, dtype=np.float32)[row])
    DataDir.write(exp / "round1/data/all", {"utt2spk": train | dict.fromkeys(labels, "cluster000001")})
    (exp / "round1/models").mkdir()
    for name in ("model_1.pt", "avg_model.pt"):
        (exp / "round1/models" / name).touch()
    (exp / "system.yaml").write_text("heldout_speakers: 2\ntrain_feats: ark\n")
    verdict = '{\n  "best": 1,\n  "why": "1 round done"\n}\n'
    (exp / "rounds.json").write_text(verdict)
    words = ["--unlabelled", tmp_path / "calls", "--teacher", teacher, tmp_path / "train", tmp_path / "test", exp]
    done = run("steps/train_half_labelled.sh", *words)
    told = f"{exp}/round1 was begun with other labels than those of {exp}/round0/clusters/utt2spk; give the options"
    assert done.returncode == 1 and told in done.stderr, done.stderr
    assert set(read_table(exp / "round1/data/all/utt2spk").values()) == {*"abcd", "cluster000001"}
    assert (exp / "rounds.json").read_text() == verdict
    shutil.rmtree(exp / "round1")
    done = run("steps/train_half_labelled.sh", *words)  # it cannot train: there are no features
    assert done.returncode == 1 and not (exp / "rounds.json").exists(), done.stderr
    assert labels.items() <= read_table(exp / "round1/data/all/utt2spk").items()
    done = run("steps/train_half_labelled.sh", "--stage", 4, *words)
    assert f"{exp}/rounds.json does not exist: the rounds have not ended; run stage 3" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "words", "told"),
    [
        (1, ["--unlabelled", "nowhere"], "nowhere is not a data dir; give a folder with wav.scp"),
        (
            1,
            ["--unlabelled", "{}/calls", "--speeds", "0.9"],
            "--unlabelled cannot use copies in arks (--speeds, --augment)",
        ),
        (
            1,
            ["--unlabelled", "{}/calls", "--truth", "x"],
            "/x does not exist, or is empty; give a file with lines 'utterance",
        ),
        (
            1,
            ["--unlabelled", "{}/calls", "--truth", "{}/twice"],
            "/twice:2: expected 'utterance speaker', each utterance once",
        ),
        (
            1,
            ["--unlabelled", "{}/calls", "--pseudo-labels", "{}/word"],
            "/word:1: expected 'utterance speaker', each utterance",
        ),
        (
            1,
            ["--unlabelled", "{}/calls", "--teacher", "x"],
            "/x is neither a trained system (models/avg_model.pt) nor a",
        ),
        (
            1,
            ["--unlabelled", "{}/calls", "--set", "teacher={}/taught"],
            "give it as --teacher, and leave the key teacher out",
        ),
        (
            2,
            ["--unlabelled", "{}/calls", "--num-rounds", "-1"],
            "--num-rounds is at least 0, not -1",
        ),
        (
            2,
            ["--unlabelled", "{}/calls", "--num-rounds", "0", "--teacher", "{}/taught"],
            "--num-rounds 0 trains on the labelled speakers only, without --teacher and --pseudo-labels; leave these",
        ),
        (2, ["--unlabelled", "{}/calls", "--min-utts", "0"], "--min-utts is at least 1, not 0"),
        (
            2,
            ["--unlabelled", "{}/calls", "--false-links", "1"],
            "--false-links 1: it must be a share of at least 0 and below 1",
        ),
        (2, ["--truth", "x"], "--truth needs --unlabelled DIR; give both, or neither"),
        (2, ["--min-utts", "3"], "--min-utts needs --unlabelled DIR; give both, or neither"),
    ],
)
def test_what_does_not_go_together_is_one_line(run, tmp_path: Path, status: int, words: list[str], told: str) -> None:
    (tmp_path / "taught/models").mkdir(parents=True)
    (tmp_path / "taught/models/avg_model.pt").touch()
    (tmp_path / "twice").write_text("a one\na two\n")
    (tmp_path / "word").write_text("a\n")
    DataDir.write(tmp_path / "calls", {"wav.scp": {"a": "a.wav", "b": "b.wav"}})
    words = [word.format(tmp_path) for word in words]
    done = run("egs/mini/run.sh", "--data", tmp_path / "data", "--exp-dir", tmp_path / "exp", *words)
    assert done.returncode == status and told in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "exp").exists()


@pytest.mark.slow
def test_nothing_to_cluster_is_told_before_features(run, tmp_path: Path) -> None:
    calls, train, files = tmp_path / "calls", tmp_path / "data/vox2_dev", {"a": "a.wav", "b": "b.wav"}
    DataDir.write(calls, {"wav.scp": files})
    words = ["--data", tmp_path / "data", "--exp-dir", tmp_path / "exp", "--unlabelled", calls, "--speeds", ""]
    for labelled, told in ((["a", "b"], "no utterance"), (["a"], "one utterance")):
        DataDir.write(
            train, {"wav.scp": {utt: files[utt] for utt in labelled}, "utt2spk": dict.fromkeys(labelled, "s")}
        )
        done = run("egs/mini/run.sh", "--stage", 2, *words)
        assert f"{calls} has {told} that is not in {train}; give" in done.stderr
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    (calls / "wav.scp").write_text("a a.wav\n")
    done = run("egs/mini/run.sh", *words)
    assert f"{calls} has one utterance; give at least two to cluster" in done.stderr
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and not (tmp_path / "exp").exists()
