"""The study of speechocean762, on a corpus of some synthetic voices: folds, pooled tables, and what is done stays."""

import re
import shlex
import shutil

import numpy as np
import pytest
from scipy.io import wavfile

from local.voices import SAMPLE_RATE, draw_session, draw_voice, synthesize
from sv.config import Override, read_front_end
from sv.metrics.results import read_results
from sv.system import make_system
from tests.conftest import ROOT

STUDY = "egs/speechocean762/run_study.sh"
TABLES = sorted((ROOT / "egs/speechocean762/study").iterdir())
CONFIG = """
base: {root}/egs/speechocean762/conf/resnet_small.yaml
num_epochs: 1
model_args: {{embed_dim: 4}}
num_avg: 1
margin_update: {{increase_start_epoch: 0, fix_start_epoch: 1}}
dataset_args: {{num_frms: 40, min_num_frames: 20}}
dataloader_args: {{batch_size: 8, num_workers: 0}}
scheduler_args: {{warm_up_epoch: 0}}
heldout_speakers: 3
"""


@pytest.fixture
def corpus(tmp_path):
    """In the form of speechocean762: 8 training speakers and 6 test speakers of three utterances of 0.6 s."""
    root = tmp_path / "corpus"
    for name, speakers in (("train", range(8)), ("test", range(8, 14))):
        tables = dict.fromkeys(("wav.scp", "utt2spk", "spk2gender", "spk2age"), "")
        for spk in speakers:
            rng = np.random.default_rng(spk)
            voice = draw_voice(rng, female=spk % 2 == 0)
            tables["spk2gender"] += f"{spk:04} {'mf'[spk % 2 == 0]}\n"
            tables["spk2age"] += f"{spk:04} 30\n"
            for n in range(3):
                utt = f"{spk:04}{n}"
                path = root / "WAVE" / f"{utt}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                wavfile.write(path, SAMPLE_RATE, synthesize(rng, voice, draw_session(rng), 60))
                tables["wav.scp"] += f"{utt} WAVE/{utt}.wav\n"
                tables["utt2spk"] += f"{utt} {spk:04}\n"
        (root / name).mkdir(parents=True)
        for table, text in tables.items():
            (root / name / table).write_text(text)
    return root


def test_an_unknown_part_is_one_line(run):
    result = run(STUDY, "--part", "lossess")
    assert result.returncode == 1
    assert result.stderr.startswith("run_study.sh: error: --part lossess: the parts are augmentation, backends,")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("condition", ["noise", "rooms", "2", "s"])
def test_an_unknown_condition_is_one_line(run, condition):
    result = run(STUDY, "--conditions", condition)
    assert result.returncode == 2
    assert result.stderr.startswith(
        f"run_study.sh: error: --conditions {condition}: give noise<dB>, room, telephone or"
    )
    assert result.stderr.count("\n") == 1


def system_of(options, keys):
    """Return the configuration that run.sh resolves from the options of a row, of which --speeds is no key."""
    words = []
    for name, value in zip(*[iter(options)] * 2, strict=True):
        assert name.startswith("--")
        if name == "--set":
            words += value.split()
        elif name != "--speeds":
            words.append(f"{keys[name[2:].replace('-', '_')]}={value.lstrip('@')}")
    return make_system(ROOT / "egs/speechocean762/conf/resnet_small.yaml", [Override.of(word) for word in words])


@pytest.mark.slow
def test_every_row_is_a_system_and_a_name_stands_for_one():
    lines = "".join((ROOT / f"steps/options/{name}.sh").read_text() for name in ("system", "features"))
    keys = dict(re.findall(r"^(\w+)=.*\[([\w.]+)\]$", lines, re.MULTILINE)) | {"teacher": "teacher"}
    rows = {}
    for table in TABLES:
        names = []
        for row in table.read_text().splitlines():
            if row.startswith("#"):
                continue
            name, labels, *options = shlex.split(row)
            assert rows.setdefault(name, (labels, options)) == (labels, options), f"{table}: {name}"
            assert re.fullmatch(r"clean|(classwise|symmetric)0\.\d", labels)
            system_of(options, keys)
            starts = [word[1:] for word in options if word.startswith("@")]
            assert set(starts) <= set(names), f"{table}: {name} starts from what stands above it"
            names.append(name)


