"""Waveforms: files that are read, files that are refused and why, and speed copies."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from sv.audio.files import Source, change_speed, info, parse_source, read_file, read_wav
from sv.errors import UserError

RATE = 16000


def tone(samples: int = 8000, hertz: float = 200.0, rate: int = RATE) -> NDArray[np.float32]:
    return (0.3 * np.sin(2 * np.pi * hertz / rate * np.arange(samples))).astype(np.float32)


def write(path: Path, waveform: NDArray[np.float32], rate: int = RATE, subtype: str = "PCM_16") -> str:
    soundfile.write(path, waveform, rate, subtype=subtype)
    return str(path)


def cut_file(path: str, size: int) -> None:
    with open(path, "r+b") as f:
        f.truncate(size)


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_samples_are_those_of_the_file_on_scale_one(tmp_path: Path, ending: str) -> None:
    integers = np.array([-32768, -1, 0, 1, 32767], dtype=np.int16)
    soundfile.write(tmp_path / f"a.{ending}", integers, RATE, subtype="PCM_16")
    waveform = read_wav(str(tmp_path / f"a.{ending}"), RATE)
    assert waveform.dtype == np.float32
    assert (waveform * 32768 == integers).all()


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_range_equals_that_part_of_the_whole(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a.{ending}", tone(50000))
    whole = read_wav(path, RATE)
    for start, end in [(0, 1), (4095, 4097), (30000, 50000), (49999, 50000)]:
        assert np.array_equal(read_wav(path, RATE, start=start, end=end), whole[start:end])
    assert np.array_equal(read_wav(path, RATE, start=100), whole[100:])


@pytest.mark.parametrize(("start", "end"), [(0, 8001), (8000, None), (-1, 5), (5, 5)])
def test_a_range_outside_is_refused(tmp_path: Path, start: int, end: int | None) -> None:
    path = write(tmp_path / "a.wav", tone())
    with pytest.raises(UserError, match=r"a\.wav: samples .* wanted, 8000 there"):
        read_wav(path, RATE, start=start, end=end)


def test_header_of_file_and_of_speed_copy(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.stack([tone(8001, rate=8000)] * 2, axis=1), rate=8000)
    assert (info(path).samples, info(path).sample_rate, info(path).channels) == (8001, 8000, 2)
    assert info(path).duration_s == 8001 / 8000
    assert info(f"sox -t wav {path} -t wav - speed 0.9 |").samples == 8890  # 8001 / 0.9 = 8890.0
    assert info(f"sox -t wav {path} -t wav - speed 1.1 |").samples == 7274  # 8001 / 1.1 = 7273.6


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.wav does not exist; bring it back or correct the path"):
        read_wav(str(tmp_path / "gone.wav"), RATE)
    with pytest.raises(UserError, match="is a folder; give a file"):
        read_wav(str(tmp_path), RATE)


def test_a_name_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone())
    os.rename(path, named := os.fsdecode(bytes(tmp_path / "caf") + b"\xe9.wav"))
    assert np.array_equal(read_wav(named, RATE), read_wav(write(tmp_path / "b.wav", tone()), RATE))


def test_sphere_compressed_by_shorten_names_the_tool(tmp_path: Path) -> None:
    fields = "sample_count -i 99999\nsample_n_bytes -i 2\nchannel_count -i 1\nsample_byte_format -s2 01\n"
    fields += "sample_rate -i 16000\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n"
    path = tmp_path / "a.sph"
    path.write_bytes(f"NIST_1A\n   1024\n{fields}".encode().ljust(1024) + b"ajkg\x02" + bytes(99))
    with pytest.raises(UserError, match=r"a\.sph: .*SPHERE compressed by shorten\); expand it first \(sph2pipe -f wav"):
        read_wav(str(path), RATE)


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"this is no audio at all, but text")
    with pytest.raises(UserError, match=r"a\.wav: cannot be read as audio"):
        read_wav(str(tmp_path / "a.wav"), RATE)
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    with pytest.raises(UserError, match=r"a\.m4a: .*convert m4a first"):
        read_wav(str(tmp_path / "a.m4a"), RATE)
    (tmp_path / "b.wav").write_bytes(b"")
    with pytest.raises(UserError, match=r"b\.wav: empty file"):
        read_wav(str(tmp_path / "b.wav"), RATE)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_truncated_file_is_refused(tmp_path: Path, ending: str, kept: float) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 40000).astype(np.float32)
    path = write(tmp_path / f"a.{ending}", noise)
    cut_file(path, int(kept * Path(path).stat().st_size))
    with pytest.raises(UserError, match=rf"a\.{ending}: .*truncated"):
        read_wav(path, RATE)


def test_wav_with_other_chunks_and_odd_sizes_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(101), subtype="PCM_U8")  # odd size: a byte of padding follows
    content = Path(path).read_bytes()
    data = content.index(b"data")
    Path(path).write_bytes(content[:data] + b"LIST\x03\0\0\0abc\0" + content[data:] + b"LIST\x02\0\0\0ab")
    assert len(read_wav(path, RATE)) == 101


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_wav_written_to_a_pipe_is_read_whole(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "a.wav", tone())
    content = bytearray(Path(path).read_bytes())
    data = content.index(b"data")
    content[data + 4 : data + 8] = size.to_bytes(4, "little")
    Path(path).write_bytes(content)
    assert len(read_wav(path, RATE)) == 8000


def test_flac_of_unknown_length_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", tone())
    content = bytearray(Path(path).read_bytes())
    content[21] &= 0xF0  # STREAMINFO: 36 bits of total samples
    content[22:26] = bytes(4)
    Path(path).write_bytes(content)
    with pytest.raises(UserError, match=r"a\.flac: .*(how long it is|no samples)"):
        read_wav(path, RATE)


def test_stereo_wrong_rate_and_empty_audio_are_refused(tmp_path: Path) -> None:
    stereo = write(tmp_path / "stereo.wav", np.stack([tone()] * 2, axis=1))
    with pytest.raises(UserError, match=r"stereo\.wav: 2 channels, 1 expected; make it mono .* or ffmpeg -i IN"):
        read_wav(stereo, RATE)
    slow = write(tmp_path / "slow.wav", tone(), rate=8000)
    with pytest.raises(UserError, match=r"slow\.wav: 8000 Hz, 16000 Hz expected; resample"):
        read_wav(slow, RATE)
    assert len(read_wav(slow, 8000)) == 8000
    for rate in (16, 999, 384001):
        with pytest.raises(
            UserError, match=rf"x\.wav: {rate} Hz by its header, 1000 to 384000 expected; write it again"
        ):
            read_file(write(tmp_path / "x.wav", tone(), rate=rate))
    with pytest.raises(UserError, match=r"empty\.wav: no samples"):
        read_wav(write(tmp_path / "empty.wav", tone(0)), RATE)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinite_samples_are_refused(tmp_path: Path, bad: float) -> None:
    waveform = tone()
    waveform[77] = bad
    with pytest.raises(UserError, match=r"a\.wav: NaN or infinite"):
        read_wav(write(tmp_path / "a.wav", waveform, subtype="FLOAT"), RATE)


def test_source_is_taken_apart() -> None:
    assert parse_source("a b/c.wav") == Source(path="a b/c.wav")
    assert parse_source("sox -t wav a.wav -t wav - speed 0.9 |") == Source(path="a.wav", speed=0.9)
    assert parse_source("sox -t flac 'a b.flac' -t wav - speed 1.1 |") == Source(path="a b.flac", speed=1.1)
    piped = "cat a.wav | sox -t wav - -t wav - speed 0.9 |"
    assert parse_source(piped) == Source(command=piped[:-2])
    for other in ["sox -t wav a.wav -t wav - speed 0.9 vol 2 |", "sox -t wav - -t wav - speed 0.9 |", "cat 'a |"]:
        assert parse_source(other).command
    for factor in ["0", "fast", "-1", "0.9;reboot"]:
        with pytest.raises(UserError, match="is not a number"):
            parse_source(f"sox -t wav a.wav -t wav - speed '{factor}' |")


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_copy_is_as_long_and_as_high_as_sox_makes_it(tmp_path: Path, speed: float) -> None:
    path = write(tmp_path / "a.wav", tone(32000, 1000.0))
    spec = f"sox -t wav {path} -t wav - speed {speed} |"
    waveform = read_wav(spec, RATE)
    assert len(waveform) == info(spec).samples == int(np.ceil(32000 / speed))
    expected = tone(len(waveform), 1000.0 * speed)
    assert np.abs(waveform[500:-500] - expected[500:-500]).max() < 0.002
    assert np.array_equal(read_wav(spec, RATE, start=100, end=200), waveform[100:200])


@pytest.mark.parametrize(("speed", "samples"), [(0.9, 99999), (1.1, 100000), (0.95, 12345), (1.03, 1), (2.0, 17)])
def test_speed_copy_has_the_length_that_its_header_says(tmp_path: Path, speed: float, samples: int) -> None:
    path = write(tmp_path / "a.wav", tone(samples))
    assert info(f"sox -t wav {path} -t wav - speed {speed} |").samples == len(change_speed(tone(samples), RATE, speed))


def test_commands_run_only_when_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone())
    with pytest.raises(UserError, match="only with --allow-pipes true"):
        read_wav(f"cat {path} |", RATE)
    assert np.array_equal(read_wav(f"cat {path} |", RATE, allow_pipes=True), read_wav(path, RATE))
    assert len(read_wav(f"cat {path} | cat |", RATE, allow_pipes=True, start=10, end=20)) == 10
    with pytest.raises(UserError, match=r"gone\.wav \| cat \|: ended with status 1: .*No such file"):
        read_wav(f"cat {tmp_path}/gone.wav | cat |", RATE, allow_pipes=True)
