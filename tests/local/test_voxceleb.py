"""Find VoxCeleb's files, and choose one of several copies."""

import pytest

from local.voxceleb import choose_files, find_speaker_folders, scan
from tests.local.voxceleb_tree import DEV, TEST, touch


@pytest.mark.parametrize(
    "folders",
    [
        ["wav"],
        ["dev/wav", "test/wav"],
        ["voxceleb1/dev/wav", "voxceleb1/test/wav"],
        ["."],
        ["vox1_dev/wav", "vox1_test_wav"],
    ],
)
def test_layouts_of_voxceleb1(tmp_path, folders):
    for folder, utts in zip(folders, [TEST + DEV] if len(folders) == 1 else [DEV, TEST], strict=True):
        touch(tmp_path / folder, utts, "wav")
    found = [utt for folder in find_speaker_folders(tmp_path) for utt, *_ in scan(folder)]
    assert sorted(found) == sorted(TEST + DEV)


def test_the_choice_does_not_depend_on_the_order():
    files = [("u", "m4a", "a"), ("u", "flac", "c"), ("u", "flac", "b"), ("v", "m4a", "d")]
    assert choose_files(files) == choose_files(reversed(files)) == ({"u": "b", "v": "d"}, 2)