def test_the_readme_counts_the_systems_of_every_part():
    rows = {table.name: {row for row in table.read_text().splitlines() if row[0] != "#"} for table in TABLES}
    together = re.search(r'^  part="(.*)\${teacher:\+ teacher}"$', (ROOT / STUDY).read_text(), re.MULTILINE)
    assert together is not None
    rows["all"] = set().union(*(rows[name] for name in [*together[1].split(), "teacher"]))
    readme = (ROOT / "egs/speechocean762/README.md").read_text()
    counts = dict(re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|[^|]*\|[^|]*\|$", readme, re.MULTILINE))
    assert counts == {name: str(len(found)) for name, found in rows.items()}


def study(run, tmp_path, tables, *words):
    """Run the study on tables given as text."""
    for name, text in tables.items():
        (tmp_path / "tables").mkdir(exist_ok=True)
        (tmp_path / "tables" / name).write_text(text)
    (tmp_path / "tiny.yaml").write_text(CONFIG.format(root=ROOT))
    given = {"data": "data", "exp-dir": "exp", "config": "tiny.yaml", "tables": "tables"}
    paths = [word for name, path in given.items() for word in (f"--{name}", tmp_path / path)]
    sizes = ["--num-folds", 2, "--top-n", 3, "--lda-dim", 0, "--nj", 1, "--gpus", "none"]
    return run(STUDY, *paths, *sizes, "--part", " ".join(tables), *words)


def test_a_name_of_two_systems_is_one_line(run, tmp_path):
    tables = {"a": "C clean\nother clean\n", "b": "C clean\nother clean --loss aam\n"}
    result = study(run, tmp_path, tables)
    told = "--part a b: other is the name of two systems; give each its own"
    assert (result.returncode, result.stderr) == (1, f"run_study.sh: error: {told}\n")


def test_a_part_with_a_teacher_asks_for_one(run, tmp_path):
    result = study(run, tmp_path, {"a": "taught clean --teacher TEACHER\n"})
    told = "--part a needs a teacher; give a trained or imported system as --teacher DIR (docs/fine-tuning.md)"
    assert (result.returncode, result.stderr) == (1, f"run_study.sh: error: {told}\n")


def test_a_part_of_the_folds_that_is_none_of_the_parts_is_one_line(run, tmp_path):
    result = study(run, tmp_path, {"a": "C clean\n"}, "--fold-part", "b")
    told = "run_study.sh: error: --fold-part b is none of the parts: a\n"
    assert (result.returncode, result.stderr) == (2, told)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--part", ""], "--part names no table; the parts are a, or all"),
        (["--num-folds", 1], "--num-folds 1: give 0, or 2 or more"),
        (["--num-folds", -2], "--num-folds -2: give 0, or 2 or more"),
        (
            ["--speakers", "train", "--num-folds", 0],
            "--speakers train --num-folds 0: systems are trained on folds alone; give 2 or more",
        ),
        (
            ["--speakers", "train", "--fold-part", "a"],
            '--speakers train --fold-part "a": all parts have folds; leave --fold-part out',
        ),
    ],
)
def test_options_that_leave_nothing_to_train_are_one_line(run, tmp_path, words, told):
    result = study(run, tmp_path, {"a": "C clean\n"}, *words)
    assert (result.returncode, result.stderr) == (2, f"run_study.sh: error: {told}\n")


def made(folder):
    """Mark a system as trained and scored; its results are a line."""
    folder.mkdir(parents=True)
    (folder / ".made").touch()
    (folder / "results.md").write_text(f"# Results of {folder.name}\n\nfigures\n")


def test_results_of_nothing_do_not_replace_those_there_are(run, tmp_path):
    made(tmp_path / "exp" / "split" / "other-seed1")
    (tmp_path / "exp" / "RESULTS.md").write_text("figures\n")
    result = study(run, tmp_path, {"a": "C clean\n"}, "--stage", 3)
    told = f'run_study.sh: error: no system of --part "a" is done in {tmp_path}/exp; run stage 2'
    assert (result.returncode, result.stderr.splitlines()[-1]) == (1, told)
    assert (tmp_path / "exp" / "RESULTS.md").read_text() == "figures\n"


def test_a_system_alone_has_its_results_and_a_part_that_comes_twice_has_them_once(run, tmp_path):
    made(tmp_path / "exp" / "split" / "C-seed1")
    result = study(run, tmp_path, {"a": "C clean\n"}, "--stage", 3, "--part", "a a", "--seeds", "1 1")
    assert result.returncode == 0, result.stderr
    told = (tmp_path / "exp" / "RESULTS.md").read_text()
    assert told.count("\n## The corpus's own split, a\n\n### Results of C-seed1\n\nfigures\n") == 1


