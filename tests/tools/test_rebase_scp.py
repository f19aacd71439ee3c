"""tools/rebase_scp.pl, and the tools that write an scp of one data dir into another."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sv.io import read_scp
from tests.tools.conftest import UTTS, table

Say = Callable[..., str]
Run = Callable[..., subprocess.CompletedProcess[str]]
MakeDataDir = Callable[..., Path]
FEATS = {utt: f"../fbank.ark:{10 * i + 5}" for i, utt in enumerate(UTTS)}


def test_paths_from_the_scps_folder_become_absolute_and_others_stay(tmp_path: Path, tool: Run) -> None:
    lines = ["a ../f b/x.ark:12", "b ./y.ark", "c /z.ark:1", "d exp/x.ark:1", "e ./x.ark:7[0:3]", "f ./sph2pipe x |"]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.scp").write_text("\n".join([*lines, ""]))
    absolute = [f"a {tmp_path}/f b/x.ark:12", f"b {tmp_path}/data/y.ark", *lines[2:]]
    absolute[4] = f"e {tmp_path}/data/x.ark:7[0:3]"
    assert tool("rebase_scp.pl", "data/x.scp").stdout.splitlines() == absolute
    moved = tool("rebase_scp.pl", "--to", tmp_path, "data/x.scp").stdout.splitlines()
    assert moved[:2] == ["a ./f b/x.ark:12", "b ./data/y.ark"]
    (tmp_path / "far" / "away").mkdir(parents=True)
    assert tool("rebase_scp.pl", "--to", "far/away", "data/x.scp").stdout.splitlines() == absolute


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([], 2, "Usage: rebase_scp.pl"),
        (["--for", "x", "y"], 2, "unknown option --for"),
        (["none.scp"], 1, "none.scp: cannot be read: "),
        (["."], 1, "rebase_scp.pl: error: .: cannot be read: it is a folder"),
        (["--to", "none", "x"], 1, "--to none is no folder"),
    ],
)
def test_wrong_calls(tool: Run, words: list[str], status: int, message: str) -> None:
    done = tool("rebase_scp.pl", *words)
    assert done.returncode == status and message in done.stderr and done.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize("dest", ["copy", "far/away/copy"])
@pytest.mark.parametrize(
    "words",
    [
        ["copy_data_dir.sh", "data"],
        ["subset_data_dir.sh", "data", "9"],
        ["combine_data.sh"],
    ],
)
def test_copies_of_an_scp_name_the_same_archives(
    make_data_dir: MakeDataDir, tmp_path: Path, ok: Say, words: list[str], dest: str
) -> None:
    data = make_data_dir(feats_scp=table(FEATS))
    ok("validate_data_dir.sh", "--no-wav", data)
    ok(words[0], *([dest, "data"] if words[0] == "combine_data.sh" else [*words[1:], dest]))
    copied = (tmp_path / dest / "feats.scp").read_text()
    assert copied == (
        table(FEATS)
        if dest == "copy"
        else table({utt: f"{tmp_path}/fbank.ark:{10 * i + 5}" for i, utt in enumerate(UTTS)})
    )
    for utt, location in read_scp(tmp_path / dest / "feats.scp").items():
        assert Path(location).resolve() == (data / FEATS[utt]).resolve()


def test_parts_of_a_split_have_absolute_paths(make_data_dir: MakeDataDir, tmp_path: Path, ok: Say) -> None:
    data = make_data_dir(feats_scp=table(FEATS))
    ok("split_data.sh", "data", 3)
    lines = "".join((data / "split3" / part / "feats.scp").read_text() for part in "123")
    assert lines == table(FEATS).replace("../", f"{tmp_path}/")
