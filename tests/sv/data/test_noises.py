"""Noise and impulse responses of any rate and channels, and files that are refused."""

import numpy as np
import pytest
import soundfile

from sv.data.noises import NOISE_TYPES, ClipError, Clips, around_peak, babble
from sv.errors import UserError
from sv.io import write_table

RATE = 16000


def test_a_part_lies_anywhere_and_a_short_file_is_repeated(noise_dir):
    clips = Clips(noise_dir, NOISE_TYPES, RATE)
    assert {kind: len(rows) for kind, rows in clips.of_type.items()} == {"music": 2, "noise": 3, "speech": 9}
    row = clips.ids.index("music/1")
    whole = clips.whole(row, 0.0)
    np.testing.assert_array_equal(clips.read(row, 1000, 0.0, 0.0), whole[:1000])
    np.testing.assert_array_equal(clips.read(row, 1000, 0.9999999, 0.0), whole[-1000:])
    np.testing.assert_array_equal(clips.read(row, 50000, 0.7, 0.0), np.concatenate([whole, whole, whole])[:50000])


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_another_rate_is_resampled(tmp_path, rate):
    seconds = np.arange(2 * rate) / rate
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * seconds), rate)
    write_table(tmp_path / "wav.scp", {"noise/a": tmp_path / "a.wav"})
    part = Clips(tmp_path, NOISE_TYPES, RATE).read(0, RATE, 0.5, 0.0)
    spectrum = np.abs(np.fft.rfft(part))
    assert len(part) == RATE and spectrum.argmax() == 440
    assert 0.34 < np.sqrt(np.mean(part**2)) < 0.36


def test_each_channel_of_an_array_is_drawn(make_clips, tmp_path):
    clips = Clips(make_clips(tmp_path, {"rir/a": 0.1}, channels=4), ("rir",), RATE)
    samples, _ = soundfile.read(tmp_path / "0.wav", dtype="float32")
    for draw, channel in ((0.0, 0), (0.3, 1), (0.99, 3)):
        np.testing.assert_array_equal(clips.whole(0, draw), samples[:, channel])


def test_a_silent_part_is_not_taken_and_a_silent_file_is_named(tmp_path):
    samples = np.zeros(3 * RATE, np.float32)
    samples[40000:40010] = 0.5
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    soundfile.write(tmp_path / "b.wav", np.zeros(RATE), RATE)
    write_table(tmp_path / "wav.scp", {"noise/a": tmp_path / "a.wav", "noise/b": tmp_path / "b.wav"})
    clips = Clips(tmp_path, NOISE_TYPES, RATE)
    part = clips.read(0, 1000, 0.0, 0.0)
    assert part.shape == (1000,) and part[:10].all() and not part[10:].any()
    with pytest.raises(UserError, match=r"^/.*b.wav is silent; leave it out"):
        clips.read(1, 1000, 0.3, 0.0)


def test_bad_lists_and_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"wav.scp does not exist; make it \(stage 1\), with local/prepare_musan.py"):
        Clips(tmp_path, NOISE_TYPES, RATE)
    (tmp_path / "wav.scp").write_text("")
    with pytest.raises(UserError, match=r"wav.scp is empty"):
        Clips(tmp_path, NOISE_TYPES, RATE)
    write_table(tmp_path / "wav.scp", {"street/a": "a.wav"})
    with pytest.raises(UserError, match=r"wav.scp:1: street/a: type 'street' is not one of noise, music, speech"):
        Clips(tmp_path, NOISE_TYPES, RATE)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), RATE, subtype="FLOAT")
    write_table(tmp_path / "wav.scp", {"noise/a": tmp_path / "none.wav", "noise/b": tmp_path / "nan.wav"})
    clips = Clips(tmp_path, NOISE_TYPES, RATE)
    with pytest.raises(UserError, match=r"none.wav does not exist"):
        clips.read(0, 10, 0.0, 0.0)
    with pytest.raises(UserError, match=r"nan.wav: NaN or infinite samples"):
        clips.read(1, 10, 0.0, 0.0)


def test_a_bad_file_is_told_once_and_the_next_of_its_type_taken(tmp_path, caplog):
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "good.wav", np.full(RATE, 0.25), RATE, subtype="FLOAT")
    table = {"music/a": "good", "noise/a": "none", "noise/b": "silent", "noise/c": "good"}
    write_table(tmp_path / "wav.scp", {name: tmp_path / f"{file}.wav" for name, file in table.items()})
    clips = Clips(tmp_path, NOISE_TYPES, RATE, skip_bad=True)
    for _ in range(2):
        for row in (1, 2, 3):  # of noise/
            np.testing.assert_array_equal(clips.read(row, 10, 0.0, 0.0), np.full(10, 0.25, np.float32))
    assert [name for name in table for _ in range(caplog.text.count(f"{name} cannot be read"))] == [
        "noise/a",
        "noise/b",
    ]
    write_table(tmp_path / "wav.scp", {"noise/a": tmp_path / "none.wav", "noise/b": tmp_path / "silent.wav"})
    lost = (
        f"{tmp_path}/wav.scp: {tmp_path}/silent.wav is silent; leave it out; the files before it cannot be read either"
    )
    with pytest.raises(ClipError, match=f"^{lost}"):
        Clips(tmp_path, NOISE_TYPES, RATE, skip_bad=True).read(1, 10, 0.0, 0.0)
    (tmp_path / "good.wav").unlink()
    with pytest.raises(ClipError, match=r"good.wav does not exist.*; the files before it cannot be read either"):
        clips.read(0, 10, 0.0, 0.0)


def test_babble_is_of_voices_of_equal_power():
    rng = np.random.default_rng(0)
    voices = [rng.normal(0, scale, 20000).astype(np.float32) for scale in (1e-4, 1.0, 3.0)]
    mixed = babble(voices)
    for voice in voices:
        share = np.dot(mixed, voice) / np.dot(voice, voice) * np.sqrt(np.mean(voice**2))
        assert abs(share - 1) < 0.05


def test_an_impulse_response_is_cut_behind_what_is_heard():
    rir = np.zeros(100, np.float32)
    rir[[20, 90]] = -1.0, 0.5
    cut, peak = around_peak(rir, 30)
    assert (peak, len(cut)) == (20, 50)


def test_other_audio_behind_an_id_has_another_fingerprint_and_a_moved_file_has_not(make_clips, tmp_path):
    folder = make_clips(tmp_path / "a", {"noise/a": 1.0, "noise/b": 1.0})
    before = Clips(folder, NOISE_TYPES, RATE).file_fingerprint()
    moved = (tmp_path / "a").rename(tmp_path / "b")
    write_table(moved / "wav.scp", {"noise/a": moved / "0.wav", "noise/b": moved / "1.wav"})
    assert Clips(moved, NOISE_TYPES, RATE).file_fingerprint() == before
    (moved / "1.wav").write_bytes((moved / "0.wav").read_bytes())  # of the same size
    after = Clips(moved, NOISE_TYPES, RATE).file_fingerprint()
    assert after != before
    (moved / "1.wav").unlink()
    assert Clips(moved, NOISE_TYPES, RATE).file_fingerprint() not in (before, after)
