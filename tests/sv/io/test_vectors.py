"""All vectors of an scp, or of an archive in its place; those that are refused are named."""

import kaldi_native_io
import kaldiio
import numpy as np
import pytest

from sv.errors import UserError
from sv.io import ArkWriter, read_vectors


@pytest.mark.parametrize("form", ["ark", "ark,t"])
def test_an_archive_in_place_of_its_scp_is_read(tmp_path, form):
    """As of Kaldi's ivector-mean, which writes no scp."""
    with kaldi_native_io.FloatVectorWriter(f"{form}:{tmp_path}/v.ark") as writer:
        for key, vector in {"spk-1": [1, 2, 3], "spk-2": [0.5, -2, 3e-05]}.items():
            writer.write(key, np.array(vector, np.float32))
    vectors = read_vectors(tmp_path / "v.ark")
    assert vectors.ids == ["spk-1", "spk-2"]
    np.testing.assert_allclose(vectors.matrix, [[1, 2, 3], [0.5, -2, 3e-05]])
    with kaldi_native_io.FloatMatrixWriter(f"{form}:{tmp_path}/m.ark") as writer:
        writer.write("u1", np.ones((2, 3), np.float32))
    with pytest.raises(UserError, match=r"m\.ark:1: u1 is a matrix of 2 rows; a vector is expected here"):
        read_vectors(tmp_path / "m.ark")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"u1  [ 1 2 ]\nu2  [ 1 2", r"v\.ark:15: a matrix in text without '\]'; the file is truncated"),
        (b"u1  [ 1 2 ]\nu2", r"v\.ark:14: beyond the archive's 14 bytes; it is truncated"),
        (b"u1  [ 1 2 ]\nu1  [ 1 2 ]\n", r"v\.ark:2: u1 comes twice"),
        (b"u1  [ 1 2 ]\nu2 x.ark:5\n", r"v\.ark:15: no binary Kaldi matrix or vector stands here"),
    ],
)
def test_a_damaged_archive_in_place_of_its_scp_is_named(tmp_path, content, message):
    (tmp_path / "v.ark").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_vectors(tmp_path / "v.ark")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"u1": np.ones(3), "u2": np.ones(4)}, "u2 has dimension 4, those before 3"),
        ({"u1": np.ones((2, 3))}, "u1 is a matrix of 2 rows; a vector is expected"),
    ],
)
def test_vectors_must_be_alike(tmp_path, entries, message):
    with ArkWriter(tmp_path / "x.ark", tmp_path / "x.scp") as writer:
        for key, array in entries.items():
            writer.write(key, array)
    with pytest.raises(UserError, match=message):
        read_vectors(tmp_path / "x.scp")


def test_vectors_with_nan_name_the_utterance(tmp_path):
    kaldiio.save_ark(str(tmp_path / "v.ark"), {"u7": np.array([1, np.nan], np.float32)}, scp=str(tmp_path / "v.scp"))
    with pytest.raises(UserError, match="u7 has NaN"):
        read_vectors(tmp_path / "v.scp")
