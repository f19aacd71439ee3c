"""Readers and damaged files: whatever the bytes, a reader returns or says in one line what is wrong, in little memory.

Each example is a valid file with some edits, or random bytes. CI tries the same few of each kind;
SV_FUZZ_EXAMPLES=20000 tries so many, others each time. What was found once stands in `FOUND`.
"""

import io
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sv.audio.files import read_wav
from sv.audio.tar_shards import Recording, check_shard, read_entries, write_shard
from sv.config import load_config
from sv.data import read_index
from sv.errors import UserError
from sv.io import DataDir, read_enroll_map, read_matrix, read_scored_trials, read_table, read_trials, read_vectors
from sv.io.ark import ArkWriter
from sv.metrics.results import KEYS, read_results
from sv.scoring.calibration import load_calibration
from sv.scoring.plda import Plda
from sv.scoring.plda_files import decode_plda, encode_plda
from sv.scoring.thresholds import read_thresholds
from sv.training.network import read_model

MOST_MEMORY = 32 << 20  # bytes; the valid files are of kilobytes
EXAMPLES = int(os.environ.get("SV_FUZZ_EXAMPLES", "0"))
RNG = np.random.default_rng(0)
TEXT = b"a b 0.5 target\nb c -1.25 nontarget\nc a 3 target\n"


def matrix_file(method: int | None) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        matrix = RNG.normal(size=(9, 4)).astype("f4")
        kaldiio.save_ark(str(folder / "m.ark"), {"utt": matrix}, compression_method=method)
        return (folder / "m.ark").read_bytes()[4:]

    return make


def wav(kind: str, subtype: str) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        out = io.BytesIO()
        soundfile.write(out, RNG.normal(size=400) / 10, 16000, format=kind, subtype=subtype)
        return out.getvalue()

    return make


def vectors(folder: Path) -> bytes:
    with ArkWriter(folder / "x.ark", folder / "x.scp") as writer:
        for utt in "abc":
            writer.write(utt, RNG.normal(size=5).astype("f4"))
    return (folder / "x.scp").read_bytes()


def shard(folder: Path) -> bytes:
    audio = wav("WAV", "PCM_16")(folder)
    write_shard(folder / "s.tar", [Recording(f"a-{n}", "a", "wav", audio, 16000, 400) for n in range(2)])
    return (folder / "s.tar").read_bytes()


def checkpoint(folder: Path) -> bytes:
    out = io.BytesIO()
    torch.save({"weight": torch.ones(3, 2), "bias": torch.zeros(3)}, out)
    return out.getvalue()


def feats(folder: Path) -> bytes:
    """A feats.scp, and beside it the other tables of an index."""
    with ArkWriter(folder / "feats.ark", folder / "valid.scp") as writer:
        for utt in "ab":
            writer.write(utt, np.zeros((9, 4), np.float32))
    (folder / "utt2spk").write_text("a a\nb b\n")
    (folder / "utt2num_frames").write_text("a 9\nb 9\n")
    return (folder / "valid.scp").read_bytes()


