"""Kaldi's archives: written, read back, read from other writers, refused when damaged."""

import pickle
import struct
import subprocess
import sys

import kaldi_native_io
import kaldiio
import numpy as np
import pytest

from sv.errors import UserError
from sv.io import ArkWriter, read_header, read_matrix, read_scp, read_vector, read_vectors, sha256_of
from sv.io.ark import decode, encode, parse_header


@pytest.fixture
def matrix():
    return np.random.default_rng(1).normal(9, 3, (57, 13)).astype(np.float32)


def write(folder, entries, compress=False):
    with ArkWriter(folder / "x.ark", folder / "x.scp", compress=compress) as writer:
        for key, array in entries.items():
            writer.write(key, array)
    return folder / "x.scp", writer.sha256


def test_float_round_trip_is_exact(tmp_path, matrix):
    scp, _ = write(tmp_path, {"u1": matrix})
    np.testing.assert_array_equal(read_matrix(read_scp(scp)["u1"]), matrix)


def test_cm2_is_within_half_a_step_and_read_alike_by_kaldis_readers(tmp_path, matrix, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where Kaldi's readers find the archives of our scp
    scp, _ = write(tmp_path, {"u1": matrix, "u2": matrix[:1]}, compress=True)
    ours = {key: read_matrix(location) for key, location in read_scp(scp).items()}
    assert np.abs(ours["u1"] - matrix).max() <= 0.51 * (matrix.max() - matrix.min()) / 65535
    with kaldi_native_io.SequentialFloatMatrixReader(f"scp:{scp}") as reader:
        for key, value in reader:
            np.testing.assert_array_equal(ours[key], value)
    for key, value in kaldiio.load_scp(str(scp)).items():
        np.testing.assert_allclose(ours[key], value, atol=1e-5)


@pytest.mark.parametrize("method", range(1, 8))
def test_every_compression_of_kaldi_is_read(tmp_path, matrix, method):
    kaldiio.save_ark(str(tmp_path / "k.ark"), {"u1": matrix}, scp=str(tmp_path / "k.scp"), compression_method=method)
    expected = kaldiio.load_scp(str(tmp_path / "k.scp"))["u1"]
    location = read_scp(tmp_path / "k.scp")["u1"]
    np.testing.assert_allclose(read_matrix(location), expected, atol=1e-5)


def test_double_matrices_and_vectors_of_kaldi_are_read(tmp_path, matrix):
    doubles = {"u1": matrix.astype(np.float64)}
    kaldiio.save_ark(str(tmp_path / "d.ark"), doubles, scp=str(tmp_path / "d.scp"))
    np.testing.assert_array_equal(read_matrix(read_scp(tmp_path / "d.scp")["u1"]), matrix)
    kaldiio.save_ark(str(tmp_path / "v.ark"), {"u1": matrix[0], "u2": matrix[1]}, scp=str(tmp_path / "v.scp"))
    vectors = read_vectors(tmp_path / "v.scp")
    np.testing.assert_array_equal(vectors.matrix[vectors.index["u2"]], matrix[1])


def test_cm_columns_by_hand():
    entry = b"\0BCM " + struct.pack("<ffii4H3B", -1.0, 2.0, 3, 1, 0, 16384, 49151, 65535, 0, 128, 255)
    header = parse_header(entry[:32], 0, len(entry), "x:0")
    np.testing.assert_allclose(decode(entry, header)[:, 0], [-1.0, 0.0, 1.0], atol=2e-5)


def test_cm2_is_written_with_kaldis_rounding():
    """Kaldi's FloatToUint16: (value - minimum) / range * 65535 + 0.499, cut off."""
    matrix = np.random.default_rng(0).normal(-4, 5, (40, 7)).astype(np.float32)
    low, span = matrix.min(), matrix.max() - matrix.min()
    codes = np.floor((matrix - low) / span * np.float32(65535) + np.float32(0.499))
    expected = b"\0BCM2 " + struct.pack("<ffii", low, span, 40, 7) + codes.astype("<u2").tobytes()
    assert encode(matrix, compress=True) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" [ 1 2.5 -3e-05 ]\n", [1, 2.5, -3e-05]),
        ("  [\n  1 2 \n  3.5 4 ]\n", [[1, 2], [3.5, 4]]),
        (" [\n  1 2 ]\n", [[1, 2]]),
    ],
)
def test_text_as_kaldi_leaves_it_is_read(tmp_path, text, expected):
    (tmp_path / "t.ark").write_text(f"u1 {text}u2 {text}")
    location = f"{tmp_path}/t.ark:{len(text) + 6}"
    np.testing.assert_array_equal(read_matrix(location), np.atleast_2d(np.array(expected, np.float32)))


