"""Lists of rooms: those of RIRS_NOISES, with and without the measured ones."""

from sv.data.noises import Clips
from sv.io import read_table
from tests.local.noise_files import RATE


def test_rirs_with_and_without_the_measured_ones(call, rirs, tmp_path):
    call("prepare_rirs", "--rirs", rirs, tmp_path / "out")
    assert list(read_table(tmp_path / "out/wav.scp")) == ["rir/simulated_rirs/smallroom/Room001/Room001-00001.wav"]
    call("prepare_rirs", "--rirs", rirs, "--real", "true", tmp_path / "out")
    clips = Clips(tmp_path / "out", ("rir",), RATE)
    assert clips.ids[0] == "rir/real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1.wav"
    assert len(clips.whole(0, 0.99)) == 400