# name -> the valid file, and a reader of the file
KINDS: dict[str, tuple[Callable[[Path], bytes], Callable[[Path], object]]] = {
    "FM": (matrix_file(None), lambda path: read_matrix(f"{path}:0")),
    "CM": (matrix_file(2), lambda path: read_matrix(f"{path}:0")),
    "CM2": (matrix_file(3), lambda path: read_matrix(f"{path}:0")),
    "CM3": (matrix_file(5), lambda path: read_matrix(f"{path}:0")),
    "text": (lambda _: b" [\n  1 2.5\n  -3 4e-05 ]\n", lambda path: read_matrix(f"{path}:0")),
    "x.scp": (vectors, read_vectors),
    "feats.scp": (feats, lambda path: read_index(path.parent)),
    "table": (lambda _: b"a one\nb two three\n", read_table),
    "wav.scp": (lambda _: b"a /x/a.wav\nb sox b.wav |\n", lambda path: DataDir(path.parent).wav_scp),
    "segments": (lambda _: b"a r 0.5 1.5\nb r 2 3\n", lambda path: DataDir(path.parent).segments),
    "trials": (lambda _: b"a b target\nb c nontarget\n", lambda path: list(read_trials(path, ["a", "b", "c"]))),
    "enroll": (lambda _: b"m a b\nn c\n", read_enroll_map),
    "trials.score": (lambda _: TEXT, read_scored_trials),
    "a.wav": (wav("WAV", "PCM_16"), lambda path: read_wav(str(path), 16000)),
    "a.flac": (wav("FLAC", "PCM_16"), lambda path: read_wav(str(path), 16000, start=100, end=300)),
    "c.yaml": (lambda _: b"seed: 3\nloss_args: {t: 2.5}\ndataset_args: {speeds: [0.9]}\n", load_config),
    "plda": (
        lambda _: encode_plda(Plda(np.zeros(3), np.eye(3), np.arange(3.0))),
        lambda path: decode_plda(path.read_bytes(), path),
    ),
    "plda in text": (
        lambda _: b"<Plda>  [ 1 -2 ]\n [\n  1.5 0.25\n  -0.5 4 ]\n [ 3 0.125 ]\n</Plda> ",
        lambda path: decode_plda(path.read_bytes(), path),
    ),
    "calibration.json": (
        lambda _: json.dumps({"features": ["score"], "weights": [1.0], "offset": 0.5, "p_target": 0.05}).encode(),
        load_calibration,
    ),
    "results.json": (
        lambda _: json.dumps({"results": {"O": {"cos": dict.fromkeys(sorted(KEYS), 1)}}}).encode(),
        read_results,
    ),
    "thresholds.json": (
        lambda _: json.dumps({"cos": {"eer": {"llr": 1.0}}}).encode(),
        lambda path: read_thresholds(path.parent, "cos"),
    ),
    "a.tar": (shard, lambda path: (read_entries(path), list(check_shard(path)))),
    "model.pt": (checkpoint, read_model),
}
FOUND: dict[str, list[bytes]] = {
    "CM3": [b"\0BCM3 " + bytes(16)],  # a matrix of 0 x 0
    "x.scp": [b"a \0x.ark:2\n", b"a " + b"x" * 5000 + b".ark:2\n"],
    "feats.scp": [
        b"[" * 2000 + b"a x.ark:2\n",
        b"".join(b"%s /%s.ark:2\n" % (utt, b"x/" * 1000) for utt in (b"a", b"b")),
    ],
    "c.yaml": [
        b"[" * 1000,
        b"{\n" * 100_000,
        b"seed: [" + b"1, " * 5000 + b"]",
        b"seed:\n  - &a0 [1]\n" + b"".join(b"  - &a%d [%s]\n" % (n + 1, b"*a%d, " % n * 10) for n in range(9)),
        b"loss_args: &a {t: *a}",
        b"a" * 10_000 + b": 1",
        b"seed: " + b"9" * 5000,
    ],
    "results.json": [b"[" * 100_000],
}


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    """A valid file with one to four edits, or anything."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=64))
    content = valid
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, len(content)))
        last = draw(st.integers(first, min(first + 16, len(content))))
        kind = draw(st.sampled_from(["set", "insert", "cut", "remove", "number", "word"]))
        new = {
            "set": draw(st.binary(min_size=last - first, max_size=last - first)),
            "insert": content[first:last] + draw(st.binary(max_size=8)),
            "cut": b"",
            "remove": b"",
            "number": draw(st.sampled_from(NUMBERS)),
            "word": draw(st.sampled_from(WORDS)),
        }[kind]
        content = content[:first] + new + (b"" if kind == "cut" else content[last:])
    return content


NUMBERS = [b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\x00\x00\x00\x00", b"\x04\xff\xff\xff\x7f"]
WORDS = [b"nan", b"inf", b"1e999", b"-1", b"99999999999999999999", b"../../x", b"'\"; $(x)", b"\n", b"\0", b" "]
WORDS += [
    b"\xc3",
    b"null",
    b"[" * 1000,
    b"{}",
    b"!!python/object:os.system",
    b"&a [*a]",
    b"a" * 10_000,
    "\u2028".encode(),
    b"\r",
]


def check(reader: Callable[[Path], object], path: Path) -> None:
    """Nothing but a UserError of one line, or an OSError, of which run_step makes one; no memory beyond the file's."""
    tracemalloc.start()
    try:
        reader(path)
    except UserError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 2000
    except OSError as error:
        assert error.filename
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < MOST_MEMORY


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path: Path, name: str) -> None:
    make, reader = KINDS[name]
    valid, path = make(tmp_path), tmp_path / name
    path.write_bytes(valid)
    reader(path)  # the valid one raises nothing

    @settings(
        max_examples=EXAMPLES or 150,
        derandomize=not EXAMPLES,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # the edits are few: a smaller example tells no more
    )
    @given(damaged(valid))
    def try_it(content: bytes) -> None:
        path.unlink()
        path.write_bytes(content)
        path.with_suffix(".idx").unlink(missing_ok=True)
        check(reader, path)

    try_it()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "content"), [(name, content) for name in FOUND for content in FOUND[name]])
def test_what_was_found_once_stays_mended(tmp_path: Path, name: str, content: bytes) -> None:
    (make, reader), path = KINDS[name], tmp_path / name
    make(tmp_path)  # what stands beside it
    path.write_bytes(content)
    check(reader, path)
