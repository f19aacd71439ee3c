"""Features computed from waveforms: equal to those in arks, except for dither."""

import numpy as np
import pytest
import soundfile
import torch

from sv.audio.features import Fbank
from sv.config import DatasetArgs, FbankConfig
from sv.data import FbankReader, index_waveforms, open_waveforms
from sv.errors import UserError
from sv.io import write_table

RATE = 16000
ARGS = FbankConfig(num_mel_bins=8)


@pytest.fixture
def make_source(tmp_path):
    """Return a function that writes noise of the given lengths, of speaker a."""

    def make(*lengths: int):
        utts = {f"a-{number}": tmp_path / f"{number}.wav" for number, _ in enumerate(lengths)}
        for path, length in zip(utts.values(), lengths, strict=True):
            soundfile.write(path, np.random.default_rng(length).normal(0, 0.1, length), RATE)
        write_table(tmp_path / "wav.scp", utts)
        write_table(tmp_path / "utt2spk", dict.fromkeys(utts, "a"))
        return open_waveforms(tmp_path, "online", RATE)

    return make


def test_whole_utterances_have_the_frames_of_the_index_and_no_dither(make_source, tmp_path):
    source = make_source(400, 559, 560, 4000)  # frames are of 400 samples, one each 160
    reader, fbank = FbankReader(source, DatasetArgs(fbank_args=ARGS)), Fbank(ARGS)
    index = index_waveforms(source, tmp_path, ARGS)
    assert index.num_frames.tolist() == [1, 1, 2, 23]
    for utt, frames in enumerate(index.num_frames):
        samples, _ = soundfile.read(tmp_path / f"{utt}.wav", dtype="float32")
        expected = fbank(torch.from_numpy(samples)[None])[0].numpy()
        found = reader.whole(utt, center=False)
        assert found.shape == (frames, 8)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_allclose(reader.whole(utt, center=True), expected - expected.mean(axis=0), atol=1e-5)


def test_an_utterance_shorter_than_a_frame_is_named(make_source, tmp_path):
    with pytest.raises(UserError, match=r"a-1: 0.0249 s are less than one frame of 25 ms; leave it out"):
        index_waveforms(make_source(400, 399), tmp_path, ARGS)
