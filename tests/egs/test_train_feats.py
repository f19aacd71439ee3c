"""The other ways of training through a recipe: waveforms augmented on the way, shards, augmented copies in arks."""

import re
import shutil

import pytest
import soundfile

from sv.io import read_table
from tests.faults.runs import OPTIONS

pytestmark = pytest.mark.recipe


def train(run, corpora, folder, *options, last=4):
    """Stages 1 to the last one; what training said."""
    dirs = ["--corpora", corpora, "--data", folder / "data", "--exp-dir", folder / "exp"]
    words = ["--stage", 1, "--stop-stage", last, "--nj", 1, *dirs, *OPTIONS, *options]
    result = run("egs/mini/run.sh", *words)
    assert result.returncode == 0, result.stderr[-3000:]
    return (folder / "exp/log/stage3.log").read_text()


def check_waveforms(said, folder):
    drawn = re.findall(r"drawn: clean_percent (\S+), .*speed_0.9_percent (\S+),", said)
    assert len(drawn) == 3 and all(20 < float(share) < 60 for epoch in drawn for share in epoch)
    assert "27 speakers to train on" in said  # nine, three times
    data = folder / "data"
    assert not (data / "vox2_dev/feats.scp").exists() and not (data / "fbank/vox2_dev").exists()
    for name, utts in (("vox1", 72), ("vox2_dev", 144)):
        assert (folder / f"exp/embeddings/{name}/xvector.scp").read_text().count("\n") == utts
    assert len(re.findall(r"held-out EER \S+ %", said)) >= 1


def test_from_shards(run, small_corpus, tmp_path):
    check_waveforms(train(run, small_corpus, tmp_path, "--train-feats", "shard", "--speeds", "0.9 1.1"), tmp_path)


def test_from_augmented_copies(run, small_corpus, tmp_path):
    said = train(run, small_corpus, tmp_path, "--augment", "reverb noise babble", "--num-epochs", 2, last=3)
    assert "9 speakers to train on, 3 held out; 432 utterances" in said
    assert len((tmp_path / "data/vox2_dev_noise/utt2augment").read_text().splitlines()) == 144


def test_from_waveforms_of_8_khz_as_over_the_telephone_with_made_up_noise(run, small_corpus, root, tmp_path):
    from scipy.signal import resample_poly  # takes a second, which a worker that only collects should not pay

    narrow = tmp_path / "corpora"
    for path in small_corpus.rglob("*.wav"):
        copy = narrow / path.relative_to(small_corpus)
        copy.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(copy, resample_poly(soundfile.read(path)[0], 1, 2), 8000, subtype="PCM_16")
    for path in small_corpus.rglob("*.txt"):
        shutil.copy(path, narrow / path.relative_to(small_corpus))
    config = tmp_path / "small_8k.yaml"
    preset = root / "egs/voxceleb/conf/resnet34_8k.yaml"
    config.write_text(f"base: {preset}\nmodel: resnet_small\nscheduler_args: {{warm_up_epoch: 1}}\n")
    said = train(run, narrow, tmp_path, "--config", config, "--train-feats", "online", "--speeds", "0.9 1.1")
    check_waveforms(said, tmp_path)
    lines = [float(share) for share in re.findall(r"drawn: .*telephone_percent ([^,\s]+)", said)]
    assert len(lines) == 3 and all(30 < share < 70 for share in lines)
    for kind in ("noises", "rirs"):
        made_up = read_table(tmp_path / f"data/{kind}/wav.scp").values()
        assert {soundfile.info(path).samplerate for path in made_up} == {8000}
