"""The other ways of training through a recipe: waveforms augmented on the way, shards, augmented copies in arks.

All of them on telephone speech of 8 kHz, with made-up noise.
"""

import json
import re
import shutil

import numpy as np
import pytest
import soundfile

from sv.io import read_table, read_vectors
from sv.metrics.provenance import embeddings_origin
from tests.faults.runs import OPTIONS

pytestmark = pytest.mark.recipe


def recipe(run, folder, *options):
    """Some stages of the mini recipe in a folder with a configuration; its standard error."""
    dirs = ["--data", folder / "data", "--exp-dir", folder / "exp"]
    result = run("egs/mini/run.sh", "--config", folder / "small_8k.yaml", "--nj", 1, *dirs, *OPTIONS, *options)
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.fixture(scope="module")
def listed(run, small_corpus, root, tmp_path_factory):
    """A folder with a configuration and what stage 1 leaves: data lists, noise and impulse responses of 8 kHz."""
    from scipy.signal import resample_poly  # takes a second, which a worker that only collects should not pay

    folder = tmp_path_factory.mktemp("telephone")
    for path in small_corpus.rglob("*.wav"):
        copy = folder / "corpora" / path.relative_to(small_corpus)
        copy.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(copy, resample_poly(soundfile.read(path)[0], 1, 2), 8000, subtype="PCM_16")
    for path in small_corpus.rglob("*.txt"):
        shutil.copy(path, folder / "corpora" / path.relative_to(small_corpus))
    preset = root / "egs/voxceleb/conf/resnet34_8k.yaml"
    system = f"base: {preset}\nmodel: resnet_small\nscheduler_args: {{warm_up_epoch: 1}}\n"
    (folder / "small_8k.yaml").write_text(system)
    corpora = ["--corpora", folder / "corpora"]
    recipe(run, folder, "--stage", 1, "--stop-stage", 1, *corpora, "--train-feats", "online")
    return folder


@pytest.fixture
def train(run, listed, tmp_path):
    """Run stages 2 to the last one in a folder of their own; return what training said, and the folder."""

    def go(*options, last):
        folder = tmp_path / "copy"
        shutil.copytree(listed, folder, ignore=shutil.ignore_patterns("corpora", "exp"))
        recipe(run, folder, "--stage", 2, "--stop-stage", last, *options)
        return (folder / "exp/log/stage3.log").read_text(), folder

    return go


def check_waveforms(said, folder):
    drawn = re.findall(r"drawn: clean_percent (\S+), .*speed_0.9_percent (\S+),", said)
    assert len(drawn) == 3 and all(20 < float(share) < 60 for epoch in drawn for share in epoch)
    assert "27 speakers to train on" in said  # nine, three times
    assert not (folder / "data/vox2_dev/feats.scp").exists() and not (folder / "data/fbank/vox2_dev").exists()
    assert len(re.findall(r"held-out EER \S+ %", said)) >= 1


def test_from_shards_to_embeddings(train):
    said, folder = train("--train-feats", "shard", "--speeds", "0.9 1.1", last=4)
    check_waveforms(said, folder)
    assert (folder / "data/vox2_dev/shard.list").is_file()
    for name, utts in (("vox1", 72), ("vox2_dev", 144)):
        assert (folder / f"exp/embeddings/{name}/xvector.scp").read_text().count("\n") == utts


def test_from_augmented_copies(train):
    said, folder = train("--augment", "reverb noise babble", "--num-epochs", 2, last=3)
    assert "9 speakers to train on, 3 held out; 432 utterances" in said
    assert len((folder / "data/vox2_dev_noise/utt2augment").read_text().splitlines()) == 144


def test_back_ends_and_calibration_on_augmented_copies(train):
    said, folder = train("--train-feats", "online", "--backend-augment", "mixed", last=7)
    assert "9 speakers to train on, 3 held out" in said
    scp = folder / "exp/embeddings/vox2_dev_backend/xvector.scp"
    embeddings = read_vectors(scp)
    assert len(embeddings.ids) == 288
    clean, copies = (embeddings.matrix[rows] for rows in (slice(0, None, 2), slice(1, None, 2)))
    assert all(copy == f"{utt}-mixed" for utt, copy in zip(embeddings.ids[::2], embeddings.ids[1::2], strict=True))
    assert np.abs(clean - copies).max(axis=1).min() > 1e-3  # of the augmented features, not of the clean waveforms
    trained_on = json.loads((folder / "exp/plda/.done").read_text())["options"]
    assert embeddings_origin(scp).items() <= trained_on.items()
    pairs = [line.split() for line in (folder / "exp/calibration/heldout.kaldi").open()]
    assert any(name.endswith("-mixed") for pair in pairs for name in pair[:2])
    assert not any(f"{one}-mixed" == other for one, other, _ in pairs)


def test_from_waveforms_as_over_the_telephone_with_made_up_noise(train):
    said, folder = train("--train-feats", "online", "--speeds", "0.9 1.1", last=3)
    check_waveforms(said, folder)
    lines = [float(share) for share in re.findall(r"drawn: .*telephone_percent ([^,\s]+)", said)]
    assert len(lines) == 3 and all(30 < share < 70 for share in lines)
    for kind in ("noises", "rirs"):
        made_up = read_table(folder / f"data/{kind}/wav.scp").values()
        assert {soundfile.info(path).samplerate for path in made_up} == {8000}