def test_old_pooled_results_are_left_out_if_a_fold_is_not_done(run, tmp_path):
    for folder in ("split", "fold1", "pooled"):
        made(tmp_path / "exp" / folder / "C-seed1")
    (tmp_path / "exp" / "pooled" / "C-seed1" / "results.json").touch()
    result = study(run, tmp_path, {"a": "C clean\n"}, "--stage", 3)
    assert "C-seed1 is not done; the results of pooled are without it" in result.stderr
    assert "Cross-validation" not in (tmp_path / "exp" / "RESULTS.md").read_text()


def test_stage_2_before_stage_1_is_one_line(run, tmp_path):
    result = study(run, tmp_path, {"a": "C clean\n"}, "--stage", 2)
    told = f'run_study.sh: error: {tmp_path}/data/train does not exist; run stage 1 with --part "a"'
    assert (result.returncode, result.stderr.splitlines()[-1]) == (1, told)


@pytest.mark.slow
def test_a_row_that_starts_from_another_is_trained_behind_it(run, tmp_path):
    for name in ("train", "folds_all/fold1/train", "folds_all/fold2/train"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "utt2spk").write_text("a a\n")
    (tmp_path / "net" / "models").mkdir(parents=True)
    (tmp_path / "net" / "models" / "avg_model.pt").touch()
    rows = "C clean --loss aam\nC-on clean --checkpoint @C\ntaught clean --teacher TEACHER\n"
    tables, dry = {"a": rows, "b": "C clean --loss aam\n"}, ["--stage", 2, "--stop-stage", 2, "--cmd", "true"]
    result = study(run, tmp_path, tables, "--teacher", tmp_path / "net", *dry)
    assert result.returncode == 0, result.stderr
    assert [line.split(": ")[1] for line in result.stderr.splitlines() if "to train" in line] == [
        f"{count} systems to train or test; their logs are {tmp_path}/exp/log/study.*.log" for count in (6, 3)
    ]
    jobs = {name: (tmp_path / "exp" / "jobs" / name).read_text() for name in ("7", "8", "9")}
    for name, folder in zip(jobs, ("split", "fold1", "fold2"), strict=True):
        assert f" --checkpoint {tmp_path}/exp/{folder}/C-seed1/models/avg_model.pt " in jobs[name]
    result = study(run, tmp_path, tables, "--teacher", tmp_path / "net", "--fold-part", "b", *dry)  # row C alone
    assert re.findall(r"(\d) systems to train", result.stderr) == ["4", "1"]


@pytest.mark.slow
def test_a_failed_system_does_not_keep_others_from_their_training_and_results(run, tmp_path):
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "data" / "train" / "utt2spk").write_text("a a\n")
    made(tmp_path / "exp" / "split" / "done-seed1")
    tables = {"a": "C clean --loss aam\nC-on clean --checkpoint @C\n", "b": "done clean\n"}
    dry = ["--num-folds", 0, "--stage", 2, "--cmd", f"{tmp_path}/jobs.sh"]
    (tmp_path / "jobs.sh").write_text(f"#!/bin/sh\ntouch {tmp_path}/exp/split/done-seed1/.made\nexit 1\n")
    (tmp_path / "jobs.sh").chmod(0o755)
    result = study(run, tmp_path, tables, *dry)
    assert re.findall(r"(\d) systems to train", result.stderr) == ["2", "1"]
    assert "### Results of done-seed1" in (tmp_path / "exp" / "RESULTS.md").read_text()
    told = "some systems failed (see above); their results are left out, and the same command tries them again"
    assert (result.returncode, result.stderr.splitlines()[-1]) == (1, f"run_study.sh: error: {told}")


@pytest.mark.slow
def test_what_is_done_stays_done_and_a_changed_base_of_the_configuration_is_refused(run, tmp_path):
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "data" / "train" / "utt2spk").write_text("a a\n")
    (tmp_path / "exp" / "split" / "C-seed1").mkdir(parents=True)
    (tmp_path / "base.yaml").write_text(CONFIG.format(root=ROOT))
    (tmp_path / "study.yaml").write_text("base: base.yaml\n")
    (tmp_path / "mark.sh").write_text(f"#!/bin/sh\nsed 's/.*&& //' {tmp_path}/exp/jobs/1 | sh\n")  # as if trained
    (tmp_path / "mark.sh").chmod(0o755)
    words = ["--num-folds", 0, "--stage", 2, "--stop-stage", 2, "--cmd", tmp_path / "mark.sh"]
    words += ["--config", tmp_path / "study.yaml"]
    for count in (1, 0):
        result = study(run, tmp_path, {"a": "C clean\n"}, *words)
        assert (result.returncode, result.stdout) == (0, ""), result.stderr
        assert result.stderr.count("1 systems to train") == count
    with (tmp_path / "base.yaml").open("a") as stream:
        stream.write("num_epochs: 7\n")
    result = study(run, tmp_path, {"a": "C clean\n"}, *words)
    told = f"make_system.py: error: {tmp_path}/exp was begun with another configuration: num_epochs was 1, now 7;"
    assert (result.returncode, result.stderr.splitlines()[-1][: len(told)]) == (1, told)
    assert (tmp_path / "exp" / "split" / "C-seed1" / ".made").exists()


