"""Enrolled speakers of a folder: kept, told apart by system, and identified. The model is random, the audio noise."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sv import Enrolled, UserError, Verifier
from tests.sv.noise_verifier import make_strict, write_colours

Step = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.usefixtures("noise_is_speech")


@pytest.fixture(scope="module")
def exp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_strict(tmp_path_factory.mktemp("exp"))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write_colours(tmp_path)


def test_a_speaker_that_was_kept_scores_as_before(exp: Path, files: list[Path], tmp_path: Path) -> None:
    enrolled = Enrolled(Verifier(exp, gpus="none"), tmp_path / "speakers")
    added = enrolled.add("anna", files[:2])
    kept = enrolled.speakers()["anna"]
    scores = [enrolled.verifier.score(speaker, files[2]) for speaker in (added, kept)]
    assert scores[0] == scores[1]
    enrolled.add("anna", files[2:])
    assert len(enrolled.speakers()["anna"].recordings) == 1


def test_a_recording_is_identified_or_is_of_nobody(exp: Path, files: list[Path], tmp_path: Path) -> None:
    enrolled = Enrolled(Verifier(exp, gpus="none"), tmp_path / "speakers")
    enrolled.add("anna", files[:1])
    enrolled.add("bert", files[1:2])
    found = list(enrolled.identify([files[0], tmp_path / "gone.wav", files[1], files[2]]))
    assert isinstance(found[1], UserError)
    anna, bert, nobody = (found[index] for index in (0, 2, 3))
    assert not isinstance(anna, UserError) and not isinstance(bert, UserError) and not isinstance(nobody, UserError)
    assert (anna.speaker, bert.speaker, nobody.speaker) == ("anna", "bert", None)
    assert list(bert.verdicts) == ["bert", "anna"] and nobody.decision == "different"
    doubt = next(enrolled.identify(files[:1], margin=5.0))
    assert not isinstance(doubt, UserError) and (doubt.speaker, doubt.decision) == (None, "cannot tell")
    with pytest.raises(TypeError, match=r"no truth value; use \.speaker"):
        bool(nobody)
    for one in (files[0], str(files[0]), enrolled.verifier.embed_recording(files[0])):
        with pytest.raises(UserError, match=r"identify: give a list of recordings, as in \['a\.wav', 'b\.wav'\]"):
            next(enrolled.identify(one))  # type: ignore[arg-type]


def test_speakers_of_another_system_are_refused(exp: Path, files: list[Path], tmp_path: Path) -> None:
    enrolled = Enrolled(Verifier(exp, gpus="none"), tmp_path / "speakers")
    with pytest.raises(UserError, match=r"speakers holds no speakers; enroll some with sv enroll or steps/enroll\.py"):
        enrolled.speakers()
    enrolled.add("anna", files[:1])
    other = shutil.copytree(exp, tmp_path / "other")
    config = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(config.replace("window: hamming", "window: povey"))
    enrolled = Enrolled(Verifier(other, gpus="none"), tmp_path / "speakers")
    with pytest.raises(UserError, match=r"anna\.npz is of another model or front-end; enroll the speaker again"):
        enrolled.speakers()


@pytest.mark.parametrize("content", [b"", b"no archive", {"embeddings": np.ones((2, 8))}, {"fingerprint": "x"}])
def test_a_damaged_speaker_is_named(exp: Path, tmp_path: Path, content: bytes | dict) -> None:
    path = tmp_path / "anna.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, **content)
    with pytest.raises(UserError, match=r"anna\.npz is damaged; enroll the speaker again"):
        Enrolled(Verifier(exp, gpus="none"), tmp_path).speakers()


@pytest.mark.parametrize("name", ["", "../anna", ".anna", "an/na", "-x y"])
def test_names_that_fit_no_file_are_refused(exp: Path, files: list[Path], tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="use letters, digits and any of"):
        Enrolled(Verifier(exp, gpus="none"), tmp_path).add(name, files)
