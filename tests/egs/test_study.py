"""The study of speechocean762, on a corpus of some synthetic voices: folds, pooled tables, and what is done stays."""

import shutil

import numpy as np
import pytest
from scipy.io import wavfile

from local.voices import SAMPLE_RATE, draw_session, draw_voice, synthesize
from sv.metrics.results import read_results

STUDY = "egs/speechocean762/run_study.sh"
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
    assert result.stderr.startswith("run_study.sh: error: --part lossess: the parts are augmentation, conditions,")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("condition", ["noise", "rooms", "2", "s"])
def test_an_unknown_condition_is_one_line(run, condition):
    result = run(STUDY, "--conditions", condition)
    assert result.returncode == 1
    assert result.stderr.startswith(
        f"run_study.sh: error: --conditions {condition}: give noise<dB>, room, telephone or"
    )
    assert result.stderr.count("\n") == 1


@pytest.mark.recipe
def test_folds_are_trained_once_and_pooled(run, root, corpus, tmp_path):
    exp, tables, config = tmp_path / "exp", tmp_path / "tables", tmp_path / "tiny.yaml"
    config.write_text(CONFIG.format(root=root))
    tables.mkdir()
    (tables / "first").write_text("# comment\nC clean --loss sphereface2\n")
    (tables / "second").write_text('C clean --loss sphereface2\nagain clean --loss "sphereface2"\n')
    words = ["--corpus", corpus, "--data", tmp_path / "data", "--exp-dir", exp, "--config", config, "--gpus", "none"]
    words += ["--tables", tables, "--num-folds", 2, "--top-n", 3, "--lda-dim", 0, "--nj", 1]

    made = run(STUDY, *words, "--part", "first", "--conditions", "noise5")
    assert made.returncode == 0, made.stderr[-3000:]
    assert "run_study.sh: 3 systems to train or test" in made.stderr
    results = read_results(exp / "pooled" / "C-seed1" / "results.json")
    for trials in ("O.kaldi", "H.kaldi", "H_noise5.kaldi"):
        assert {"cos", "cos_cali", "asnorm3_cali", "plda_cali"} <= results[trials].keys()
        entry = results[trials]["cos"]
        assert entry["num_target"] == 14 * 3
        assert entry["interval"]["num_speakers"] == 14
    assert results["H.kaldi"]["cos"]["eer"] != results["H_noise5.kaldi"]["cos"]["eer"]

    for name in ("split", "fold1", "fold2"):  # what is done stays, and one killed at the end is tested again
        shutil.copytree(exp / name / "C-seed1", exp / name / "again-seed1")
    (exp / "fold2" / "again-seed1" / ".made").unlink()
    (exp / "fold1" / "again-seed1" / ".made.noise5").write_text("of other noise")
    made = run(STUDY, *words, "--part", "second", "--stage", 2, "--conditions", "noise5")
    assert made.returncode == 0, made.stderr[-3000:]
    assert "run_study.sh: 2 systems to train or test" in made.stderr
    assert (exp / "fold2" / "again-seed1" / ".made").read_text().endswith("--loss sphereface2")
    table = (exp / "second-seed1-pooled.md").read_text()
    assert "| O | cos_cali: C-seed1, again-seed1 | EER (%) |" in table
    assert (exp / "second-seed1-split.html").is_file()
