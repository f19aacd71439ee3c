"""Extraction in parts: what is to be done, what is done, and one ark and scp out of the parts.

    out_dir/parts/xvector.2-of-8.{ark,scp}, .done.2-of-8     while it runs: successive utterances of the data dir each
    out_dir/xvector.{ark,scp}, .done                         when all parts are whole, in the order of the data dir
    out_dir/bad_utts, parts/bad_utts.2-of-8                  utterances left out, and why; only if there are any

The marks hold what the embeddings depend on: the weights, the encoder's and front-end's settings, the features, but not
the number of parts. Parts of another split have other names, and those of other weights or features other marks.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sv.audio.tar_shards import read_entries, read_shard_list
from sv.config import Config
from sv.embeddings.experiment import find_model, read_config
from sv.errors import UserError
from sv.io import ArkWriter, DataDir, read_vectors, sha256_of
from sv.io.ark import split_location
from sv.jobs import DoneMark
from sv.jobs.bad_utts import BadUtts, read_bad_utts

_PROBE_BYTES = 1 << 16


@dataclass(frozen=True)
class Extraction:
    """Embeddings of one data dir by one model.

    Attributes:
        exp_dir: with config.yaml.
        data_dir: with feats.scp; with `feats` "online" with wav.scp, with "shard" with shard.list.
        out_dir: where xvector.ark and xvector.scp go.
        model: state dict; None: models/avg_model.pt of the experiment.
        max_frames: see `SpeakerEncoder.embed`.
        feats: "ark": read; "online", "shard": worked out from waveforms, as the model was trained with.
        skip_bad: leave out utterances that can not be read, up to the `max_bad_share` of the training; else the first
            one is an error.
    """

    exp_dir: Path
    data_dir: Path
    out_dir: Path
    model: Path | None = None
    max_frames: int = 0
    feats: Literal["ark", "online", "shard"] = "ark"
    skip_bad: bool = False

    @property
    def scp(self) -> Path:
        return self.out_dir / "xvector.scp"

    @property
    def ark(self) -> Path:
        return self.out_dir / "xvector.ark"

    @property
    def bad_list(self) -> Path:
        return self.out_dir / "bad_utts"

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
    def utts(self) -> list[str]:
        """In the order of feats.scp, or of `sv.data.WaveSource`."""
        if self.feats == "ark":
            return list(DataDir(self.data_dir).feats_scp)
        if self.feats == "online":
            return sorted(DataDir(self.data_dir).utts, key=str.encode)
        return sorted((entry.utt for shard in self._shards() for entry in read_entries(shard)), key=str.encode)

    def _shards(self) -> list[Path]:
        return read_shard_list(self.data_dir / "shard.list")

    @cached_property
    def options(self) -> dict[str, Any]:
        """All that decides the embeddings."""
        config = self.config
        model_sha256 = sha256_of(self.model_file)
        return {
            "model_sha256": model_sha256,
            "model": config.model,
            "model_args": config.model_args,
            "cmvn": config.dataset_args.cmvn,
            "max_frames": self.max_frames,
            **(self._ark_options() if self.feats == "ark" else self._wave_options()),
        }

    def _ark_options(self) -> dict[str, Any]:
        locations = DataDir(self.data_dir).feats_scp.values()
        arks = sorted({split_location(location)[0] for location in locations})
        front_end = self.data_dir / "fbank.yaml"
        return {
            "feats_scp_sha256": sha256_of(self.data_dir / "feats.scp"),
            "arks": _digest([_fingerprint(Path(ark)) for ark in arks]),
            "front_end": sha256_of(front_end) if front_end.is_file() else None,
        }

    def _wave_options(self) -> dict[str, Any]:
        if self.feats == "shard":
            audio = [[str(shard), *_fingerprint(shard)] for shard in self._shards()]
        else:
            data = DataDir(self.data_dir)
            audio = [[sha256_of(data.path / "wav.scp"), sha256_of(data.audio_list)]]
        fbank_args = self.config.dataset_args.fbank_args.model_dump(exclude={"dither"})
        return {"audio": _digest(audio), "fbank_args": fbank_args}

    def mark(self) -> DoneMark:
        return DoneMark(self.out_dir / ".done", self.options)

    def part_mark(self, part: int, num_parts: int) -> DoneMark:
        return DoneMark(self.parts_dir / f".done.{part}-of-{num_parts}", self.options)

    def stale(self, *, verify: bool = False) -> str:
        """Why the embeddings have to be extracted; "" if they are there; see `DoneMark.stale`."""
        return self._stale(self.mark(), self.bad_list, verify)

    def part_stale(self, part: int, num_parts: int) -> str:
        """The same of a part, with its checksums."""
        return self._stale(self.part_mark(part, num_parts), self.part_bad_list(part, num_parts), verify=True)

    def _stale(self, mark: DoneMark, bad_list: Path, verify: bool) -> str:
        if bad_list.is_file() and not self.skip_bad:
            return f"{bad_list} lists utterances that were left out"
        return mark.stale(verify=verify)

    def part_files(self, part: int, num_parts: int) -> tuple[Path, Path]:
        """Ark and scp of a part."""
        stem = f"xvector.{part}-of-{num_parts}"
        return self.parts_dir / f"{stem}.ark", self.parts_dir / f"{stem}.scp"

    def part_bad_list(self, part: int, num_parts: int) -> Path:
        return self.parts_dir / f"bad_utts.{part}-of-{num_parts}"

    def bad_utts(self) -> BadUtts:
        """None so far; as many as are allowed may be."""
        max_share = self.config.max_bad_share if self.skip_bad else 0.0
        return BadUtts(len(self.utts), max_share, "left out")

    def part_rows(self, part: int, num_parts: int) -> range:
        """Which utterances belong to part 1, 2, ... of so many: as many in each, but for one."""
        total = len(self.utts)
        return range((part - 1) * total // num_parts, part * total // num_parts)


def clear(work: Extraction) -> None:
    """Remove earlier embeddings and what was computed from them: half old, half new is the worst of all."""
    made = ("xvector.scp", "xvector.ark", "bad_utts", "mean_vec.npy", "spk_xvector.scp", "spk_xvector.ark")
    for name in (".done", *made):
        (work.out_dir / name).unlink(missing_ok=True)


def join(work: Extraction, num_parts: int) -> int:
    """Write xvector.ark and xvector.scp from the parts, and remove those; returns the number of utterances.

    Raises:
        UserError: a part is missing, is of other weights or features, or lacks utterances; too many were left out.
    """
    utts, bad = work.utts, work.bad_utts()
    with ArkWriter(work.ark, work.scp) as writer:
        for part in range(1, num_parts + 1):
            if why := work.part_stale(part, num_parts):
                raise UserError(f"part {part} of {num_parts} of {work.out_dir}: {why}; run stage 4 again")
            _, scp = work.part_files(part, num_parts)
            rows, bad_list = work.part_rows(part, num_parts), work.part_bad_list(part, num_parts)
            left_out = read_bad_utts(bad_list)
            try:
                bad.add(left_out)
            except UserError:
                _forget_parts_with_bad(work, num_parts)
                raise
            if len(left_out) == len(rows):
                continue
            vectors = read_vectors(scp)
            if vectors.ids != [utt for utt in utts[rows.start : rows.stop] if utt not in left_out]:
                raise UserError(
                    f"{scp}: {len(vectors.ids)} embeddings, not those of its {len(rows)} utterances; remove it"
                )
            for utt, vector in zip(vectors.ids, vectors.matrix, strict=True):
                writer.write(utt, vector)
    bad.write(work.bad_list)
    work.mark().write([work.ark, work.scp, *([work.bad_list] if bad.why else [])], {work.ark: writer.sha256})
    shutil.rmtree(work.parts_dir)
    return len(utts) - len(bad.why)


def _forget_parts_with_bad(work: Extraction, num_parts: int) -> None:
    """Have them worked out again next time, when files may have been mended: marks of waveforms do not tell."""
    for part in range(1, num_parts + 1):
        if work.part_bad_list(part, num_parts).is_file():
            work.part_mark(part, num_parts).path.unlink(missing_ok=True)


def _fingerprint(ark: Path) -> list[Any]:
    """Size, and checksum of the first and last bytes: tells features made again without reading all of them."""
    if not ark.is_file():
        raise UserError(f"{ark} does not exist; make it again (stage 2)")
    with open(ark, "rb") as f:
        size = f.seek(0, 2)
        f.seek(0)
        head = f.read(_PROBE_BYTES)
        f.seek(max(0, size - _PROBE_BYTES))
        return [size, hashlib.sha256(head + f.read(_PROBE_BYTES)).hexdigest()]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
