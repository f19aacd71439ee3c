"""Hold out some training speakers, so that an EER can be watched during training without touching a test set."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sv.data import ArkReader, FbankReader, UttIndex, uniform
from sv.data.voiced import VoicedReader
from sv.errors import UserError, log
from sv.io import iter_table, original_speakers, read_table
from sv.metrics.error_rates import eer, sort_scores
from sv.training.distributed import World

_SPEAKER_STREAM, _UTT_STREAM = 101, 102  # streams of random numbers, apart from those of the crops


def choose_heldout(index: UttIndex, count: int, seed: int, is_pseudo: NDArray[np.bool_] | None = None) -> list[str]:
    """Choose `count` speakers with two recordings or more by seed, sorted; their speed copies are held out as well.

    Args:
        index: the utterances.
        count: number of speakers; 0: none.
        seed: seed of the choice.
        is_pseudo: (utts,) whether a label is from a clustering; no speaker with such an utterance is chosen.

    Raises:
        UserError: `count` is 1, which gives no non-target pair; or fewer than two speakers are left to train on.
    """
    if count == 0:
        return []
    if count == 1:
        raise UserError("heldout_speakers is 1, which gives no non-target pair; set 0 for none, or 2 or more")
    recordings = _count_recordings(index)
    pseudo = set() if is_pseudo is None else {index.speakers[n] for n in np.unique(index.speaker[is_pseudo])}
    fit = [name for name, number in recordings.items() if number > 1 and name not in pseudo]
    if count > len(fit) or len(recordings) - count < 2:
        raise UserError(
            f"heldout_speakers is {count}, but {index.path} has {len(recordings)} speakers "
            f"({len(fit)} with two recordings or more{'' if is_pseudo is None else ', all labelled'}), and at least 2 "
            "must be left to train on; set it lower (0: none)"
        )
    order = np.argsort(uniform(seed, 0, np.arange(len(fit)), _SPEAKER_STREAM), kind="stable")
    return sorted((fit[i] for i in order[:count]), key=str.encode)


def select_heldout(
    index: UttIndex, model: Path | None, count: int, seed: int, is_pseudo: NDArray[np.bool_] | None = None
) -> list[str]:
    """Return the speakers of the data dir's heldout_spk, or those that a model's training held out; else choose some.

    Args:
        index: the utterances.
        model: the one to start from, or a teacher; None: none.
        count: number of speakers to choose; 0: none are held out, whoever is listed.
        seed: see `choose_heldout`.
        is_pseudo: see `choose_heldout`.

    Raises:
        UserError: the data dir has no utterance of one of its heldout_spk, or lists fewer than two; none of those
            listed has two recordings, or fewer than two others are left to train on; or as `choose_heldout`.
    """
    listed = index.path / "heldout_spk"
    if count and listed.is_file():
        names = sorted(set(listed.read_text(encoding="utf-8").split()), key=str.encode)
        if unknown := set(names) - set(index.speakers):
            raise UserError(f"{listed}: {min(unknown)[:80]!r} is not a speaker of {index.path}; list only its own")
        if len(names) < 2:
            raise UserError(f"{listed} lists {len(names)} speakers; list two or more, or set heldout_speakers=0")
        _check_listed(index, names, listed)
        return names
    if count and model and (inherited := heldout_of(model, index)):
        _check_listed(index, inherited, model.parent.parent / "heldout_spk")
        return inherited
    return choose_heldout(index, count, seed, is_pseudo)


def _check_listed(index: UttIndex, names: list[str], path: Path) -> None:
    """Raise UserError if listed speakers give no target pair, or if too few others are left to train on."""
    recordings = _count_recordings(index)
    left = recordings.keys() - set(names)
    if len(left) < 2:
        why = f"leaves {len(left)} of {len(recordings)} speakers of {index.path} to train on, and 2 are needed"
    elif max(recordings.get(name, 0) for name in names) < 2:
        why = f"lists no speaker who has two recordings in {index.path}"
    else:
        return
    raise UserError(f"{path} {why}; list others in {index.path / 'heldout_spk'}, or set heldout_speakers=0")


def _count_recordings(index: UttIndex) -> dict[str, int]:
    """Count the utterances of each speaker that is no speed copy; copies of utterances (utt2uniq) do not count."""
    is_original = np.array([name == original for name, original in original_speakers(index.speakers).items()])
    rows = np.flatnonzero(is_original[index.speaker])
    speaker = np.delete(index.speaker, _copies(index, rows))
    counts = np.bincount(speaker, minlength=len(index.speakers))
    return {index.speakers[n]: int(counts[n]) for n in np.flatnonzero(is_original)}


def heldout_of(model: Path, index: UttIndex) -> list[str]:
    """Read the speakers that the training of a model held out, from the heldout_spk of its folder.

    Returns:
        the speakers; [] if there is no such file, or if this data lacks some of them and so is another corpus.
    """
    path = model.parent.parent / "heldout_spk"
    if not path.is_file():
        return []
    names = path.read_text(encoding="utf-8").split()
    return names if set(names) <= set(index.speakers) else []


def warn_of_known(heldout: list[str], known: list[str], model: Path) -> None:
    """Warn if a model to start from, or a teacher, was trained on speakers that are now held out."""
    count = len(set(heldout) & set(known))
    if count:
        log.warning("%d held-out speakers were trained on in %s: their EER will be optimistic", count, model)


def training_speakers(index: UttIndex, heldout: list[str]) -> list[str]:
    """Return all speakers but the held-out ones and their speed copies, in the order of the index."""
    left_out = set(heldout)
    return [name for name, original in original_speakers(index.speakers).items() if original not in left_out]


def heldout_utts(index: UttIndex, heldout: list[str], most: int, seed: int) -> NDArray[np.int64]:
    """Draw rows of the index to measure on, up to `most` for each held-out speaker; copies (utt2uniq) are left out.

    Returns:
        (utts,) rows.
    """
    numbers = [index.speakers.index(speaker) for speaker in heldout]
    copies = _copies(index, np.flatnonzero(np.isin(index.speaker, numbers)))
    chosen = []
    for number in numbers:
        rows = np.setdiff1d(np.flatnonzero(index.speaker == number), copies)
        draws = uniform(seed, 0, rows, _UTT_STREAM)
        chosen.append(np.sort(rows[np.argsort(draws, kind="stable")[:most]]))
    return np.concatenate(chosen) if chosen else np.empty(0, np.int64)


def _copies(index: UttIndex, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of some rows that are copies of other utterances, by the data dir's utt2uniq, if it has one."""
    path = index.path / "utt2uniq"
    if not path.is_file():
        return np.empty(0, np.int64)
    row_of = {index.utts[row]: row for row in rows.tolist()}
    copies = (row_of[utt] for _, utt, original in iter_table(path) if utt != original and utt in row_of)
    return np.fromiter(copies, np.int64)