def test_text_of_kaldis_own_writer_is_read(tmp_path, matrix):
    with kaldi_native_io.FloatMatrixWriter(f"ark,t,scp:{tmp_path}/m.ark,{tmp_path}/m.scp") as writer:
        writer.write("u1", matrix)
        writer.write("u2", matrix[:1])
    for utt, location in read_scp(tmp_path / "m.scp").items():
        np.testing.assert_allclose(read_matrix(location), matrix if utt == "u1" else matrix[:1], rtol=1e-5)
    with kaldi_native_io.FloatVectorWriter(f"ark,t,scp:{tmp_path}/v.ark,{tmp_path}/v.scp") as writer:
        writer.write("u1", np.array([1, 2, 3], np.float32))
        writer.write("u2", np.array([0.5, 2, 3], np.float32))
    assert read_vectors(tmp_path / "v.scp").matrix.tolist() == [[1, 2, 3], [0.5, 2, 3]]
    (tmp_path / "mean.vec").write_text(" [ 4 5.25 ]\n")
    assert read_vector(str(tmp_path / "mean.vec")).tolist() == [4, 5.25]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[ 1 2\n", r"t\.ark:3: a matrix in text without '\]'; the file is truncated"),
        ("[ 1 x ]\n", r"t\.ark:3: no matrix or vector of numbers"),
        ("[ ]\n", "no matrix or vector of numbers"),
        ("[\n 1 2\n 3 ]\n", "no matrix or vector of numbers"),
    ],
)
def test_bad_text_names_file_and_offset(tmp_path, text, message):
    (tmp_path / "t.ark").write_text(f"u1 {text}")
    with pytest.raises(UserError, match=message):
        read_matrix(f"{tmp_path}/t.ark:3")


def test_pickled_objects_are_never_loaded(tmp_path):
    """kaldiio's load_mat would: it takes an entry that begins with PKL for one."""
    (tmp_path / "x.ark").write_bytes(b"u1 PKL" + pickle.dumps(pytest.fail))
    with pytest.raises(UserError, match="no binary Kaldi matrix"):
        read_matrix(f"{tmp_path}/x.ark:3")


def test_a_constant_matrix_comes_back(tmp_path):
    scp, _ = write(tmp_path, {"u1": np.full((4, 3), -2.5, np.float32)}, compress=True)
    np.testing.assert_array_equal(read_matrix(read_scp(scp)["u1"]), np.full((4, 3), -2.5, np.float32))


def test_checksum_is_that_of_the_file(tmp_path, matrix):
    _, checksum = write(tmp_path, {"u1": matrix}, compress=True)
    assert checksum == sha256_of(tmp_path / "x.ark")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1.0, np.nan]]), "NaN or infinite"),
        (np.array([[1.0, np.inf]]), "NaN"),
        (np.ones((0, 3)), "no values"),
    ],
)
def test_what_would_spoil_an_archive_is_refused_and_nothing_is_left(tmp_path, array, message):
    with pytest.raises(UserError, match=message):
        write(tmp_path, {"good": np.ones((2, 2)), "bad": array}, compress=True)
    assert list(tmp_path.iterdir()) == []


def test_truncated_ark_names_file_and_offset(tmp_path, matrix):
    scp, _ = write(tmp_path, {"u1": matrix, "u2": matrix}, compress=True)
    ark = tmp_path / "x.ark"
    whole = ark.read_bytes()
    location = read_scp(scp)["u2"]
    for length in (len(whole) - 1, len(whole) - matrix.size * 2 - 10, len(whole) // 2, 0):
        ark.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"x\.ark:\d+.*truncated"):
            read_matrix(location)


def test_a_corrupt_header_never_asks_for_terabytes(tmp_path, matrix):
    write(tmp_path, {"u1": matrix}, compress=True)
    ark = tmp_path / "x.ark"
    data = bytearray(ark.read_bytes())
    data[3 + 6 + 8 : 3 + 6 + 16] = struct.pack("<ii", 2**31 - 1, 2**31 - 1)
    ark.write_bytes(bytes(data))
    with pytest.raises(UserError, match="2147483647 x 2147483647 does not fit"):
        read_matrix(f"{ark}:3")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("missing.ark:3", "does not exist"),
        ("copy-feats ark:a ark:- |", "a command or a range"),
        ("x.ark:5[:,0:9]", "ranges are read as"),
        ("x.ark:five", "not 'path:offset'"),
    ],
)
def test_odd_locations_are_refused(location, message):
    with pytest.raises(UserError, match=message):
        read_matrix(location)


def test_a_sizes_width_is_checked(tmp_path, matrix):
    entry = encode(matrix)
    (tmp_path / "x.ark").write_bytes(entry.replace(b"FM \4", b"FM \5"))
    with pytest.raises(UserError, match=r"x\.ark:0: a damaged header; make the archive again"):
        read_matrix(f"{tmp_path}/x.ark:0")


def test_text_has_no_header(tmp_path):
    (tmp_path / "t.ark").write_text("u1  [\n 1 2\n 3 4 ]\n")
    with pytest.raises(UserError, match="no binary Kaldi matrix or vector stands here; it is text"):
        read_header(tmp_path / "t.ark", 3)


def test_full_disk_names_the_archive_and_leaves_nothing(tmp_path):
    script = f"""
import resource, numpy as np
from sv.errors import run_step
from sv.io import ArkWriter
def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    with ArkWriter({str(tmp_path / "x.ark")!r}, {str(tmp_path / "x.scp")!r}, compress=True) as writer:
        for number in range(100):
            writer.write(f"u{{number}}", np.random.randn(50, 7))
run_step(main)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"-c: error: {tmp_path}/x.ark: File too large")
    assert list(tmp_path.iterdir()) == []
