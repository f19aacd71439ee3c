"""For the tests of the data-dir tools: a small data dir, three speakers with three utterances each, and short words.

The tools run in tmp_path, where the data dir is "data".
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
UTTS = [f"s{spk}-u{utt}" for spk in (1, 2, 3) for utt in (1, 2, 3)]


def table(rows: dict[str, object]) -> str:
    return "".join(f"{key} {value}\n" for key, value in rows.items())


@pytest.fixture
def make_data_dir(tmp_path: Path) -> Callable[..., Path]:
    """Make a valid data dir tmp_path/NAME, with any of its files replaced or (None) left out."""

    def make(name: str = "data", **files: str | None) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        ark = tmp_path / "fbank.ark"
        ark.write_bytes(bytes(100))
        speakers = sorted({utt[:2] for utt in UTTS})
        contents: dict[str, str | None] = {
            "utt2spk": table({utt: utt[:2] for utt in UTTS}),
            "spk2utt": table({spk: " ".join(u for u in UTTS if u.startswith(spk)) for spk in speakers}),
            "wav.scp": table({utt: f"/audio/{utt}.wav" for utt in UTTS}),
            "feats.scp": table({utt: f"{ark}:{10 * i + 5}" for i, utt in enumerate(UTTS)}),
            "utt2num_frames": table({utt: 100 + i for i, utt in enumerate(UTTS)}),
            "utt2dur": table({utt: 9.5 - i for i, utt in enumerate(UTTS)}),
            "spk2gender": table({"s1": "m", "s2": "f", "s3": "m"}),
            "fbank.yaml": "num_mel_bins: 80\n",
        }
        contents.update({key.replace("_scp", ".scp").replace("_yaml", ".yaml"): text for key, text in files.items()})
        for key, text in contents.items():
            if text is not None:
                (folder / key).write_text(text)
        return folder

    return make


@pytest.fixture
def data_dir(make_data_dir: Callable[..., Path]) -> Path:
    return make_data_dir()


@pytest.fixture
def tool(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a tool in tmp_path."""

    def run_tool(name: str, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([TOOLS / name, *map(str, words)], cwd=tmp_path, capture_output=True, text=True)

    return run_tool


@pytest.fixture
def ok(tool: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """Run a tool that must succeed, and return its stderr."""

    def run_tool(name: str, *words: object) -> str:
        done = tool(name, *words)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        return done.stderr

    return run_tool


@pytest.fixture
def error(tmp_path: Path, tool: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """Run a tool that must fail, and return its stderr; for a wrong call (status 2) its first line, without usage."""

    def run_tool(name: str, *words: object, status: int = 1) -> str:
        done = tool(name, *words)
        assert (done.returncode, done.stdout) == (status, "")
        assert not list(tmp_path.rglob(".work*"))
        return done.stderr.splitlines()[0] if status == 2 else done.stderr

    return run_tool


@pytest.fixture
def valid(ok: Callable[..., str]) -> Callable[..., None]:
    """Hold a data dir to validate_data_dir.sh."""

    def check(folder: Path, *options: str) -> None:
        ok("validate_data_dir.sh", *options, folder)

    return check


@pytest.fixture
def read() -> Callable[[Path], dict[str, str]]:
    """A table as id -> the rest of the line."""
    return lambda path: dict(line.split(" ", 1) for line in path.read_text().splitlines())


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, bytes]]:
    """All files below a folder."""
    return lambda folder: {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def add_segments() -> Callable[[Path], None]:
    """Give a data dir two recordings: r1 with all utterances of s1 and the first of s2, r2 with the others."""

    def add(folder: Path) -> None:
        rows = [f"{utt} {'r1' if i < 4 else 'r2'} {i} {i + 0.9}\n" for i, utt in enumerate(UTTS)]
        (folder / "segments").write_text("".join(rows))
        (folder / "wav.scp").write_text("r1 /audio/r1.wav\nr2 /audio/r2.wav\n")
        (folder / "reco2dur").write_text("r1 9\nr2 9\n")

    return add


@pytest.fixture
def add_trials() -> Callable[[Path], None]:
    """Give a data dir a trial list within its first four utterances, and another one."""

    def add(folder: Path) -> None:
        (folder / "trials").mkdir()
        (folder / "trials/near.kaldi").write_text("s1-u2 s1-u1 target\ns1-u1 s2-u1 nontarget\n")
        (folder / "trials/far.kaldi").write_text("s1-u1 s3-u3 nontarget\n")

    return add
