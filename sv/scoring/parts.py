"""Extraction in parts: what is to be done, what is done, and one ark and scp out of the parts.

    out_dir/parts/xvector.2-of-8.{ark,scp}, .done.2-of-8     while it runs: successive utterances of feats.scp each
    out_dir/xvector.{ark,scp}, .done                         when all parts are whole, in the order of feats.scp

The marks hold what the embeddings depend on: the weights, the encoder's and front-end's settings, the features, but not
the number of parts. Parts of another split have other names, and those of other weights or features other marks.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sv.config import Config
from sv.errors import UserError
from sv.experiment import find_model, read_config
from sv.io import ArkWriter, DataDir, DoneMark, read_vectors, sha256_of
from sv.io.ark import split_location

_PROBE_BYTES = 1 << 16


@dataclass(frozen=True)
class Extraction:
    """Embeddings of one data dir by one model.

    Attributes:
        exp_dir: with config.yaml.
        data_dir: with feats.scp.
        out_dir: where xvector.ark and xvector.scp go.
        model: state dict; None: models/avg_model.pt of the experiment.
        max_frames: see `SpeakerEncoder.embed`.
    """

    exp_dir: Path
    data_dir: Path
    out_dir: Path
    model: Path | None = None
    max_frames: int = 0

    @property
    def scp(self) -> Path:
        return self.out_dir / "xvector.scp"

    @property
    def ark(self) -> Path:
        return self.out_dir / "xvector.ark"

    @property
    def parts_dir(self) -> Path:
        return self.out_dir / "parts"

    @cached_property
    def config(self) -> Config:
        return read_config(self.exp_dir)

    @cached_property
    def model_file(self) -> Path:
        return find_model(self.exp_dir, self.model)

    @cached_property
    def feats(self) -> dict[str, str]:
        """Utterance -> "ark:offset", in the order of feats.scp."""
        return DataDir(self.data_dir).feats_scp

    @cached_property
    def options(self) -> dict[str, Any]:
        """All that decides the embeddings."""
        config = self.config
        model_sha256 = sha256_of(self.model_file)
        arks = sorted({split_location(location)[0] for location in self.feats.values()})
        front_end = self.data_dir / "fbank.yaml"
        return {
            "model_sha256": model_sha256,
            "model": config.model,
            "model_args": config.model_args,
            "cmvn": config.dataset_args.cmvn,
            "max_frames": self.max_frames,
            "feats_scp_sha256": sha256_of(self.data_dir / "feats.scp"),
            "arks": _digest([_fingerprint(Path(ark)) for ark in arks]),
            "front_end": sha256_of(front_end) if front_end.is_file() else None,
        }

    def mark(self) -> DoneMark:
        return DoneMark(self.out_dir / ".done", self.options)

    def part_mark(self, part: int, num_parts: int) -> DoneMark:
        return DoneMark(self.parts_dir / f".done.{part}-of-{num_parts}", self.options)

    def part_files(self, part: int, num_parts: int) -> tuple[Path, Path]:
        """Ark and scp of a part."""
        stem = f"xvector.{part}-of-{num_parts}"
        return self.parts_dir / f"{stem}.ark", self.parts_dir / f"{stem}.scp"

    def part_rows(self, part: int, num_parts: int) -> range:
        """Which utterances of feats.scp belong to part 1, 2, ... of so many: as many in each, but for one."""
        total = len(self.feats)
        return range((part - 1) * total // num_parts, part * total // num_parts)


def clear(work: Extraction) -> None:
    """Remove earlier embeddings and what was computed from them: half old, half new is the worst of all."""
    for name in (".done", "xvector.scp", "xvector.ark", "mean_vec.npy", "spk_xvector.scp", "spk_xvector.ark"):
        (work.out_dir / name).unlink(missing_ok=True)


def join(work: Extraction, num_parts: int) -> int:
    """Write xvector.ark and xvector.scp from the parts, and remove those; returns the number of utterances.

    Raises:
        UserError: a part is missing, is of other weights or features, or lacks utterances.
    """
    utts = list(work.feats)
    with ArkWriter(work.ark, work.scp) as writer:
        for part in range(1, num_parts + 1):
            if why := work.part_mark(part, num_parts).stale(verify=True):
                raise UserError(f"part {part} of {num_parts} of {work.out_dir}: {why}; run stage 4 again")
            _, scp = work.part_files(part, num_parts)
            vectors, rows = read_vectors(scp), work.part_rows(part, num_parts)
            if vectors.ids != utts[rows.start : rows.stop]:
                raise UserError(
                    f"{scp}: {len(vectors.ids)} embeddings, not those of its {len(rows)} utterances; remove it"
                )
            for utt, vector in zip(vectors.ids, vectors.matrix, strict=True):
                writer.write(utt, vector)
    work.mark().write([work.ark, work.scp], {work.ark: writer.sha256})
    shutil.rmtree(work.parts_dir)
    return len(utts)


def _fingerprint(ark: Path) -> list[Any]:
    """Size, and checksum of the first and last bytes: tells features made again without reading all of them."""
    if not ark.is_file():
        raise UserError(f"{ark} does not exist; make the features again with steps/make_fbank.sh (stage 2)")
    with open(ark, "rb") as f:
        size = f.seek(0, 2)
        f.seek(0)
        head = f.read(_PROBE_BYTES)
        f.seek(max(0, size - _PROBE_BYTES))
        return [size, hashlib.sha256(head + f.read(_PROBE_BYTES)).hexdigest()]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
