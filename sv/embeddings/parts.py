"""Extraction in parts by several jobs, and one ark and scp out of the parts.

    out_dir/parts/xvector.2-of-8.{ark,scp}, .done.2-of-8     while it runs: successive utterances of the data dir each
    out_dir/xvector.{ark,scp}, .done                         when all parts are whole, in the order of the data dir
    out_dir/bad_utts, parts/bad_utts.2-of-8                  utterances left out, and why; only if there are any
    out_dir/parts/network.onnx                               the network, if onnxruntime embeds

The marks hold what the embeddings depend on: the weights, the encoder's and front-end's settings, the features, but not
the number of parts, which the names of parts have.
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
from sv.data import UttIndex, WaveformSource, index_waveforms, open_waveforms, read_index
from sv.embeddings.experiment import check_front_end, check_sha256, find_model, fingerprint_of, read_config
from sv.errors import UserError, log
from sv.io import ArkWriter, DataDir, part_rows, read_vectors, sha256_of
from sv.io.ark import misplaced, split_location, split_rows
from sv.jobs import DoneMark, claim_folder
from sv.jobs.bad_utts import BadUtts, read_bad_utts
from sv.jobs.gpus import parse_gpus
from sv.jobs.parts import Outputs, Parts

_PROBE_BYTES = 1 << 16


@dataclass(frozen=True)
class Extraction(Parts):
    """Embeddings of one data dir by one model.

    Attributes:
        exp_dir: with config.yaml.
        data_dir: with feats.scp; with `feats` "online" with wav.scp, with "shard" with shard.list.
        out_dir: where xvector.ark and xvector.scp go.
        model: state dict; None: models/avg_model.pt of the experiment.
        max_frames: see `SpeakerEncoder.embed`.
        feats: "ark": read; "online", "shard": computed from waveforms, as the model was trained with.
        skip_bad: leave out utterances that cannot be read, up to the `max_bad_share` of the training; else the first
            one is an error.
        gpus: "none", "auto", or "0,1": part N takes the N-th of them, and round again.
        num_threads: threads of each part, on the CPU.
        batch_frames: on a GPU, see `embed_rows`.
    """

    exp_dir: Path
    data_dir: Path
    out_dir: Path
    model: Path | None = None
    max_frames: int = 0
    feats: Literal["ark", "online", "shard"] = "ark"
    skip_bad: bool = False
    gpus: str = "none"
    num_threads: int = 1
    batch_frames: int = 0

    @property
    def folder(self) -> Path:
        return self.out_dir / "parts"

    @property
    def file_names(self) -> str:
        return ".*"

    @property
    def num_parts(self) -> int:
        return min(self.num_jobs, len(self.utts))

    @property
    def network(self) -> Path:
        """The exported network for onnxruntime, if that embeds (`sv.export.extraction`)."""
        return self.folder / "network.onnx"

    @property
    def scp(self) -> Path:
        """The scp of all embeddings."""
        return self.out_dir / "xvector.scp"

    @property
    def result(self) -> Path:
        return self.scp

    @property
    def ark(self) -> Path:
        """The archive of all embeddings."""
        return self.out_dir / "xvector.ark"

    @property
    def bad_list(self) -> Path:
        """The list of utterances that were left out."""
        return self.out_dir / "bad_utts"

    @cached_property
    def config(self) -> Config:
        """The configuration of the experiment."""
        return read_config(self.exp_dir)

    @cached_property
    def model_file(self) -> Path:
        """The file of the model; raises UserError if there is none."""
        return find_model(self.exp_dir, self.model)

    @cached_property
    def utts(self) -> list[str]:
        """All utterances, in the order of feats.scp, or of `sv.data.WaveformSource`."""
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
        config, digest = self.config, sha256_of(self.model_file)
        return {
            "model_sha256": digest,
            "fingerprint": fingerprint_of(config, digest),
            "model": config.model,
            "model_args": config.model_args,
            "cmvn": config.dataset_args.cmvn,
            "max_frames": self.max_frames,
            **({"vad": self._vad_options()} if config.dataset_args.vad else {}),
            **(self._ark_options() if self.feats == "ark" else self._wave_options()),
        }

    def _vad_options(self) -> dict[str, Any] | str:
        """Return all that decides which frames are dropped."""
        if self.feats == "ark":
            remedy = f"make it with steps/compute_vad_decision.sh {self.data_dir}"
            return sha256_of(DataDir(self.data_dir).require("vad.scp", remedy))
        return self.config.dataset_args.vad_args.model_dump()

    def _ark_options(self) -> dict[str, Any]:
        locations = DataDir(self.data_dir).feats_scp.values()
        arks = sorted({split_location(split_rows(location)[0])[0] for location in locations})
        front_end = self.data_dir / "fbank.yaml"
        return {
            "feats_scp_sha256": sha256_of(self.data_dir / "feats.scp"),
            "arks": _digest([_fingerprint(Path(ark)) for ark in arks]),
            "front_end": sha256_of(front_end) if front_end.is_file() else None,
        }

    def _wave_options(self) -> dict[str, Any]:
        if self.feats == "shard":
            audio = [[shard.name, *_fingerprint(shard)] for shard in self._shards()]
        else:
            data = DataDir(self.data_dir)
            audio = [[sha256_of(data.path / "wav.scp"), sha256_of(data.audio_list)]]
        fbank_args = self.config.dataset_args.fbank_args.settings()
        del fbank_args["dither"]  # only in training
        return {"audio": _digest(audio), "fbank_args": fbank_args}

    def mark(self) -> DoneMark:
        """Return the mark of all embeddings."""
        return self._mark(self.out_dir / ".done", self.bad_list)

    def part_mark(self, part: int) -> DoneMark:
        return self._mark(self.folder / f".done.{part}-of-{self.num_parts}", self.part_file(part, "bad_utts"))

    def _mark(self, path: Path, bad_list: Path) -> DoneMark:
        """Return a mark; that of a strict call fits no work with a list of utterances that were left out."""
        return DoneMark(path, self.options, () if self.skip_bad else (bad_list,))

    def part_file(self, part: int, kind: str) -> Path:
        """Return a part's file: kind "ark", "scp" or "bad_utts"."""
        number = f"{part}-of-{self.num_parts}"
        return self.folder / (f"bad_utts.{number}" if kind == "bad_utts" else f"xvector.{number}.{kind}")

    def rows(self, part: int) -> range:
        """Return which utterances are a part's."""
        return part_rows(len(self.utts), part, self.num_parts)

    def num_items(self, part: int) -> int:
        return len(self.rows(part))

    def stale(self, *, verify: bool = False) -> str:
        return self.mark().stale(verify=verify) or misplaced(self.scp, self.ark)

    def bad_utts(self) -> BadUtts:
        """Return an empty list of bad utterances, which knows how many are allowed."""
        return BadUtts(len(self.utts), self.config.max_bad_share if self.skip_bad else 0.0, "left out")

    def report_done(self) -> None:
        super().report_done()
        if self.bad_list.is_file():
            log.info("%s: could not be read, and are left out; if mended, remove the list and run again", self.bad_list)

    def open(self) -> tuple[UttIndex, WaveformSource | None]:
        """Open the utterances: their index, and their waveforms unless features are read.

        Raises:
            UserError: see `read_index`, `WavScpSource` and `TarSource`.
        """
        if self.feats == "ark":
            return read_index(self.data_dir), None
        fbank_args = self.config.dataset_args.fbank_args
        source = open_waveforms(self.data_dir, self.feats, fbank_args.sample_rate)
        return index_waveforms(source, self.data_dir, fbank_args), source

    def check(self) -> None:
        """Check what would fail in every part.

        Raises:
            UserError: the model is damaged; features are missing, truncated or of another front-end; the folder holds
                the embeddings of another data dir of this name.
        """
        listed = self.data_dir / {"ark": "feats.scp", "online": "wav.scp", "shard": "shard.list"}[self.feats]
        remedy = f"rename {self.data_dir}, give another <exp-dir>, or remove that folder"
        claim_folder(self.out_dir, "embeddings", ".owner", listed, remedy)
        if self.feats == "ark":
            check_front_end(self.data_dir, self.config.dataset_args.fbank_args, self.exp_dir / "config.yaml")
        self.open()
        check_sha256(self.model_file, self.options["model_sha256"])
        parse_gpus(self.gpus)

    def withdraw(self) -> None:
        """Remove earlier embeddings and what was computed from them, so that old and new files never mix."""
        made = ("xvector.scp", "xvector.ark", "bad_utts", "mean_vec.npy", "spk_xvector.scp", "spk_xvector.ark")
        for name in (".done", ".done.mean_vec.npy", ".done.spk_xvector.scp", *made):
            (self.out_dir / name).unlink(missing_ok=True)

    def make(self, part: int) -> Outputs:
        from sv.embeddings.extraction import extract_part  # imports torch, which takes seconds

        return extract_part(self, part)

    def join(self) -> None:
        """Write xvector.ark and xvector.scp from the parts, and remove those.

        Raises:
            UserError: a part lacks utterances; too many were left out.
        """
        bad = self.bad_utts()
        with ArkWriter(self.ark, self.scp) as writer:
            for part in range(1, self.num_parts + 1):
                self._add_part(part, bad, writer)
        bad.write(self.bad_list)
        self.mark().write([self.ark, self.scp, *([self.bad_list] if bad.why else [])], {self.ark: writer.sha256})
        shutil.rmtree(self.folder)
        log.info("%d embeddings in %s", len(self.utts) - len(bad.why), self.scp)

    def _add_part(self, part: int, bad: BadUtts, writer: ArkWriter) -> None:
        scp, rows = self.part_file(part, "scp"), self.rows(part)
        left_out = read_bad_utts(self.part_file(part, "bad_utts"))
        try:
            bad.add(left_out)
        except UserError:
            self._forget_parts_with_bad()
            raise
        if len(left_out) == len(rows):
            return
        vectors = read_vectors(scp)
        if vectors.ids != [utt for utt in self.utts[rows.start : rows.stop] if utt not in left_out]:
            raise UserError(f"{scp}: {len(vectors.ids)} embeddings, not those of its {len(rows)} utterances; remove it")
        for utt, vector in zip(vectors.ids, vectors.matrix, strict=True):
            writer.write(utt, vector)

    def _forget_parts_with_bad(self) -> None:
        """Have them made again next time: files may have been mended, which marks of waveforms do not tell."""
        for part in range(1, self.num_parts + 1):
            if self.part_file(part, "bad_utts").is_file():
                self.part_mark(part).path.unlink(missing_ok=True)


def _fingerprint(ark: Path) -> list[Any]:
    """Return size, and checksum of the first and last bytes: tells features made again without reading all of them."""
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
