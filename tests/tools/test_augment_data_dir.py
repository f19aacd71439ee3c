"""tools/augment_data_dir.sh: utterances with a suffix, speakers as they were, features kept on a second run."""

from collections.abc import Callable
from pathlib import Path

import pytest

Read = Callable[[Path], dict[str, str]]
Say = Callable[..., str]


@pytest.mark.slow
def test_copy_for_an_augmentation(
    data_dir: Path, ok: Say, error: Say, valid: Callable[..., None], read: Read, add_segments: Callable[[Path], None]
) -> None:
    ok("augment_data_dir.sh", "reverb", "data", "wet")
    wet = data_dir.parent / "wet"
    valid(wet, "--no-feats")
    assert read(wet / "utt2spk")["s1-u1-reverb"] == "s1"
    assert read(wet / "wav.scp")["s1-u1-reverb"] == read(data_dir / "wav.scp")["s1-u1"]
    assert read(wet / "utt2uniq")["s1-u1-reverb"] == "s1-u1"
    (wet / "feats.scp").write_text("made since\n")
    (wet / "utt2augment").write_text("made since\n")
    ok("augment_data_dir.sh", "reverb", "data", "wet")
    assert (wet / "feats.scp").read_text() == (wet / "utt2augment").read_text() == "made since\n"
    message = error("augment_data_dir.sh", "rain", "data", "x", status=2)
    assert "the type is reverb, noise, music, babble or mixed, not 'rain'" in message
    add_segments(data_dir)
    ok("augment_data_dir.sh", "babble", "data", "crowd")
    crowd = data_dir.parent / "crowd"
    valid(crowd, "--no-feats")
    assert read(crowd / "wav.scp") == read(data_dir / "wav.scp")
    assert read(crowd / "segments")["s1-u1-babble"] == read(data_dir / "segments")["s1-u1"]
