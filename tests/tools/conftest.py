"""A small data dir for the tests of the data-dir tools: three speakers with three utterances each."""

from collections.abc import Callable
from pathlib import Path

import pytest

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
