"""Files of tensors with checksums, and the folder of whole states."""

import subprocess
import sys

import pytest
import torch

from sv.errors import UserError
from sv.training.checkpoint import Checkpoints, checksum_path, find_damage, load_tensors, remove_temporary, save_tensors


def state(step):
    return {"place": {"step": step}, "weight": torch.full((3, 2), float(step)), "name": "x", "none": None}


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_saved_tensors_are_read_back_and_sha256sum_agrees(tmp_path):
    save_tensors(state(3), tmp_path / "a.pt")
    assert load_tensors(tmp_path / "a.pt")["weight"].equal(torch.full((3, 2), 3.0))
    check = subprocess.run(["sha256sum", "-c", "a.pt.sha256"], cwd=tmp_path, capture_output=True, text=True)
    assert check.stdout == "a.pt: OK\n"


def test_the_same_state_gives_the_same_bytes(tmp_path):
    save_tensors(state(3), tmp_path / "a.pt")
    save_tensors(state(3), tmp_path / "b.pt")
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_damage_of_each_kind_is_named(tmp_path):
    path = tmp_path / "a.pt"
    assert find_damage(path) == "does not exist"
    save_tensors(state(1), path)
    assert find_damage(path) == ""
    flip_a_byte(path)
    with pytest.raises(UserError, match=r"a.pt is damaged: its checksum is not the one in a.pt.sha256"):
        load_tensors(path)
    checksum_path(path).unlink()
    assert "has no a.pt.sha256" in find_damage(path)


def test_the_last_ones_are_kept(tmp_path):
    folder = Checkpoints(tmp_path, keep=2)
    assert folder.load_last() is None
    for step in (5, 10, 15):
        folder.save(step, state(step))
    names = ["step_00000010.pt", "step_00000010.pt.sha256", "step_00000015.pt", "step_00000015.pt.sha256"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert folder.load_last()["place"]["step"] == 15


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, caplog):
    folder = Checkpoints(tmp_path, keep=2)
    for step in (5, 10):
        folder.save(step, state(step))
    flip_a_byte(tmp_path / "step_00000010.pt")
    assert folder.load_last()["place"]["step"] == 5
    assert "step_00000010.pt is damaged" in caplog.text
    folder.clean(newest=5)
    assert [path.name for path in folder.paths()] == ["step_00000005.pt"]


def test_all_damaged_is_an_error(tmp_path):
    folder = Checkpoints(tmp_path, keep=2)
    for step in (5, 10):
        (folder.save(step, state(step))).write_bytes(b"")
    with pytest.raises(UserError, match=r"all 2 checkpoints in .* are damaged"):
        folder.load_last()


def test_what_a_killed_process_left_is_removed(tmp_path):
    folder = Checkpoints(tmp_path, keep=2)
    folder.save(5, state(5))
    (tmp_path / ".step_00000010.pt.77.tmp").write_bytes(b"half")
    (tmp_path / "step_00000010.pt.sha256").write_text("0  step_00000010.pt\n")
    folder.clean(newest=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000005.pt", "step_00000005.pt.sha256"]
    (tmp_path / ".x.tmp").touch()
    remove_temporary(tmp_path)
    assert not (tmp_path / ".x.tmp").exists()


@pytest.mark.slow
def test_full_disk_is_said_as_the_system_says_it_and_leaves_nothing(tmp_path):
    script = f"""
import resource, torch
from pathlib import Path
from sv.errors import run_step
from sv.training.checkpoint import save_tensors
def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    save_tensors({{"weight": torch.zeros(100_000)}}, Path({str(tmp_path / "a.pt")!r}))
run_step(main)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"-c: error: {tmp_path}/a.pt: File too large\n")
    assert list(tmp_path.iterdir()) == []
