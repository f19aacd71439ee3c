"""Parts of files that are read several times: equal to a first read, and still told where a file has changed."""

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import sv.audio.files
import sv.audio.part_reader
from sv.audio.files import AudioInfo, read_channel, read_wav
from sv.audio.part_reader import PartReader, find_samples
from sv.errors import UserError
from tests.sv.audio.tar_tools import encoded, noise
from tests.sv.audio.test_files import RATE, cut_file, tone, write

KINDS = {"wav": "PCM_16", "flac": "PCM_16", "24.wav": "PCM_24", "float.wav": "FLOAT", "ogg": "VORBIS"}


@pytest.mark.parametrize("ending", KINDS)
def test_each_read_equals_the_part_of_the_whole(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a.{ending}", tone(9000), subtype=KINDS[ending])
    reader, whole = PartReader(["unused", path]), read_wav(path, RATE)
    for start, end in ((0, 9000), (4000, 4100), (0, 10), (8999, 9000)):
        part = reader.read(1, RATE, start, end)
        assert part.dtype == np.float32
        np.testing.assert_allclose(part, whole[start:end], rtol=0, atol=0 if ending != "ogg" else 1e-4)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose containers are checked."""
    names: list[str] = []

    def counting(check: Callable[..., bytes]) -> Callable[..., bytes]:
        return lambda file, name: names.append(name) or check(file, name)  # type: ignore[func-returns-value]

    for module in (sv.audio.files, sv.audio.part_reader):
        monkeypatch.setattr(module, "check_container", counting(module.check_container))
    return names


def test_only_the_first_read_checks_a_file(tmp_path: Path, checks: list[str]) -> None:
    reader = PartReader([write(tmp_path / "a.wav", tone()), write(tmp_path / "a.flac", tone())])
    for number in (0, 1):
        reader.read(number, RATE, 0, 100)
    first = len(checks)
    for number in (0, 1, 0, 1):
        reader.read(number, RATE, 50, 80)
    assert first and len(checks) == first


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_file_that_is_cut_or_removed_later_is_named(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a.{ending}", noise(9000))
    reader = PartReader([path])
    reader.read(0, RATE, 0, 9000)
    cut_file(path, 2000)
    with pytest.raises(UserError, match=rf"a\.{ending}.*(truncated|8000 to 9000)"):
        reader.read(0, RATE, 8000, 9000)
    Path(path).unlink()
    with pytest.raises(UserError, match=rf"a\.{ending} does not exist"):
        reader.read(0, RATE, 0, 10)


def test_a_wav_that_is_replaced_later_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(9000))
    reader, half = PartReader([path]), lambda header: (0, 0, header.samples // 2)
    reader.read(0, RATE, 0, 10)
    write(tmp_path / "a.wav", noise(8000)[::-1])
    for _ in range(2):
        np.testing.assert_array_equal(reader.read(0, RATE, 100, 200), noise(8000)[::-1][100:200])
    for _ in range(2):
        assert len(reader.read_channel(0, half)[0]) == 4000
    soundfile.write(path, np.zeros((9000, 2)), RATE, subtype="PCM_16")
    with pytest.raises(UserError, match=r"a\.wav: 2 channels"):
        reader.read(0, RATE, 0, 10)
    soundfile.write(path, np.zeros(9000), 8000, subtype="PCM_16")
    with pytest.raises(UserError, match=r"a\.wav: 8000 Hz, 16000 Hz expected"):
        reader.read(0, RATE, 0, 10)
    reader.read_channel(0, half)
    with pytest.raises(UserError, match=r"a\.wav: 8000 Hz, 16000 Hz expected"):
        reader.read(0, RATE, 0, 10)


@pytest.mark.parametrize("where", ["pread", "open"])
def test_a_disk_that_fails_costs_only_the_short_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fail(*args: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    if where == "pread":
        monkeypatch.setattr(sv.audio.part_reader.os, "pread", fail)
    else:
        monkeypatch.setattr(sv.audio.part_reader, "open", fail, raising=False)
    reader = PartReader([write(tmp_path / "a.wav", noise(900))])
    for _ in range(2):
        np.testing.assert_array_equal(reader.read(0, RATE, 100, 200), noise(900)[100:200])


def test_a_range_behind_the_samples_is_refused_though_bytes_follow(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(noise(100), "wav") + b"LIST\x40\0\0\0" + bytes(64))
    reader = PartReader([str(path)])
    for _ in range(2):
        assert len(reader.read(0, RATE, 90, 100)) == 10
        with pytest.raises(UserError, match="samples 90 to 101 wanted, 100 there"):
            reader.read(0, RATE, 90, 101)


@pytest.mark.parametrize(
    ("size", "expected"), [(0, 4), (0xFFFFFFFF, 2)]
)  # the first is mended in memory, for each read
def test_a_wav_whose_header_has_no_length(tmp_path: Path, checks: list[str], size: int, expected: int) -> None:
    path, wav = tmp_path / "a.wav", encoded(noise(500), "wav")
    path.write_bytes(wav[:40] + size.to_bytes(4, "little") + wav[44:])
    reader = PartReader([str(path)])
    for _ in range(3):
        np.testing.assert_array_equal(reader.read(0, RATE, 400, 500), noise(500)[400:])
    assert len(checks) == expected


def test_a_speed_copy_is_read_each_time(tmp_path: Path) -> None:
    spec = f"sox -t wav {write(tmp_path / 'a.wav', tone())} -t wav - speed 0.9 |"
    reader = PartReader([spec])
    for _ in range(2):
        np.testing.assert_array_equal(reader.read(0, RATE, 100, 300), read_wav(spec, RATE)[100:300])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_channel_of_any_rate(tmp_path: Path, channels: int) -> None:
    path = str(tmp_path / "a.wav")
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, (700, channels)), 8000, subtype="PCM_16")
    seen: list[AudioInfo] = []

    def last_half(header: AudioInfo) -> tuple[int, int, int]:
        seen.append(header)
        return header.channels - 1, header.samples // 2, header.samples

    reader, (expected, _) = PartReader([path]), read_channel(path, last_half)
    for _ in range(2):
        part, rate = reader.read_channel(0, last_half)
        np.testing.assert_array_equal(part, expected)
        assert rate == 8000
    assert seen == [AudioInfo(700, 8000, channels)] * 3


def test_samples_of_a_wav_file_are_found_behind_other_chunks() -> None:
    wav = encoded(noise(100), "wav")
    with_list = wav[:36] + b"LIST\x05\0\0\0INFOx\0" + wav[36:]
    assert find_samples(wav) == (44, 100, RATE) and find_samples(with_list) == (58, 100, RATE)
    none = (-1, 0, 0)
    assert find_samples(encoded(np.zeros((10, 2)), "wav")) == none
    assert find_samples(wav[:40]) == find_samples(b"") == find_samples(encoded(noise(9), "flac")) == none
