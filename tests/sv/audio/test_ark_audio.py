"""Audio inside an archive, as kaldiio and Kaldi write it."""

from pathlib import Path
from typing import Any

import kaldiio
import numpy as np
import pytest
import soundfile

from sv.audio.files import info, read_wav
from sv.errors import UserError
from sv.io import read_table

RATE = 16000
WAVES = {
    utt: np.random.default_rng(n).integers(-9999, 9999, RATE + n, dtype=np.int16) for n, utt in enumerate(["a", "b"])
}
AS_FLAC = {"write_function": "soundfile", "write_kwargs": {"format": "flac"}}


def written_by_kaldiio(folder: Path, **how: Any) -> dict[str, str]:
    kaldiio.save_ark(str(folder / "w.ark"), {u: (RATE, w) for u, w in WAVES.items()}, scp=str(folder / "w.scp"), **how)
    return read_table(folder / "w.scp")


@pytest.mark.parametrize("how", [{}, AS_FLAC], ids=["wav", "flac"])
def test_each_entry_is_read_whole_and_in_part(tmp_path: Path, how: dict[str, Any]) -> None:
    for utt, spec in written_by_kaldiio(tmp_path, **how).items():
        assert info(spec).samples == len(WAVES[utt])
        assert np.array_equal(read_wav(spec, RATE) * 32768, WAVES[utt])
        assert np.array_equal(read_wav(spec, RATE, start=7, end=99) * 32768, WAVES[utt][7:99])


def test_what_wav_copy_writes(tmp_path: Path) -> None:
    """Kaldi writes the id, a blank and the WAV file."""
    soundfile.write(tmp_path / "a.wav", WAVES["a"], RATE)
    (tmp_path / "k.ark").write_bytes(b"a " + (tmp_path / "a.wav").read_bytes() + b"b " + b"more")
    assert np.array_equal(read_wav(f"{tmp_path}/k.ark:2", RATE) * 32768, WAVES["a"])


def test_a_speed_copy_of_audio_in_an_archive(tmp_path: Path) -> None:
    spec = written_by_kaldiio(tmp_path)["b"]
    copy = f"wav-copy '{spec}' - | sox -t wav - -t wav - speed 1.1 |"  # tools/perturb_speed.pl
    soundfile.write(tmp_path / "b.wav", WAVES["b"], RATE)
    assert np.array_equal(read_wav(copy, RATE), read_wav(f"sox -t wav {tmp_path}/b.wav -t wav - speed 1.1 |", RATE))


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    ark = Path(written_by_kaldiio(tmp_path)["a"].rpartition(":")[0])
    with pytest.raises(UserError, match=r"none\.ark does not exist, of .*none\.ark:5; bring it back"):
        read_wav(f"{tmp_path}/none.ark:5", RATE)
    with pytest.raises(UserError, match=r"w\.ark:3: no audio stands here"):
        read_wav(f"{ark}:3", RATE)
    ark.write_bytes(ark.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"w\.ark:2: 32044 bytes of audio promised, 4998 are there"):
        read_wav(f"{ark}:2", RATE)
