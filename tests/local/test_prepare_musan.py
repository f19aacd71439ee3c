"""Lists of noise, music and speech: of MUSAN, and of folders with a type."""

import numpy as np
import pytest
import soundfile

from sv.data.noises import NOISE_TYPES, Clips
from sv.errors import UserError
from sv.io import read_table, write_table
from tests.local.noise_files import RATE, write


def test_musan_and_a_folder_with_its_type(call, musan, tmp_path):
    write(tmp_path / "street" / "a" / "1.flac", rate=44100, channels=2)
    call("prepare_musan", "--musan", musan, "--add", f"noise={tmp_path / 'street'}", tmp_path / "out")
    clips = Clips(tmp_path / "out", NOISE_TYPES, RATE)
    assert clips.ids == [
        "music/fma/m-0.wav",
        "noise/free-sound/n-0.wav",
        "noise/sound-bible/n-1.wav",
        "noise/street/a/1.flac",
        "speech/librivox/s-0.wav",
    ]
    assert len(clips.read(3, 50, 0.5, 0.9)) == 50


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["out"], "nothing to list; give --musan DIR, or --add TYPE=DIR"),
        (["--add", "street=in", "out"], "--add street=in: expected TYPE=DIR, TYPE one of noise, music, speech"),
        (["--add", "noise=none", "out"], "none does not exist; give the folder"),
        (["--musan", "empty", "out"], "empty/noise does not exist"),
        (["--add", "noise=empty", "out"], "empty holds no audio files"),
        (["--add", "noise=bad", "out"], "bad/x.wav: cannot be read as audio"),
        (["--add", "noise=m4a", "out"], "m4a: 1 file, the first m4a/x.m4a, must be converted first"),
    ],
)
def test_what_can_not_be_listed_is_named(call, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("bad/x.wav", "m4a/x.m4a"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("no audio")
    with pytest.raises(UserError, match=message):
        call("prepare_musan", *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("ending", ["mp3", "opus", "ogg", "flac"])
def test_noise_of_every_format_that_is_read_may_be_listed(call, tmp_path, ending):
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    coded = {"format": "OGG", "subtype": "OPUS"} if ending == "opus" else {}
    soundfile.write(tmp_path / f"in/a.{ending}", rng.normal(0, 0.1, RATE), RATE, **coded)
    call("prepare_musan", "--add", f"noise={tmp_path / 'in'}", tmp_path / "out")
    clips = Clips(tmp_path / "out", NOISE_TYPES, RATE)
    assert clips.ids == [f"noise/in/a.{ending}"]
    assert 0.05 < clips.read(0, 2000, 0.0, 0.0).std() < 0.2


def test_a_folder_that_is_called_like_audio_is_a_folder_and_links_are_followed(call, tmp_path):
    write(tmp_path / "elsewhere/a.wav")
    write(tmp_path / "in/.cache/b.wav")
    (tmp_path / "in/street.wav").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/phone.m4a").mkdir()
    call("prepare_musan", "--add", f"noise={tmp_path / 'in'}", tmp_path / "out")
    assert Clips(tmp_path / "out", NOISE_TYPES, RATE).ids == ["noise/in/street.wav/a.wav"]


def test_real_noise_and_babble_of_a_data_dir(call, tmp_path):
    write(tmp_path / "street" / "car.wav")
    write(tmp_path / "a.wav")
    (tmp_path / "train").mkdir()
    write_table(tmp_path / "train/wav.scp", {"spk-a": tmp_path / "a.wav"})
    call("prepare_musan", "--add", f"noise={tmp_path / 'street'}", "--speech", tmp_path / "train", tmp_path / "out")
    assert read_table(tmp_path / "out/wav.scp") == {
        "noise/street/car.wav": str(tmp_path / "street/car.wav"),
        "speech/spk-a": str(tmp_path / "a.wav"),
    }
    write_table(tmp_path / "train/wav.scp", {"street/car.wav": tmp_path / "a.wav"})
    both = ["--add", f"speech={tmp_path / 'street'}", "--speech", tmp_path / "train"]
    with pytest.raises(UserError, match=r"--speech .*/train: speech/street/car.wav comes twice; leave out --speech or"):
        call("prepare_musan", *both, tmp_path / "out")