def count_originals(index: UttIndex, utts: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the recordings of each group; copies of one (utt2uniq) count once.

    Args:
        index: with the utterances.
        utts: (utts,) rows of the index.
        group: (utts,) number of each one's group, from 0.
    """
    path = index.path / "utt2uniq"
    if not path.is_file():
        return np.bincount(group)
    original = read_table(path)
    names = (index.utts[row] for row in utts.tolist())
    pairs = {(number, original.get(utt, utt)) for number, utt in zip(group.tolist(), names, strict=True)}
    return np.bincount([number for number, _ in pairs], minlength=int(group.max()) + 1)


@dataclass(frozen=True)
class WholeUtts:
    """Embeddings of whole utterances during a training, one by one.

    Args:
        reader: reads their features.
        center: subtract the mean over an utterance's frames.
        kind: what they are, for warnings.
    """

    reader: ArkReader | VoicedReader | FbankReader
    center: bool
    kind: str

    def embed(self, backbone: nn.Module, utts: NDArray[np.int64], device: torch.device) -> Iterator[Tensor | None]:
        """Yield an embedding (dim,) for each utterance; None for one that cannot be read, with a warning.

        Args:
            backbone: the encoder, in eval mode, on the device.
            utts: (utts,) rows of the index.
            device: where the encoder is.
        """
        benchmark = torch.backends.cudnn.benchmark
        for utt in utts.tolist():
            try:
                features = torch.from_numpy(self.reader.whole(utt, center=self.center))
            except UserError as error:
                log.warning("%s left out: %s", self.kind, error)
                yield None
                continue
            torch.backends.cudnn.benchmark = False  # lengths differ
            with torch.no_grad():
                embedding = backbone(features.unsqueeze(0).to(device, non_blocking=True)).squeeze(0).float()
            torch.backends.cudnn.benchmark = benchmark
            yield embedding


@dataclass(frozen=True)
class HeldoutTest:
    """Test that measures the EER of all pairs of some utterances.

    Args:
        reader: reads their features.
        utts: (utts,) rows of the index.
        speaker: (utts,) number of each utterance's speaker.
        center: subtract the mean over an utterance's frames.
    """

    reader: ArkReader | VoicedReader | FbankReader
    utts: NDArray[np.int64]
    speaker: NDArray[np.int32]
    center: bool

    @torch.no_grad()
    def eer(self, backbone: nn.Module, world: World) -> float:
        """Return the EER in percent, by the cosine of whole-utterance embeddings less their common mean.

        The processes share the utterances, and all get the result. An utterance that cannot be read is left out, with
        a warning.

        Args:
            backbone: the encoder, in eval mode.
            world: the processes.

        Raises:
            UserError: too few utterances can be read for target and non-target pairs.
        """
        embeddings = torch.zeros(len(self.utts), backbone.embedding_dim, device=world.device)  # type: ignore[call-overload]
        there = torch.zeros(len(self.utts), device=world.device)
        rows = np.arange(world.rank, len(self.utts), world.size)
        whole = WholeUtts(self.reader, self.center, "held-out utterance")
        found = whole.embed(backbone, self.utts[rows], world.device)
        for row, embedding in zip(rows.tolist(), found, strict=True):
            if embedding is not None:
                embeddings[row], there[row] = embedding, 1
        read = world.sum(there).cpu().numpy() > 0
        return self._eer_of(world.sum(embeddings).cpu().numpy()[read], self.speaker[read])

    def _eer_of(self, embeddings: NDArray[np.float32], speaker: NDArray[np.int32]) -> float:
        _, count = np.unique(speaker, return_counts=True)
        if len(count) < 2 or count.max() < 2:
            raise UserError(f"only {len(speaker)} of {len(self.utts)} held-out utterances can be read; restore them")
        centred = embeddings - embeddings.mean(axis=0)
        unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
        first, second = np.triu_indices(len(unit), k=1)
        scores = (unit @ unit.T)[first, second]
        target = speaker[first] == speaker[second]
        return eer(sort_scores(scores[target], scores[~target]))
