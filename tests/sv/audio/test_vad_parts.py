"""Kaldi's energy VAD in parts: options, and settings that are refused."""

from collections.abc import Callable
from pathlib import Path

import kaldiio
import numpy as np
import pytest

from sv.audio.vad_parts import VadParts, parse_vad_settings, read_vad_config
from sv.config import FbankConfig
from sv.errors import UserError
from sv.io import read_table, write_table
from tests.sv.audio.vad_data import UTTS, expected, make_data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "data")


def make(data: Path, **texts: str) -> None:
    """Do what the step does."""
    vad = parse_vad_settings(texts)
    parts = VadParts(data_dir=data, ark_dir=data / "fbank", config=FbankConfig(), vad=vad, num_jobs=2)
    parts.begin()
    parts.run(1)
    parts.run(2)
    parts.finish()


def test_vectors_are_those_of_kaldis_options(data: Path, for_kaldi: Callable[[Path], Path]) -> None:
    wavs = read_table(data / "wav.scp")
    make(data, energy_threshold="15.5", energy_mean_scale="0")
    for utt, voiced in kaldiio.load_scp(str(for_kaldi(data / "vad.scp"))).items():
        assert np.array_equal(voiced, expected(wavs[utt], energy_threshold=15.5, energy_mean_scale=0))


def test_silence_is_counted(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(data, energy_threshold="50")
    assert caplog.text.count("2 utterances have no frame of speech") == 2  # in each part


def test_kaldis_config_file(tmp_path: Path) -> None:
    config = tmp_path / "vad.conf"
    config.write_text("--vad-energy-threshold=5.5\n--vad-proportion-threshold=0.12  # low\n\n--vad-frames-context=2\n")
    found = parse_vad_settings(read_vad_config(config))
    assert found == {"energy_threshold": 5.5, "proportion_threshold": 0.12, "frames_context": 2}
    with pytest.raises(UserError, match=r"gone\.conf does not exist"):
        read_vad_config(tmp_path / "gone.conf")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"energy_threshold": "loud"}, "--vad-energy-threshold is 'loud', not a number"),
        ({"frames_context": "1.5"}, "--vad-frames-context is '1.5', not a number"),
        ({"frames_context": "-1"}, "--vad-frames-context must be 0 or more"),
        ({"proportion_threshold": "2"}, "--vad-proportion-threshold within 0 to 1"),
    ],
)
def test_bad_options_are_named(texts: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_vad_settings(texts)


def test_bad_config_line_is_named(tmp_path: Path) -> None:
    config = tmp_path / "vad.conf"
    config.write_text("--vad-energy-threshold=5.5\n--sample-frequency=16000\n")
    with pytest.raises(UserError, match=r"vad\.conf:2: unknown option '--sample-frequency'; known: --vad-energy"):
        read_vad_config(config)


def test_other_number_of_frames_than_the_features_is_refused(data: Path) -> None:
    write_table(data / "utt2num_frames", {utt: 98 + 10 * index for index, utt in enumerate(UTTS)})
    make(data)
    (data / "vad.scp").unlink()
    (data / "fbank" / "vad.2.ark").unlink()
    write_table(data / "utt2num_frames", dict.fromkeys(UTTS, 98))
    with pytest.raises(UserError, match=r"2 of 2 utterances failed, .*spk1/2\.wav: 118 frames, 98 in .*utt2num_frames"):
        make(data)
    assert not (data / "vad.scp").exists()
