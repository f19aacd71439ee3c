"""Lists of noise and rooms: of MUSAN and RIRS_NOISES as distributed, of folders with a type, and of what is made up."""

import hashlib
import importlib.util
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local.make_noises import coloured_noise
from local.rooms import SPEED_OF_SOUND, Room, draw_room, impulse_response, reflection, reflections
from sv.data.noises import NOISE_TYPES, Clips
from sv.errors import UserError
from sv.io import read_table, write_table

RATE = 16000


@pytest.fixture
def call(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Run a script of local/ within this process; its module is returned."""

    def run_script(name: str, *words: object) -> object:
        spec = importlib.util.spec_from_file_location(name, root / "local" / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        module.main()
        return module

    return run_script


def write(path: Path, *, rate: int = RATE, channels: int = 1, samples: int = 400) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, (samples, channels)), rate)


@pytest.fixture
def musan(tmp_path: Path) -> Path:
    folder = tmp_path / "in" / "musan"
    for name in ("noise/free-sound/n-0", "noise/sound-bible/n-1", "music/fma/m-0", "speech/librivox/s-0"):
        write(folder / f"{name}.wav")
    (folder / "README").write_text("a corpus")
    (folder / "noise/free-sound/._n-0.wav").write_text("what macOS leaves")
    return folder


@pytest.fixture
def rirs(tmp_path: Path) -> Path:
    folder = tmp_path / "in" / "RIRS_NOISES"
    write(folder / "simulated_rirs/smallroom/Room001/Room001-00001.wav")
    real = folder / "real_rirs_isotropic_noises"
    write(real / "RVB2014_type1_rir_largeroom1.wav", channels=8)
    write(real / "RVB2014_type1_noise_largeroom1.wav")
    line = "--rir-id 1 --room-id 1 RIRS_NOISES/real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1.wav\n"
    (real / "rir_list").write_text(line)
    return folder


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


def test_rirs_with_and_without_the_measured_ones(call, rirs, tmp_path):
    call("prepare_rirs", "--rirs", rirs, tmp_path / "out")
    assert list(read_table(tmp_path / "out/wav.scp")) == ["rir/simulated_rirs/smallroom/Room001/Room001-00001.wav"]
    call("prepare_rirs", "--rirs", rirs, "--real", "true", tmp_path / "out")
    clips = Clips(tmp_path / "out", ("rir",), RATE)
    assert clips.ids[0] == "rir/real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1.wav"
    assert len(clips.whole(0, 0.99)) == 400


def pack(folder: Path, archive: Path) -> None:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as z:
            for path in sorted(folder.rglob("*")):
                z.write(path, path.relative_to(folder.parent))
    else:
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, folder.name)


@pytest.mark.parametrize(
    ("script", "option", "name", "constant", "fixture"),
    [
        ("prepare_musan", "--musan", "musan.tar.gz", "MUSAN", "musan"),
        ("prepare_rirs", "--rirs", "rirs_noises.zip", "RIRS", "rirs"),
    ],
)
def test_archives_are_fetched_checked_and_unpacked(
    call, request, tmp_path, monkeypatch, script, option, name, constant, fixture
):
    source = request.getfixturevalue(fixture)
    target = tmp_path / "corpora" / "any_name"
    pack(source, tmp_path / name)
    words = ["--download", "true", "--url", (tmp_path / name).as_uri(), option, target, tmp_path / "out"]
    with pytest.raises(UserError, match=rf"{name}\.part: MD5 \w+, not \w+: damaged or the wrong file"):
        call(script, *words)
    import local.prepare_noises as shared

    published = shared.bring
    md5 = hashlib.md5((tmp_path / name).read_bytes()).hexdigest()

    def with_our_md5(remote, *args, **options):
        published(type(remote)(remote.url, md5=md5), *args, **options)

    monkeypatch.setattr(shared, "bring", with_our_md5)
    call(script, *words)
    assert read_table(tmp_path / "out/wav.scp") and not (target.parent / name).exists()
    (tmp_path / name).unlink()
    call(script, *words)  # all is there: nothing is fetched


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


def test_a_folder_that_is_called_like_audio_is_a_folder(call, tmp_path):
    write(tmp_path / "in/street.wav/a.wav")
    (tmp_path / "in/phone.m4a").mkdir()
    call("prepare_musan", "--add", f"noise={tmp_path / 'in'}", tmp_path / "out")
    assert Clips(tmp_path / "out", NOISE_TYPES, RATE).ids == ["noise/in/street.wav/a.wav"]


def test_the_image_method_puts_sound_where_geometry_says():
    source, microphone = np.array([1.0, 1.7, 1.2]), np.array([3.1, 2.4, 1.6])
    room = Room(np.array([5.0, 4.3, 3.0]), source, microphone, 0.3)
    rir = reflections(room, RATE)

    def heard(place: np.ndarray) -> tuple[float, float]:
        """Distance of a source at a place, and what arrives from there."""
        distance = float(np.linalg.norm(place - microphone))
        tap = int(distance / SPEED_OF_SOUND * RATE)
        return distance, float(rir[tap : tap + 2].sum())

    direct, height = heard(source)
    before = rir[: int(direct / SPEED_OF_SOUND * RATE)]
    assert not before.any() and height == pytest.approx(1 / direct)
    for image in (source * [1, 1, -1], source * [1, -1, 1]):  # behind the floor, behind a wall
        distance, height = heard(image)
        assert height == pytest.approx(reflection(room) / distance)


@pytest.mark.slow
def test_rooms_decay_as_they_are_asked_to():
    """Reverberation time by a line through Schroeder's backward integral, -5 to -25 dB, against the one asked for."""
    found = []
    for number in range(1, 41):
        room = draw_room(np.random.default_rng([1, number]))
        rir = impulse_response(room, RATE).astype(np.float64)
        left = 10 * np.log10(np.cumsum(rir[::-1] ** 2)[::-1] / np.sum(rir**2))
        fitted = np.arange(np.argmax(left < -5), np.argmax(left < -25))
        found.append(-60 / np.polyfit(fitted / RATE, left[fitted], 1)[0] / room.rt60)
    assert np.median(found) == pytest.approx(1, abs=0.03)
    assert min(found) > 0.9 and max(found) < 1.3


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
    call("make_rirs", "--count", 3, tmp_path / "rirs")
    noises, rooms = Clips(tmp_path / "noises", NOISE_TYPES, RATE), Clips(tmp_path / "rirs", ("rir",), RATE)
    assert (len(noises.of_type["noise"]), len(noises.of_type["speech"]), len(rooms.ids)) == (2, 3, 3)
    assert rooms.whole(0, 0.0).any()
    before = (tmp_path / "noises/wav/0001.wav").stat().st_mtime_ns
    call("make_noises", *words)
    assert (tmp_path / "noises/wav/0001.wav").stat().st_mtime_ns == before
    (tmp_path / "noises/wav/0002.wav").unlink()
    call("make_noises", *words)
    assert (tmp_path / "noises/wav/0002.wav").is_file()
