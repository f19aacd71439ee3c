"""Crops and whole matrices from arks, and arks that are refused."""

import struct
from pathlib import Path

import numpy as np
import pytest

from sv.data import ArkReader, read_index
from sv.data.ark_reader import crop_starts
from sv.errors import UserError
from sv.io import read_matrix, read_scp, read_table, write_table
from tests.sv.data.feats_dir import MELS, make_dir


def three(folder: Path, **options: bool) -> ArkReader:
    return ArkReader(read_index(make_dir(folder, {"a-1": 30, "b-1": 7, "b-2": 12}, **options)), MELS)


@pytest.mark.parametrize("compress", [True, False])
def test_crop_is_the_rows_of_the_matrix(tmp_path, compress):
    reader = three(tmp_path, compress=compress)
    locations = list(read_scp(tmp_path / "feats.scp").values())
    crops = reader.crops(np.array([2, 0]), np.array([3, 20]), 6, center=False)
    np.testing.assert_allclose(crops[0], read_matrix(locations[2])[3:9], rtol=1e-6)
    np.testing.assert_allclose(crops[1], read_matrix(locations[0])[20:26], rtol=1e-6)


def test_centred_crop_has_the_mean_of_its_own_frames_subtracted(tmp_path):
    reader = three(tmp_path)
    plain = reader.crops(np.array([0]), np.array([5]), 10, center=False)[0]
    centred = reader.crops(np.array([0]), np.array([5]), 10, center=True)[0]
    np.testing.assert_allclose(centred, plain - plain.mean(axis=0), atol=1e-5)


def test_short_utterance_is_repeated_to_fill_the_crop(tmp_path):
    reader = three(tmp_path)
    whole = reader.whole(1, center=False)
    assert whole.shape == (7, MELS)
    crop = reader.crops(np.array([1]), np.array([0]), 17, center=False)[0]
    np.testing.assert_array_equal(crop, np.concatenate([whole, whole, whole])[:17])


@pytest.mark.parametrize("method", [2, 3, 5])
def test_forms_that_kaldiio_writes_are_read(tmp_path, method):
    """Kaldi's CM, CM2 and CM3 (kaldiio's methods 2, 3 and 5)."""
    kaldiio = pytest.importorskip("kaldiio")
    folder = make_dir(tmp_path, {"a-1": 30, "b-1": 20})
    ark, scp = str(folder / "other.ark"), str(folder / "feats.scp")
    matrices = {u: np.random.default_rng(1).normal(size=(n, MELS)).astype("f4") for u, n in (("a-1", 30), ("b-1", 20))}
    with kaldiio.WriteHelper(f"ark,scp:{ark},{scp}", compression_method=method) as writer:
        for utt, matrix in matrices.items():
            writer(utt, matrix)
    reader = ArkReader(read_index(folder), MELS)
    crops = reader.crops(np.array([0, 1]), np.array([11, 4]), 9, center=False)
    for crop, utt, start in zip(crops, matrices, (11, 4), strict=True):
        np.testing.assert_allclose(crop, kaldiio.load_scp(scp)[utt][start : start + 9], atol=1e-5)


def test_starts_cover_all_places_that_fit():
    draws = np.linspace(0, 1, 1000, endpoint=False)
    starts = crop_starts(np.full(1000, 12, np.int32), 10, draws)
    assert np.bincount(starts).tolist() == [334, 333, 333]
    assert crop_starts(np.array([4], np.int32), 10, np.array([0.99])).tolist() == [0]


def test_matrix_of_another_dimension_or_length_is_refused(tmp_path):
    reader = ArkReader(read_index(make_dir(tmp_path, {"a-1": 9})), 80)
    with pytest.raises(UserError, match=r"dimension 5 \(CM2\), the configuration says 80 mel bins"):
        reader.whole(0, center=True)
    write_table(tmp_path / "utt2num_frames", {"a-1": 8})
    with pytest.raises(UserError, match="9 frames, utt2num_frames says 8"):
        ArkReader(read_index(tmp_path), MELS).whole(0, center=True)


