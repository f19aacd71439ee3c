"""Kaldi's files: byte for byte as documented, there and back, and a bad one of each kind."""

import errno
import struct
from pathlib import Path
from typing import Any

import kaldi_native_io
import numpy as np
import pytest

import sv.io
from sv.errors import UserError
from sv.scoring.plda import Plda
from sv.scoring.plda_files import PldaBackend, encode_plda, read_backend, write_backend
from sv.scoring.projection import Projection

PLDA = Plda(np.array([1.0, -2.0]), np.array([[1.5, 0.25], [-0.5, 4.0]]), np.array([3.0, 0.125]))


def by_hand(letter: str) -> bytes:
    """Return a PLDA as Kaldi writes it: token, sizes (each after its own size, 4), numbers; floats or doubles."""
    number = {"F": "<f", "D": "<d"}[letter]

    def numbers(values: list[float]) -> bytes:
        return b"".join(struct.pack(number, value) for value in values)

    kind = letter.encode()
    vector = kind + b"V \x04\x02\x00\x00\x00"
    matrix = kind + b"M \x04\x02\x00\x00\x00\x04\x02\x00\x00\x00"
    return (
        b"\x00B<Plda> "
        + (vector + numbers([1.0, -2.0]))
        + (matrix + numbers([1.5, 0.25, -0.5, 4.0]))
        + (vector + numbers([3.0, 0.125]))
        + b"</Plda> "
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as Kaldi leaves it, without our mark; mean of 3, projected to 2 by LDA with an offset column."""
    (tmp_path / "plda").write_bytes(by_hand("D"))
    (tmp_path / "mean.vec").write_bytes(b"\x00BFV \x04\x03\x00\x00\x00" + struct.pack("<3f", 1, 2, 3))
    sizes = b"\x04\x02\x00\x00\x00\x04\x04\x00\x00\x00"
    (tmp_path / "transform.mat").write_bytes(b"\x00BFM " + sizes + struct.pack("<8f", *range(8)))
    return tmp_path


def test_bytes_are_kaldis() -> None:
    assert encode_plda(PLDA) == by_hand("D")


@pytest.mark.parametrize("letter", ["D", "F"])
def test_kaldis_folder_is_read(folder: Path, letter: str) -> None:
    (folder / "plda").write_bytes(by_hand(letter))
    backend = read_backend(folder)
    for name in ("mean", "transform", "psi"):
        np.testing.assert_array_equal(getattr(backend.plda, name), getattr(PLDA, name))
    assert backend.projection.mean.tolist() == [1, 2, 3]
    assert backend.projection.matrix.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert backend.projection.length_norm is True
    assert read_backend(folder, length_norm=False).projection.length_norm is False


@pytest.mark.parametrize("length_norm", [True, False])
def test_there_and_back(tmp_path: Path, length_norm: bool) -> None:
    matrix = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)
    backend = PldaBackend(Projection(np.array([7, 8, 9], dtype=np.float32), matrix, length_norm), PLDA)
    write_backend(tmp_path / "plda", backend, {"lda_dim": 2})
    back = read_backend(tmp_path / "plda", length_norm=not length_norm)  # the mark knows better
    assert back.projection.length_norm is length_norm
    np.testing.assert_array_equal(back.projection.matrix, matrix)
    np.testing.assert_array_equal(back.plda.transform, PLDA.transform)


def test_kaldis_reader_agrees(tmp_path: Path) -> None:
    matrix = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)
    write_backend(tmp_path, PldaBackend(Projection(np.array([7, 8, 9], np.float32), matrix, True), PLDA), {})
    read_matrix = kaldi_native_io.FloatMatrix.read(str(tmp_path / "transform.mat"))
    np.testing.assert_array_equal(read_matrix.numpy(), matrix)
    read_vector = kaldi_native_io.FloatVector.read(str(tmp_path / "mean.vec"))
    np.testing.assert_array_equal(read_vector.numpy(), [7, 8, 9])


@pytest.mark.parametrize("length", [*range(9, len(by_hand("D")) - 1, 7), len(by_hand("D")) - 2])
def test_truncated_plda_is_named_at_any_length(folder: Path, length: int) -> None:
    (folder / "plda").write_bytes(by_hand("D")[:length])
    with pytest.raises(UserError, match=rf"plda: truncated or damaged at byte \d+ of {length}; train it again"):
        read_backend(folder)


def test_kaldis_folder_in_text_is_read(folder: Path) -> None:
    (folder / "plda").write_text("<Plda>  [ 1 -2 ]\n [\n  1.5 0.25 \n  -0.5 4 ]\n [ 3 0.125 ]\n</Plda> ")
    (folder / "mean.vec").write_text(" [ 1 2 3 ]\n")
    (folder / "transform.mat").write_text(" [\n  0 1 2 3 \n  4 5 6 7 ]\n")
    backend = read_backend(folder)
    for name in ("mean", "transform", "psi"):
        np.testing.assert_array_equal(getattr(backend.plda, name), getattr(PLDA, name))
    assert backend.projection.mean.tolist() == [1, 2, 3]
    assert backend.projection.matrix.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("length", [10, 20, 40, 50, 60])
def test_truncated_plda_in_text_is_named(folder: Path, length: int) -> None:
    text = "<Plda>  [ 1 -2 ]\n [\n  1.5 0.25 \n  -0.5 4 ]\n [ 3 0.125 ]\n</Plda> "
    (folder / "plda").write_text(text[:length])
    with pytest.raises(UserError, match=rf"plda: truncated or damaged at byte \d+ of {length}; train it again"):
        read_backend(folder)


def test_another_object_is_refused(folder: Path) -> None:
    (folder / "plda").write_bytes((folder / "mean.vec").read_bytes())
    with pytest.raises(UserError, match="plda: no Kaldi PLDA stands here; train it again"):
        read_backend(folder)


def test_negative_size_is_refused(folder: Path) -> None:
    (folder / "plda").write_bytes(by_hand("D").replace(b"DV \x04\x02\x00\x00\x00", b"DV \x04\xff\xff\xff\xff", 1))
    with pytest.raises(UserError, match="truncated or damaged at byte"):
        read_backend(folder)


@pytest.mark.parametrize(
    ("plda", "message"),
    [
        (Plda(PLDA.mean, PLDA.transform, np.ones(3)), r"psi \(3,\) do not fit"),
        (Plda(np.array([1, np.nan]), PLDA.transform, PLDA.psi), "NaN or infinite values"),
        (Plda(PLDA.mean, PLDA.transform, -PLDA.psi), "negative variances"),
    ],
)
def test_impossible_values_are_refused(folder: Path, plda: Plda, message: str) -> None:
    (folder / "plda").write_bytes(encode_plda(plda))
    with pytest.raises(UserError, match=message):
        read_backend(folder)


@pytest.mark.parametrize("name", ["mean.vec", "transform.mat", "plda"])
def test_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=rf"{name} does not exist; train it again with steps/train_plda.py"):
        read_backend(folder)


@pytest.mark.parametrize("name", ["mean.vec", "transform.mat"])
def test_truncated_matrix_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1])
    with pytest.raises(UserError, match=rf"{name}.*truncated"):
        read_backend(folder)


def test_files_of_two_models_are_refused(folder: Path) -> None:
    (folder / "mean.vec").write_bytes(b"\x00BFV \x04\x02\x00\x00\x00" + struct.pack("<2f", 1, 2))
    with pytest.raises(UserError, match=r"mean\.vec has 2 values, transform\.mat is 2 x 4, plda has dimension 2"):
        read_backend(folder)


def test_a_write_that_fails_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def backend_of(mean: float) -> PldaBackend:
        return PldaBackend(Projection(np.full(3, mean, np.float32), np.eye(2, 3, dtype=np.float32), True), PLDA)

    def atomic_write(path: Path, mode: str) -> Any:
        if path.name == "plda":
            raise OSError(errno.ENOSPC, "No space left on device")
        return sv.io.atomic_write(path, mode)

    write_backend(tmp_path, backend_of(1), {})
    monkeypatch.setattr("sv.scoring.plda_files.atomic_write", atomic_write)
    with pytest.raises(OSError, match="No space left"):
        write_backend(tmp_path, backend_of(2), {})
    np.testing.assert_array_equal(read_backend(tmp_path).projection.mean, np.ones(3))


def test_file_changed_after_the_mark_is_refused(tmp_path: Path) -> None:
    write_backend(
        tmp_path, PldaBackend(Projection(np.zeros(2, np.float32), np.eye(2, dtype=np.float32), True), PLDA), {}
    )
    (tmp_path / "plda").write_bytes(by_hand("F"))
    with pytest.raises(UserError, match=r"plda has \d+ bytes instead of \d+; train it again"):
        read_backend(tmp_path)
    (tmp_path / ".done").write_text("{}")
    with pytest.raises(UserError, match=r"\.done is damaged; train it again"):
        read_backend(tmp_path)
