"""Embeddings of the utterances of a data dir, whole utterances read from arks or worked out from waveforms."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from sv.data import FeatsIndex, UttIndex, WaveReader, index_waves, open_waves, read_index
from sv.embeddings.encoder import SpeakerEncoder, load_encoder
from sv.embeddings.experiment import check_front_end
from sv.embeddings.parts import Extraction
from sv.errors import UserError, log
from sv.io import ArkWriter, read_matrix
from sv.jobs.bad_utts import BadUtts

Floats = NDArray[np.float32]
Read = Callable[[int], Floats]  # features (frames, mels) of a row of the index

_READ_AHEAD = 4  # batches
_REPORT_SECONDS = 30.0
_FRAME_SECONDS = 0.01  # for the report only


def check_inputs(work: Extraction) -> None:
    """All that can go wrong in every part alike, before any begins.

    Raises:
        UserError: a missing or damaged model, one of another encoder; features that are missing, truncated or of
            another front-end.
    """
    if work.feats == "ark":
        check_front_end(work.exp_dir, work.config.dataset_args.fbank_args, work.data_dir)
    open_utterances(work)
    load_encoder(work.exp_dir, work.model_file)


def open_utterances(work: Extraction) -> tuple[UttIndex, Read]:
    """The utterances of an extraction, and what reads them.

    Raises:
        UserError: see `read_index`, `WavSource` and `ShardSource`.
    """
    if work.feats == "ark":
        feats_index = read_index(work.data_dir)
        return feats_index, partial(_read_utterance, feats_index)
    fbank_args = work.config.dataset_args.fbank_args
    source = open_waves(work.data_dir, work.feats, fbank_args.sample_rate)
    return index_waves(source, work.data_dir, fbank_args), partial(WaveReader(source, fbank_args).whole, center=False)


def extract_part(work: Extraction, part: int, num_parts: int, *, device: str = "cpu", batch_frames: int = 0) -> None:
    """Write the embeddings of part 1, 2, ..., unless they are whole already.

    Args:
        work: of which it is a part.
        part, num_parts: which, and of how many.
        device: "cpu", "cuda:0".
        batch_frames: see `embed_rows`; for GPUs.
    """
    mark, (ark, scp) = work.part_mark(part, num_parts), work.part_files(part, num_parts)
    if not work.part_stale(part, num_parts):
        log.info("%s is there already", scp)
        return
    encoder = load_encoder(work.exp_dir, work.model_file, device)
    (index, read), rows = open_utterances(work), work.part_rows(part, num_parts)
    log.info("utterances %d to %d of %s on %s", rows.start + 1, rows.stop, work.data_dir, device)
    batch_frames = 0 if encoder.device.type == "cpu" else batch_frames
    bad, bad_list = work.bad_utts(), work.part_bad_list(part, num_parts)
    bad_list.unlink(missing_ok=True)
    skipped = bad if work.skip_bad else None
    embeddings = embed_rows(
        encoder, index, read, rows, bad=skipped, max_frames=work.max_frames, batch_frames=batch_frames
    )
    with ArkWriter(ark, scp) as writer:
        for row, embedding in zip(rows, embeddings, strict=True):
            if (utt := index.utts[row]) not in bad.why:
                writer.write(utt, embedding)
    bad.write(bad_list)
    mark.write([ark, scp, *([bad_list] if bad.why else [])], {ark: writer.sha256})


def embed_rows(
    encoder: SpeakerEncoder,
    index: UttIndex,
    read: Read,
    rows: range,
    *,
    bad: BadUtts | None = None,
    max_frames: int = 0,
    batch_frames: int = 0,
) -> Floats:
    """Embeddings of some utterances of a data dir; (rows, dim), in the order of the rows.

    Args:
        encoder: the model.
        index: of the data dir.
        read: gives the features of a row.
        rows: which of its utterances.
        bad: where those are noted that can not be read, whose rows are NaN; None: the first one is an error.
        max_frames: see `SpeakerEncoder.embed`.
        batch_frames: utterances of equal length go through the network together, up to so many frames; 0: one by
            one. Their embeddings are the same up to rounding.

    Raises:
        UserError: features that cannot be read, are too short or have another dimension; the utterance is named. See
            `BadUtts.add`.
    """
    embeddings = np.full((len(rows), encoder.model.embedding_dim), np.nan, dtype=np.float32)
    started = reported = time.monotonic()
    done = 0
    for batch, reading in _read_ahead(read, make_batches(index.num_frames, rows, batch_frames)):
        batch, feats = _readable(read, index, batch, reading, bad)
        done += len(batch)
        if not len(batch):
            continue
        try:
            embeddings[batch - rows.start] = encoder.embed(torch.from_numpy(feats), max_frames=max_frames).numpy()
        except UserError as error:
            raise UserError(f"{index.path}: {index.utts[batch[0]]}: {error}") from error
        if time.monotonic() - reported > _REPORT_SECONDS:
            reported = time.monotonic()
            log.info("%d of %d utterances, %.1f a second", done, len(rows), done / (reported - started))
    seconds, audio = time.monotonic() - started, _FRAME_SECONDS * index.num_frames[rows.start : rows.stop].sum()
    log.info("%d utterances in %.1f s, %.0f times as fast as real time", done, seconds, audio / max(seconds, 1e-3))
    return embeddings


def make_batches(num_frames: NDArray[np.int32], rows: range, batch_frames: int) -> list[NDArray[np.int64]]:
    """Rows of equal length together, up to `batch_frames` frames a batch; each row once."""
    order = np.arange(rows.start, rows.stop)
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
    """Rows of each batch, and the features (rows, frames, mels) to come; the next ones are read while one is used."""
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
    read: Read, index: UttIndex, batch: NDArray[np.int64], reading: Future[Floats], bad: BadUtts | None
) -> tuple[NDArray[np.int64], Floats]:
    """The batch without those of its rows that can not be read, which are noted; all of them where none are to be."""
    try:
        return batch, reading.result()
    except UserError:
        if bad is None:
            raise
    rows, feats = [], []
    for row in batch.tolist():
        try:
            feats.append(read(row))
            rows.append(row)
        except UserError as error:
            bad.add({index.utts[row]: str(error)})
    return np.array(rows, dtype=np.int64), np.stack(feats) if feats else np.empty((0, 0, 0), dtype=np.float32)


def _read_batch(read: Read, batch: NDArray[np.int64]) -> Floats:
    return np.stack([read(int(row)) for row in batch])


def _read_utterance(index: FeatsIndex, row: int) -> Floats:
    """Features of an utterance, (frames, mels); as many frames as utt2num_frames says."""
    utt = index.utts[row]
    try:
        feats = read_matrix(f"{index.arks[index.ark[row]]}:{index.offset[row]}")
    except UserError as error:
        raise UserError(f"{index.path / 'feats.scp'}: {utt}: {error}") from error
    if len(feats) != index.num_frames[row]:
        raise UserError(
            f"{index.path / 'utt2num_frames'}: {utt} has {index.num_frames[row]} frames there, {len(feats)} in its "
            "archive; make it again with tools/get_utt2num_frames.sh"
        )
    return feats