def test_missing_archive_is_named(tmp_path):
    folder = make_dir(tmp_path, {"a-1": 9})
    index = read_index(folder)
    (folder / "feats.ark").unlink()
    with pytest.raises(UserError, match=r"feats.scp: .*feats.ark does not exist"):
        ArkReader(index, MELS).whole(0, center=True)
    with pytest.raises(UserError, match=r"feats.ark does not exist"):
        read_index(folder)


def test_a_vector_among_the_features_is_refused(tmp_path):
    folder = make_dir(tmp_path, {"a-1": 1})
    (folder / "feats.ark").write_bytes(b"a-1 \0BFV \4" + struct.pack("<i", MELS) + bytes(4 * MELS))
    with pytest.raises(UserError, match=r"\(FV\)"):
        ArkReader(read_index(folder), MELS).whole(0, center=True)


@pytest.mark.parametrize("method", [None, 2, 3])
def test_ranges_are_rows_of_the_matrix(tmp_path, method):
    """Kaldi's "[first:last]" of feats.scp, of FM, CM and CM2; the last row belongs to it."""
    kaldiio = pytest.importorskip("kaldiio")
    folder, scp = make_dir(tmp_path, {"a-1": 9, "a-2": 30, "b-1": 12}), tmp_path / "feats.scp"
    matrix = np.random.default_rng(1).normal(size=(30, MELS)).astype("f4")
    kaldiio.save_ark(str(tmp_path / "m.ark"), {"m": matrix}, scp=str(tmp_path / "m.scp"), compression_method=method)
    place = read_table(tmp_path / "m.scp")["m"]
    places = {"a-1": f"{place}[0:8]", "a-2": place, "b-1": f"{place}[18:29]"}
    write_table(scp, places)
    stored = kaldiio.load_mat(place)
    reader = ArkReader(read_index(folder), MELS)
    for row, (utt, first, last) in enumerate([("a-1", 0, 8), ("a-2", 0, 29), ("b-1", 18, 29)]):
        np.testing.assert_allclose(reader.whole(row, center=False), stored[first : last + 1], atol=1e-5)
        assert reader.index.location(row) == places[utt]
        np.testing.assert_allclose(read_matrix(places[utt]), stored[first : last + 1], atol=1e-5)
    crops = reader.crops(np.array([2, 0]), np.array([3, 4]), 5, center=False)
    np.testing.assert_allclose(crops, [stored[21:26], stored[4:9]], atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("[0:9]", r"feats\.scp: a-1: a range of 10 rows, utt2num_frames says 9; remove that and run tools/get_utt2num"),
        ("[25:33]", r"a-1: .*:4: 30 frames, not rows 25 to 33; mend feats\.scp"),
        ("[0:8,0:1]", r"feats\.scp:1: .*\[0:8,0:1\]': ranges are read as \[FIRST ROW:LAST ROW\]"),
        ("[8:0]", r"ranges are read as \[FIRST ROW:LAST ROW\]"),
    ],
)
def test_ranges_that_do_not_fit_are_told(tmp_path, rows, message):
    folder = make_dir(tmp_path, {"a-1": 30})
    write_table(folder / "feats.scp", {"a-1": read_table(folder / "feats.scp")["a-1"] + rows})
    write_table(folder / "utt2num_frames", {"a-1": 9})
    with pytest.raises(UserError, match=message):
        ArkReader(read_index(folder), MELS).whole(0, center=False)


def test_frames_of_ranges_are_counted(tmp_path, step):
    folder = make_dir(tmp_path, {"a-1": 30, "a-2": 8})
    write_table(
        folder / "feats.scp", {utt: v + "[2:4]" * (utt == "a-1") for utt, v in read_table(folder / "feats.scp").items()}
    )
    (folder / "utt2num_frames").unlink()
    with pytest.raises(UserError, match=r"utt2num_frames does not exist; make it with tools/get_utt2num_frames\.sh"):
        read_index(folder)
    assert step("tools/get_utt2num_frames.py", folder).returncode == 0
    assert read_table(folder / "utt2num_frames") == {"a-1": "3", "a-2": "8"}
