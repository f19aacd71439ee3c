"""Sounds of the page: why one is missing, and names of files as they are."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv.audio.utterances import Utterances
from sv.io import DataDir
from sv.report import sounds


def test_a_missing_sound_says_why_and_a_name_has_the_ending_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"A/x/1.wav": "1.flac", "A/x/2.wav": "other.flac", "A-3": "A-3.flac", "A/x/4.wav": "4.flac"}
    for name in list(names.values())[:3]:
        soundfile.write(tmp_path / name, np.random.default_rng(0).normal(0, 0.1, 1600), 16000)
    (tmp_path / "wav.scp").write_text("".join(f"{utt} {tmp_path / name}\n" for utt, name in names.items()))
    (tmp_path / "utt2spk").write_text("".join(f"{utt} A\n" for utt in names))
    some = sounds.Sounds(Utterances(DataDir(tmp_path), 16000))
    assert [some.file_name(utt) for utt in (*names, "model")] == [
        "A/x/1.flac",
        "A/x/2.wav",
        "A-3",
        "A/x/4.flac",
        "model",
    ]
    assert some.take("A/x/1.wav") == "" and list(some.urls) == ["A/x/1.wav"]
    assert some.take("A/x/4.wav") == "file cannot be read" and some.take("model") == "not in wav.scp"
    assert sounds.Sounds(None).take("A-3") == "no --test-data with wav.scp"
    monkeypatch.setattr(sounds, "_MAX_BYTES", len(some.urls["A/x/1.wav"]) + 9)
    short = sounds.Sounds(Utterances(DataDir(tmp_path), 16000))
    assert short.take("A/x/1.wav") == short.take("A/x/1.wav") == ""
    assert short.take("A-3") == "the page's limit of sounds is reached"
