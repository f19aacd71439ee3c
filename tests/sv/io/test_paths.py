"""Paths from the folder of the file that gives them."""

from pathlib import Path

import pytest

from sv.io import DataDir, path_from, read_path, read_scp, written_path


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("data/vox1/x.ark", "./x.ark"),
        ("data/vox1/fbank/x.ark", "./fbank/x.ark"),
        ("data/fbank/vox1/x.ark", "../fbank/vox1/x.ark"),
    ],
)
def test_near_paths_are_written_from_the_folder_and_read_back(tmp_path: Path, path: str, written: str) -> None:
    assert written_path(tmp_path / path, tmp_path / "data" / "vox1") == written
    assert Path(read_path(f"{written}:17", tmp_path / "data" / "vox1")).resolve() == tmp_path / f"{path}:17"


def test_far_paths_are_absolute(tmp_path: Path) -> None:
    far, folder = tmp_path / "disk2" / "fbank" / "x.ark", tmp_path / "data" / "vox1"
    assert written_path(far, folder) == str(far)
    assert path_from(far, folder) == "../../disk2/fbank/x.ark" and path_from(far, folder, levels=1) == str(far)


def test_links_are_followed_so_that_two_dots_lead_back(tmp_path: Path) -> None:
    (tmp_path / "big" / "vox1").mkdir(parents=True)
    (tmp_path / "disk2" / "fbank").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "vox1").symlink_to(tmp_path / "big" / "vox1")
    (tmp_path / "data" / "fbank").symlink_to(tmp_path / "disk2" / "fbank")
    for ark in (tmp_path / "data" / "fbank" / "x.ark", tmp_path / "data" / "y.ark"):
        ark.touch()
        for folder in (tmp_path / "data" / "vox1", tmp_path / "data"):
            assert Path(read_path(written_path(ark, folder), folder)).samefile(ark)
            assert (folder / path_from(ark, folder)).samefile(ark)


@pytest.mark.parametrize("path", ["/corpus/x.ark:5", "exp/x.ark:5", "x.ark:5", ".hidden/x.ark:5", "cat x |"])
def test_other_paths_are_as_in_kaldi(path: str) -> None:
    assert read_path(path, "data/vox1") == path


def test_scp_of_a_renamed_folder_names_the_archives_in_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "feats.scp").write_text("u1 ./x.ark:3\nu2 /corpus/y.ark:3\n")
    (tmp_path / "data").rename(tmp_path / "other")
    expected = {"u1": f"{tmp_path}/other/x.ark:3", "u2": "/corpus/y.ark:3"}
    assert read_scp(tmp_path / "other" / "feats.scp") == DataDir(tmp_path / "other").feats_scp == expected
