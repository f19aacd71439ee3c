"""Frames of speech: the same from arks and from waveforms, after the mean over all frames; silence is named."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sv.audio.features import Fbank, find_voiced
from sv.audio.files import read_wav
from sv.audio.vad_parts import VadParts
from sv.config import AugmentArgs, Config, DatasetArgs, parse_config
from sv.data import ArkReader, Augmenter, ClipFolders, FbankReader, OnlineDataset, WavScpSource, read_index
from sv.data.fbank_parts import FbankParts
from sv.data.voiced import VoicedReader, read_voiced
from sv.errors import UserError
from sv.io import read_table, write_table
from sv.jobs.parts import Parts
from sv.training.dataset import read_data
from tests.sv.audio.vad_data import RATE, UTTS, make_data

ARGS = DatasetArgs(vad=True, num_frms=20)


def work(parts: Parts) -> None:
    if parts.begin():
        parts.run(1)
        parts.finish()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Noise between silence, the third utterance all silence, with features and VAD."""
    folder = make_data(tmp_path / "data")
    soundfile.write(folder / "2.wav", np.zeros(20000), RATE)
    work(FbankParts(data_dir=folder, ark_dir=tmp_path / "ark", system=Config()))
    vad = ARGS.vad_args.model_dump()
    work(VadParts(data_dir=folder, ark_dir=tmp_path / "ark", config=ARGS.fbank_args, vad=vad))
    return folder


def expected(data: Path, utt: str) -> np.ndarray:
    """Compute the frames of speech directly: the mean of all frames is subtracted, then the others are dropped."""
    waveform = read_wav(read_table(data / "wav.scp")[utt], RATE)
    feats = Fbank(ARGS.fbank_args)(torch.from_numpy(waveform)[None])[0].numpy()
    return (feats - feats.mean(axis=0))[find_voiced(waveform, ARGS)]


def test_frames_of_speech_are_the_same_from_arks_and_waveforms(data: Path) -> None:
    index = read_index(data)
    voiced = read_voiced(index)
    from_ark = VoicedReader(ArkReader(index, 80), voiced, index)
    from_wave = FbankReader(WavScpSource(data), ARGS)
    for row in (0, 1, 3):
        frames = expected(data, UTTS[row])
        assert 45 < len(frames) == voiced.num_frames[row] < 60 < index.num_frames[row]  # half a second of noise
        np.testing.assert_allclose(from_wave.whole(row, center=True), frames, atol=1e-4)
        np.testing.assert_allclose(from_ark.whole(row, center=True), frames, atol=2e-3)  # two bytes a value
    crops = from_ark.crops(np.array([1, 0]), np.array([7, 0]), 80, center=True)
    frames = from_ark.whole(1, center=True)[7:]
    np.testing.assert_array_equal(crops[0], np.concatenate([frames, frames])[:80])


@pytest.mark.parametrize("read", ["ark", "wave"])
def test_an_utterance_without_speech_is_named(data: Path, read: str) -> None:
    index = read_index(data)
    reader = (
        VoicedReader(ArkReader(index, 80), read_voiced(index), index)
        if read == "ark"
        else FbankReader(WavScpSource(data), ARGS)
    )
    with pytest.raises(UserError, match=r"spk1/2\.wav: 0 frames of speech by the VAD, 10 or more are needed; leave it"):
        reader.whole(2, center=True)


def test_crops_of_waveforms_hold_speech_alone(data: Path) -> None:
    augmenter = Augmenter(AugmentArgs(), ClipFolders("", ""), prob=0.0, seed=1, sample_rate=RATE)
    args = ARGS.model_copy(update={"fbank_args": ARGS.fbank_args.model_copy(update={"dither": 0.0})})
    source = WavScpSource(data)
    dataset = OnlineDataset(source, source.speaker[None], augmenter, args, seed=1)
    sounds = dataset.sounds(np.array([0, 3]), 1)
    (wave,) = [waves for _, waves in sounds.speech.values()]
    feats = Fbank(args.fbank_args)(wave)  # (2, 3 x 20, mels)
    feats = feats - feats.mean(1, keepdim=True)
    batch = dataset.batch(np.array([0, 3]), 1).features
    assert batch.shape == (2, 20, 80)
    for row in range(2):
        torch.testing.assert_close(batch[row], feats[row][sounds.voiced[row]])
        loud = Fbank(args.fbank_args)(wave)[row].mean(1) > 5
        assert loud[sounds.voiced[row][1:-3]].all()  # frames beside speech count as speech
    with pytest.raises(UserError, match=r"spk1/2\.wav: 0 frames of speech"):
        dataset.batch(np.array([2]), 1)


def test_training_counts_frames_of_speech(data: Path) -> None:
    tree = {"dataset_args": {"vad": True}}
    found = read_data(parse_config(tree, "test"), data)
    assert found.index.num_frames.tolist()[2] == 0 and max(found.index.num_frames) < 60
    assert read_data(Config(), data).index.num_frames.tolist() == read_index(data).num_frames.tolist()


def test_a_vad_that_does_not_fit_names_the_tool(data: Path) -> None:
    index, scp = read_index(data), data / "vad.scp"
    table = read_table(scp)
    write_table(scp, {**table, UTTS[0]: table[UTTS[1]]})
    with pytest.raises(UserError, match=r"vad\.scp: spk0/0\.wav has 108 frames, its features 98; make it with"):
        read_voiced(index)
    write_table(scp, {utt: table[utt] for utt in UTTS[1:]})
    with pytest.raises(UserError, match=r"vad\.scp: spk0/0\.wav is not in it; make it with steps/compute_vad_dec"):
        read_voiced(index)
    scp.unlink()
    with pytest.raises(UserError, match=r"vad\.scp does not exist; make it with steps/compute_vad_decision\.sh .*data"):
        read_voiced(index)
