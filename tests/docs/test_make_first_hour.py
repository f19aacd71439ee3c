"""docs/first-hour.md is a record: its commands exist, and it shows nothing of the machine that it was made on."""

import re
from pathlib import Path

import pytest

from docs.make_first_hour import MINI, OWN, ROOT, VERIFY, copy_speakers, record_command, spoken_by, tell_errors
from sv.errors import UserError

PAGE = (ROOT / "docs" / "first-hour.md").read_text()


def test_commands_name_scripts_and_options_that_exist() -> None:
    for command in (MINI, OWN, VERIFY):
        script = ROOT / next(word for word in command.split() if "/" in word)
        assert script.is_file(), script
        for option in re.findall(r"--([\w-]+)", command):
            text = script.read_text()
            assert f"--{option}" in text or f"\n{option}=" in text


def test_page_has_every_step_with_its_time_and_no_path_of_a_machine() -> None:
    for command in (MINI, OWN, VERIFY.partition(" {")[0]):
        assert f"$ {command}" in PAGE
    assert PAGE.count("This took ") == PAGE.count("$ ") >= 4
    assert not re.search(r"/(tmp|home|root|work|mnt|data/users)/", PAGE)
    assert (ROOT / "docs/images/report.png").is_file()


def test_a_record_shows_all_that_is_said_and_other_names_of_folders(tmp_path: Path) -> None:
    hidden = {str(tmp_path): "/corpora/calls"}
    said = record_command("ls -d /corpora/calls; pwd >&2; echo $SECRET", tmp_path, {"PATH": "/usr/bin:/bin"}, hidden)
    assert said.startswith("```\n$ ls -d /corpora/calls; pwd >&2; echo $SECRET\n/corpora/calls\n/corpora/calls\n```\n")
    assert re.search(r"\nThis took \d s, with \d s of CPU time\.\n$", said)
    with pytest.raises(UserError, match="false ended with status 1"):
        record_command("false", tmp_path, {"PATH": "/usr/bin:/bin"}, {})


def test_speakers_are_copied_and_their_files_found(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / "all" / name).mkdir(parents=True)
        (tmp_path / "all" / name / "1.wav").touch()
    assert copy_speakers(tmp_path / "all", tmp_path / "two", 2) == ["a", "b"]
    assert sorted(path.name for path in (tmp_path / "two").glob("*/*.wav")) == ["1.wav", "1.wav"]
    with pytest.raises(UserError, match=r"all has 3 folders of speakers, not 4; give a larger corpus"):
        copy_speakers(tmp_path / "all", tmp_path / "four", 4)
    (tmp_path / "wav.scp").write_text("a/1.wav /x/a/1.wav\na/2.wav /x/a/2.flac\nb/1.wav /x/b/1.wav\n")
    assert spoken_by(tmp_path / "wav.scp") == [
        ["/corpora/calls/a/1.wav", "/corpora/calls/a/2.flac"],
        ["/corpora/calls/b/1.wav"],
    ]


def test_errors_at_a_threshold_of_0_are_counted(tmp_path: Path) -> None:
    pairs = [("a", "a", -1, ""), ("a", "a", 2, ""), ("b", "b", 1, ""), ("b", "b", 0, "")]
    pairs += [("a", "b", 0, "non"), ("a", "b", -1, "non")]
    lines = [f"{enroll}/1.wav {test}/2.wav {llr}.00000 {kind}target\n" for enroll, test, llr, kind in pairs]
    (tmp_path / "scores").write_text("".join(lines))
    told = tell_errors(tmp_path / "scores", "a")
    assert "25 % of the pairs of one speaker" in told and "50 % of the pairs of two speakers" in told
    assert "Of the pairs of a, 50 % are" in told
