"""Synthetic noise: its colour, and lists that are made once."""

import numpy as np
import pytest
import soundfile

from local.make_noises import coloured_noise
from sv.data.noises import NOISE_TYPES, Clips
from sv.io import write_table
from tests.local.noise_files import RATE, write


def test_noise_has_a_slope_between_white_and_brown():
    slopes = []
    for seed in range(8):
        noise = coloured_noise(np.random.default_rng(seed), RATE, RATE)
        assert 0.49 < np.abs(noise).max() < 0.51
        power = np.abs(np.fft.rfft(noise)) ** 2
        low, high = power[100:400].mean(), power[1600:6400].mean()
        slopes.append(np.log(low / high) / np.log(16))
    assert min(slopes) > -1 and max(slopes) < 3.2 and 0.3 < np.mean(slopes) < 1.7


@pytest.mark.slow
def test_made_up_lists_are_read_and_made_once(call, tmp_path):
    for number in range(5):
        write(tmp_path / f"{number}.wav")
    (tmp_path / "speech").mkdir()
    write_table(tmp_path / "speech/wav.scp", {f"s{n}-u": tmp_path / f"{n}.wav" for n in range(5)})
    words = ["--count", 2, "--num-speech", 3, "--speech", tmp_path / "speech", tmp_path / "noises"]
    call("make_noises", *words)
    noises = Clips(tmp_path / "noises", NOISE_TYPES, RATE)
    assert (len(noises.of_type["noise"]), len(noises.of_type["speech"])) == (2, 3)
    before = (tmp_path / "noises/wav/0001.wav").stat().st_mtime_ns
    call("make_noises", *words)
    assert (tmp_path / "noises/wav/0001.wav").stat().st_mtime_ns == before
    (tmp_path / "noises/wav/0002.wav").unlink()
    call("make_noises", *words)
    assert (tmp_path / "noises/wav/0002.wav").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("script", ["make_noises", "make_rirs"])
def test_files_of_another_seed_that_a_killed_run_left_are_made_again(call, tmp_path, monkeypatch, script):
    words, files = ["--count", 2, "--seed"], [tmp_path / f"clips/wav/{name}.wav" for name in ("0001", "0002")]
    call(script, *words, 1, tmp_path / "clips")
    ours = [path.read_bytes() for path in files]
    write_one = soundfile.write

    def write_and_end(*args, **options):
        write_one(*args, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(soundfile, "write", write_and_end)
        call(script, *words, 2, tmp_path / "clips")
    assert files[0].read_bytes() != ours[0]
    call(script, *words, 1, tmp_path / "clips")
    assert [path.read_bytes() for path in files] == ours
