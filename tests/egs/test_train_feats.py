"""The other ways of training through a recipe: waveforms augmented on the way, shards, augmented copies in arks."""

import re

import pytest

from tests.faults.runs import OPTIONS

pytestmark = pytest.mark.recipe


@pytest.fixture(scope="module")
def corpora(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "corpora"
    assert run("local/make_mini_corpus.py", "--num-train", 12, "--num-test", 6, folder).returncode == 0
    return folder


def train(run, corpora, name, *options):
    """Stages 1 to 4; what was said."""
    folder = corpora.parent
    dirs = ["--corpora", corpora, "--data", folder / f"data-{name}", "--exp-dir", folder / name]
    result = run("egs/mini/run.sh", "--stage", 1, "--stop-stage", 4, *dirs, *OPTIONS, *options, timeout=600)
    assert result.returncode == 0, result.stderr[-3000:]
    assert (folder / name / "embeddings/vox1/xvector.scp").read_text().count("\n") == 72
    return result.stderr


@pytest.mark.parametrize("train_feats", ["online", "shard"])
def test_from_waveforms(run, corpora, train_feats):
    said = train(run, corpora, train_feats, "--train-feats", train_feats, "--speeds", "0.9 1.1")
    drawn = re.findall(r"drawn: clean_percent (\S+), .*speed_0.9_percent (\S+),", said)
    assert len(drawn) == 3 and all(20 < float(share) < 60 for epoch in drawn for share in epoch)
    assert "27 speakers to train on" in said  # nine, three times
    data = corpora.parent / f"data-{train_feats}"
    assert not (data / "vox2_dev/feats.scp").exists() and not (data / "fbank/vox2_dev").exists()
    vectors = corpora.parent / train_feats / "embeddings/vox2_dev/xvector.scp"
    assert vectors.read_text().count("\n") == 144
    assert len(re.findall(r"held-out EER \S+ %", said)) >= 1


def test_from_augmented_copies(run, corpora):
    said = train(run, corpora, "copies", "--augment", "reverb noise babble")
    assert "9 speakers to train on, 3 held out; 432 utterances" in said
    assert len((corpora.parent / "data-copies/vox2_dev_noise/utt2augment").read_text().splitlines()) == 144