@pytest.mark.slow
def test_speed_copies_of_the_test_speakers_leave_the_features_of_both_sets_alone(run, corpus, tmp_path):
    data, speeds = tmp_path / "data", ["--speeds", "0.9 1.1"]
    row = f'C clean --loss sphereface2 {speeds[0]} "{speeds[1]}"\n'
    made = study(run, tmp_path, {"a": row}, "--corpus", corpus, "--stop-stage", 1)
    assert made.returncode == 0, made.stderr[-3000:]
    dither = {"train": 1.0, "test": 0.0, "test_sp0.9": 1.0, "folds_all/all": 1.0, "folds_all/fold1/test": 1.0}
    assert {name: read_front_end(data / name).dither for name in dither} == dither
    assert (data / "folds_all/fold2/train_sp/copies").read_text() == "sp0.9\nsp1.1\n"
    utts = (data / "folds_all/all_sp/feats.scp").read_text().split()[::2]
    assert len(utts) == len(set(utts)) == 3 * 14 * 3
    log = tmp_path / "exp/features/log/stage2.log"
    log.unlink()
    options = ["--config", tmp_path / "exp/features/system.yaml", "--exp-dir", tmp_path / "exp/features", *speeds]
    again = run("egs/speechocean762/run.sh", *options, "--data", data, "--stage", 2, "--stop-stage", 2)
    assert again.returncode == 0, again.stderr
    said = log.read_text()
    assert "parts to make" not in said and f"{data}/test/feats.scp is there already" in said


@pytest.mark.recipe
def test_folds_are_trained_once_and_pooled(run, corpus, tmp_path):
    exp, condition = tmp_path / "exp", ["--conditions", "noise5"]
    made = study(run, tmp_path, {"first": "# comment\nC clean --loss sphereface2\n"}, "--corpus", corpus, *condition)
    assert made.returncode == 0, made.stderr[-3000:]
    assert "run_study.sh: 3 systems to train or test" in made.stderr
    results = read_results(exp / "pooled" / "C-seed1" / "results.json")
    for trials in ("O.kaldi", "H.kaldi", "H_noise5.kaldi"):
        assert {"cos", "cos_cali", "asnorm3_cali", "plda_cali", "fused"} <= results[trials].keys()
        entry = results[trials]["cos"]
        assert entry["num_target"] == 14 * 3
        assert entry["interval"]["num_speakers"] == 14
    assert results["H.kaldi"]["cos"]["eer"] != results["H_noise5.kaldi"]["cos"]["eer"]

    for name in ("split", "fold1", "fold2"):
        shutil.copytree(exp / name / "C-seed1", exp / name / "again-seed1")
    tables = {"first": "C clean --loss sphereface2\n", "second": 'again clean --loss "sphereface2"\n'}
    tables["second"] = tables["first"] + tables["second"]
    made = study(run, tmp_path, tables, *condition, "--stage", 2)
    assert made.returncode == 0, made.stderr[-3000:]
    assert "to train or test" not in made.stderr  # what is done stays
    told = (exp / "RESULTS.md").read_text()
    heads = [f"{ground}, {part}" for ground in ("The corpus's own split", "Cross-validation") for part in tables]
    assert re.findall("^## (.*)", told, re.MULTILINE) == heads
    assert told.count("### Results of C-seed1\n\n| trials | back-end |") == 2  # alone in the first part
    assert told.count("| O | cos_cali: C-seed1, again-seed1 | EER (%) |") == 2
    assert told in made.stdout
    for ground in ("split", "pooled"):
        assert "<h1>C-seed1, again-seed1</h1>" in (exp / f"report-{ground}.html").read_text()

    (exp / "fold2" / "again-seed1" / ".made").unlink()  # one killed at the end, and one tested in other noise
    (exp / "fold1" / "again-seed1" / ".made.noise5").write_text("of other noise")
    made = study(run, tmp_path, tables, *condition, "--stage", 2, "--stop-stage", 2, "--cmd", "true")
    assert "run_study.sh: 2 systems to train or test" in made.stderr
    jobs = [(exp / "jobs" / name).read_text() for name in ("1", "2")]
    assert [("run.sh " in job, "run_system.sh " in job) for job in jobs] == [(False, True), (True, False)]
