"""steps/compute_vad_decision.sh: Kaldi's decisions as vectors, its options, and what is refused."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import kaldi_native_io
import kaldiio
import numpy as np
import pytest

from sv.io import read_table
from tests.sv.audio.vad_data import UTTS, expected, make_data

Run = Callable[..., subprocess.CompletedProcess[str]]
ForKaldi = Callable[[Path], Path]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path / "data")


@pytest.mark.slow
def test_vectors_are_read_by_kaldis_readers(run: Run, data: Path, for_kaldi: ForKaldi) -> None:
    result = run("steps/compute_vad_decision.sh", "--nj", 2, "--vad-frames-context", 2, data)
    assert result.returncode == 0, result.stderr
    wavs, scp = read_table(data / "wav.scp"), for_kaldi(data / "vad.scp")
    assert list(read_table(scp)) == UTTS
    by_kaldiio = kaldiio.load_scp(str(scp))
    with kaldi_native_io.RandomAccessFloatVectorReader(f"scp:{scp}") as reader:
        for utt in UTTS:
            voiced = expected(wavs[utt], frames_context=2)
            assert 0.3 < voiced.mean() < 0.7
            assert np.array_equal(by_kaldiio[utt], voiced)
            assert np.array_equal(np.array(reader[utt]), voiced)
    result = run("steps/compute_vad_decision.sh", "--nj", 3, "--vad-frames-context", 2, data)
    assert result.returncode == 0 and "is there already" in result.stderr


@pytest.mark.slow
def test_called_as_kaldis_script_with_a_config_file(run: Run, data: Path, tmp_path: Path, for_kaldi: ForKaldi) -> None:
    config, wavs = tmp_path / "vad.conf", read_table(data / "wav.scp")
    config.write_text("--vad-energy-threshold=15.5\n--vad-energy-mean-scale=0\n")
    options = ["--nj", 1, "--vad-config", config, "--vad-energy-mean-scale", 0.5]  # 0.5 is the default, and given
    result = run("steps/compute_vad_decision.sh", *options, data, tmp_path / "log", tmp_path / "arks")
    assert result.returncode == 0, result.stderr
    assert [path.name for path in (tmp_path / "log").iterdir()] == ["compute_vad_decision.1.log"]
    assert [path.name for path in (tmp_path / "arks").glob("*.ark")] == ["vad.1.ark"]
    for utt, voiced in kaldiio.load_scp(str(for_kaldi(data / "vad.scp"))).items():
        assert np.array_equal(voiced, expected(wavs[utt], energy_threshold=15.5, energy_mean_scale=0.5))


@pytest.mark.slow
def test_frames_are_those_of_fbank_yaml(run: Run, data: Path, for_kaldi: ForKaldi) -> None:
    (data / "fbank.yaml").write_text("frame_length: 20.0\nframe_shift: 20.0\n")
    assert run("steps/compute_vad_decision.sh", "--nj", 1, data).returncode == 0
    assert [len(voiced) for voiced in kaldiio.load_scp(str(for_kaldi(data / "vad.scp"))).values()] == [50, 55, 60, 65]
