"""What a training reads from: waveforms in files and in shards give the same batches."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv.audio.durations import format_seconds
from sv.audio.tar_shards import Recording, index_path, read_entries, write_shard
from sv.config import Config
from sv.data import FaultTolerantDataset
from sv.io import write_table
from sv.training.dataset import TrainingData, build_dataset, read_data

RATE, MELS = 16000, 16


@pytest.fixture
def wave_dir(tmp_path: Path) -> Path:
    """Six utterances of three speakers as WAV and FLAC files, and two shards."""
    rng, wavs, recordings = np.random.default_rng(0), {}, []
    for number in range(6):
        utt, ending = f"s{number // 2}/{number}.wav", "wav" if number % 2 else "flac"
        path, samples = tmp_path / f"{number}.{ending}", 6001 + 97 * number
        soundfile.write(path, rng.normal(0, 0.1, samples), RATE)
        wavs[utt] = str(path)
        recordings.append(Recording(utt, utt[:2], ending, path.read_bytes(), RATE, samples))
    write_table(tmp_path / "wav.scp", wavs)
    write_table(tmp_path / "utt2spk", {utt: utt[:2] for utt in wavs})
    write_table(tmp_path / "utt2dur", {one.utt: format_seconds(one.num_samples / RATE) for one in recordings})
    write_shard(tmp_path / "1.tar", recordings[:4][::-1])
    write_shard(tmp_path / "2.tar", recordings[4:])
    (tmp_path / "shard.list").write_text(f"{tmp_path}/1.tar\n{tmp_path}/2.tar\n")
    return tmp_path


def waveform_config(make_config: Callable[..., Config], train_feats: str) -> Config:
    args = {
        "num_frms": 20,
        "min_num_frames": 10,
        "fbank_args": {"num_mel_bins": MELS},
        "speeds": [0.9, 1.1],
        "aug_prob": 0.0,
    }
    return make_config(train_feats=train_feats, dataset_args=args)


def with_copies(config: Config, folder: Path) -> TrainingData:
    data = read_data(config, folder)
    copies = sorted(f"{copy}{name}" for copy in ("", "sp0.9-", "sp1.1-") for name in data.index.speakers)
    return data.with_speakers(copies)


def test_shards_give_the_batches_of_files(wave_dir: Path, make_config: Callable[..., Config]) -> None:
    configs = [waveform_config(make_config, kind) for kind in ("online", "shard")]
    data = [with_copies(config, wave_dir) for config in configs]
    assert data[0].index.fingerprint() == data[1].index.fingerprint()
    online, shard = (build_dataset(*each, on_gpu=False) for each in zip(configs, data, strict=True))
    utts = np.array([3, 0, 5, 2, 4, 1])
    for epoch in range(3):
        one, other = online.batch(utts, epoch), shard.batch(utts, epoch)
        assert one.features.shape == (6, 20, MELS)
        assert one.features.equal(other.features) and one.speaker.equal(other.speaker)
    assert online.fingerprint() == shard.fingerprint()


def test_a_corrupt_member_is_replaced(wave_dir: Path, make_config: Callable[..., Config]) -> None:
    entry = read_entries(wave_dir / "2.tar")[0]
    with open(wave_dir / "2.tar", "r+b") as f:
        f.seek(entry.offset)
        f.write(bytes(entry.size))
    index_path(wave_dir / "2.tar").touch()
    config = waveform_config(make_config, "shard")
    data = with_copies(config, wave_dir)
    dataset = build_dataset(config, data, on_gpu=False)
    mended = FaultTolerantDataset(dataset, np.arange(6), data.index, seed=0, max_share=0.2)
    batch = mended.batch(np.array([0, 4]), 1)
    assert batch.utts[0] == 0 and batch.utts[1] == 5
    assert list(mended.bad.why) == [entry.utt] and f"{wave_dir}/2.tar" in mended.bad.why[entry.utt]
    assert mended.bad.why[entry.utt].endswith("make the shard again (steps/make_shards.sh --verify true)")
