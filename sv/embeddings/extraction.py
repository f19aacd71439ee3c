"""Embeddings of the utterances of a data dir; whole utterances, read from arks or computed from waveforms."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from sv.data import ArkReader, FbankReader, FeatsIndex, UttIndex
from sv.data.voiced import VoicedReader, read_voiced
from sv.embeddings.encoder import SpeakerEncoder, load_encoder
from sv.embeddings.onnx_network import OnnxNetwork
from sv.embeddings.parts import Extraction
from sv.errors import UserError, explain_out_of_memory, log
from sv.io import ArkWriter, read_matrix
from sv.io.progress import Tally
from sv.jobs.bad_utts import BadUtts
from sv.jobs.gpus import choose_device
from sv.jobs.parts import Outputs

Floats = NDArray[np.float32]
Read = Callable[[int], Floats]  # features (frames, mels) of a row of the index

_READ_AHEAD = 4  # batches
_FRAME_SECONDS = 0.01  # for the report only


@dataclass(frozen=True)
class Source:
    """The utterances of a data dir: their index, and what reads the features of a row.

    Attributes:
        centered: the features have lost their mean, and then frames without speech.
    """

    index: UttIndex
    read: Read
    centered: bool = False


def open_source(work: Extraction) -> Source:
    """Open the utterances of an extraction.

    Raises:
        UserError: see `Extraction.open` and `read_voiced`.
    """
    index, waves = work.open()
    args = work.config.dataset_args
    if waves is None:
        assert isinstance(index, FeatsIndex), "features are read by their places in arks"
        if args.vad:
            reader = VoicedReader(ArkReader(index, args.fbank_args.num_mel_bins), read_voiced(index), index)
            return Source(index, partial(reader.whole, center=args.cmvn), centered=True)
        return Source(index, partial(_read_utterance, index))
    return Source(index, partial(FbankReader(waves, args).whole, center=args.vad and args.cmvn), centered=args.vad)


def extract_part(work: Extraction, part: int) -> Outputs:
    """Write the embeddings of a part; returns its files.

    Raises:
        UserError: a damaged model or one of another encoder; see `embed_rows`.
    """
    torch.set_num_threads(work.num_threads)
    encoder = load_encoder(work.exp_dir, work.model_file, choose_device(work.gpus, part))
    if work.network.is_file() and encoder.device.type == "cpu":
        encoder = replace(encoder, model=OnnxNetwork(encoder.model, work.network, work.num_threads))
    source, rows = open_source(work), work.rows(part)
    log.info("utterances %d to %d of %s on %s", rows.start + 1, rows.stop, work.data_dir, encoder.device)
    batch_frames = 0 if encoder.device.type == "cpu" or source.centered else work.batch_frames  # lengths differ
    ark, scp, bad_list = (work.part_file(part, kind) for kind in ("ark", "scp", "bad_utts"))
    bad_list.unlink(missing_ok=True)
    bad = work.bad_utts()
    skipped = bad if work.skip_bad else None
    embeddings = embed_rows(encoder, source, rows, bad=skipped, max_frames=work.max_frames, batch_frames=batch_frames)
    with ArkWriter(ark, scp) as writer:
        for row, embedding in zip(rows, embeddings, strict=True):
            if (utt := source.index.utts[row]) not in bad.why:
                writer.write(utt, embedding)
    bad.write(bad_list)
    return {ark: writer.sha256, scp: "", **({bad_list: ""} if bad.why else {})}


def embed_rows(
    encoder: SpeakerEncoder,
    source: Source,
    rows: range,
    *,
    bad: BadUtts | None = None,
    max_frames: int = 0,
    batch_frames: int = 0,
) -> Floats:
    """Return the embeddings of some utterances of a data dir; (rows, dim), in the order of the rows.

    Args:
        encoder: the model.
        source: the data dir's utterances.
        rows: rows of the utterances.
        bad: notes those that cannot be read, whose rows are NaN; None: the first one is an error.
        max_frames: see `SpeakerEncoder.embed`.
        batch_frames: utterances of equal length go through the network together, up to this number of frames; 0: one
            by one. Their embeddings are the same up to rounding.

    Raises:
        UserError: features that cannot be read, are too short or have another dimension; the utterance is named. See
            `BadUtts.add`.
    """
    index = source.index
    embeddings = np.full((len(rows), encoder.model.embedding_dim), np.nan, dtype=np.float32)
    started, done, tally = time.monotonic(), 0, Tally(len(rows))
    for batch, reading in _read_ahead(source.read, make_batches(index.num_frames, rows, batch_frames)):
        tally.add(len(batch))
        batch, feats = _readable(source, batch, reading, bad)
        if not len(batch):
            continue
        done += len(batch)
        try:
            with explain_out_of_memory(partial(_memory_advice, encoder, feats.shape, max_frames)):
                embeddings[batch - rows.start] = encoder.embed(
                    torch.from_numpy(feats), max_frames=max_frames, centered=source.centered
                ).numpy()
        except UserError as error:
            raise UserError(f"{index.path}: {index.utts[batch[0]]}: {error}") from error
    seconds, audio = time.monotonic() - started, _FRAME_SECONDS * index.num_frames[rows.start : rows.stop].sum()
    log.info("%d utterances in %.1f s, %.0f times as fast as real time", done, seconds, audio / max(seconds, 1e-3))
    return embeddings


def _memory_advice(encoder: SpeakerEncoder, shape: tuple[int, ...], max_frames: int) -> str:
    return (
        f"{encoder.config.model} embeds {shape[0]} utterance(s) of {shape[1]} frames on {encoder.device}: lower "
        f"--max-frames (now {max_frames or 'no limit'}), --batch-frames or the number of jobs"
    )


def make_batches(num_frames: NDArray[np.int32], rows: range, batch_frames: int) -> list[NDArray[np.int64]]:
    """Return batches of rows of equal length, up to `batch_frames` frames each; each row once."""
    order: NDArray[np.int64] = np.arange(rows.start, rows.stop)
    if not batch_frames:
        return list(order[:, None])
    order = order[np.argsort(num_frames[rows.start : rows.stop], kind="stable")]
    lengths = num_frames[order]
    groups = np.split(order, np.flatnonzero(np.diff(lengths)) + 1)
    batches = []
    for group in groups:
        size = max(1, batch_frames // int(num_frames[group[0]]))
        batches += [group[start : start + size] for start in range(0, len(group), size)]
    return batches


def _read_ahead(read: Read, batches: Sequence[NDArray[np.int64]]) -> Iterator[tuple[NDArray[np.int64], Future[Floats]]]:
    """Yield rows of each batch, and its features (rows, frames, mels) to come; others are read while one is used."""
    waiting: deque[tuple[NDArray[np.int64], Future[Floats]]] = deque()
    with ThreadPoolExecutor(max_workers=1) as reader:
        try:
            for batch in batches:
                waiting.append((batch, reader.submit(_read_batch, read, batch)))
                if len(waiting) > _READ_AHEAD:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for _, reading in waiting:
                reading.cancel()


def _readable(
    source: Source, batch: NDArray[np.int64], reading: Future[Floats], bad: BadUtts | None
) -> tuple[NDArray[np.int64], Floats]:
    """Return the batch without those of its rows that cannot be read, which `bad` notes."""
    try:
        return batch, reading.result()
    except UserError:
        if bad is None:
            raise
    rows, feats = [], []
    for row in batch.tolist():
        try:
            feats.append(source.read(row))
            rows.append(row)
        except UserError as error:
            bad.add({source.index.utts[row]: str(error)})
    return np.array(rows, dtype=np.int64), np.stack(feats) if feats else np.empty((0, 0, 0), dtype=np.float32)


def _read_batch(read: Read, batch: NDArray[np.int64]) -> Floats:
    return np.stack([read(int(row)) for row in batch])


def _read_utterance(index: FeatsIndex, row: int) -> Floats:
    """Return the features of an utterance, (frames, mels); as many frames as utt2num_frames says."""
    utt = index.utts[row]
    try:
        feats = read_matrix(index.location(row))
    except UserError as error:
        raise UserError(f"{index.path / 'feats.scp'}: {utt}: {error}") from error
    if len(feats) != index.num_frames[row]:
        raise UserError(
            f"{index.path / 'utt2num_frames'}: {utt} has {index.num_frames[row]} frames there, {len(feats)} in its "
            "archive; make it again with tools/get_utt2num_frames.sh"
        )
    return feats
