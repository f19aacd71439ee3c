"""bench/long_lists.py on a short list: each step runs, on the same trials, and its plain form gives the same scores."""

from pathlib import Path

import pytest

from bench import long_lists
from bench.plain_lists import FORMS, main


def scores_of(path: Path) -> list[float]:
    return [float(line.split()[2]) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_each_step_leaves_its_file_and_the_plain_form_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(long_lists, "SPEAKERS", 310)
    monkeypatch.setattr(long_lists, "DIM", 16)
    monkeypatch.setattr(long_lists, "MOST", 500)
    long_lists.make_lists(tmp_path, 1_000, 930)
    found = long_lists.steps_of(tmp_path)
    assert all(seconds > 0 and mib > 10 for seconds, mib in found.values()) and len(found) == 8
    trials = (tmp_path / "data" / long_lists.NAME).read_text().splitlines()
    assert len(trials) == 1_000 and trials[:500] == trials[500:]
    assert sum(line.endswith(" target") for line in trials) >= 10
    fused = (tmp_path / "fused.score").read_text().splitlines()
    assert [line.split()[:2] for line in fused] == [line.split()[:2] for line in trials]
    assert FORMS.keys() < found.keys()
    written = {
        "cosine scores": tmp_path / "a" / "scores" / f"{long_lists.NAME}.score",
        "PLDA scores": tmp_path / "a" / "PLDA.score",
        "AS-norm scores": tmp_path / "a" / "AS-norm.score",
        "calibrate": tmp_path / "a" / "scores" / f"cali_{long_lists.NAME}.score",
        "fuse, two systems": tmp_path / "fused.score",
    }
    for step, path in written.items():
        FORMS[step](tmp_path)
        plain = scores_of(tmp_path / "plain.score")
        assert plain == pytest.approx(scores_of(path), abs=2e-4), step
    capsys.readouterr()
    FORMS["metrics"](tmp_path)
    plain, _, rest = capsys.readouterr().out.removeprefix("(").partition(",")
    result = (tmp_path / "a" / "scores" / "result").read_text()
    assert float(plain) == pytest.approx(float(result.partition("EER = ")[2].split()[0]), abs=0.5)
    assert float(rest.split()[-1]) == pytest.approx(float(result.partition("\nCllr = ")[2].split()[0]), abs=1e-3)


def test_the_plain_form_has_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["plain_lists.py", "--help"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0 and "in which the steps were run" in " ".join(capsys.readouterr().out.split())
