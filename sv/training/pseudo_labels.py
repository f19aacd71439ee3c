"""Train on labels from a clustering: follow the loss of each label, stop trusting some, correct others.

An utterance's running mean m_i follows the loss of its pseudo label, without margin (`HeadOutput.label_losses`):

    v_i <- d v_i + (1 - d) loss_i,    u_i <- d u_i + (1 - d),    m_i = v_i / u_i        once an epoch, if it was visited

gate        two Gaussians are fitted to the log m_i of all pseudo labels. A label is trusted if it belongs more probably
            to the low mode. All labels are trusted until there are two clear modes (`Mixture.has_two_modes`). The pair
            of an utterance and its class has the weight 0 if the label is not trusted (`sv.losses.label_confidence`).
correction  a running average of the network embeds each whole utterance. If it is sure of a class, that class is the
            label of the next epoch. Each epoch decides again, from the original labels. So a correction is withdrawn
            when the network no longer supports it, and errors do not accumulate. Meanwhile m_i, which belongs to the
            original label, is not updated.

Labels given by people are always trusted.

Li, Socher, Hoi, "DivideMix: Learning with Noisy Labels as Semi-supervised Learning", ICLR 2020, arXiv 2002.07394.
Han, Chen, Qian, "Self-Supervised Speaker Verification Using Dynamic Loss-Gate and Label Correction", Interspeech 2022,
arXiv 2208.01928.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sv.config import Config, PseudoArgs
from sv.data import Batch, UttIndex, rows_of
from sv.data.sampling import Longs
from sv.errors import UserError, log
from sv.io import atomic_write, iter_table, original_speakers
from sv.jobs.gpus import send
from sv.losses.label_confidence import Confidence
from sv.metrics.mixture import fit_mixture
from sv.training.distributed import World
from sv.training.heldout import WholeUtts
from sv.training.network import SpeakerNet

UTTS_FILE, RIVALS_FILE = "pseudo_utts", "maybe_same_spk"
_SMALLEST = float(np.finfo(np.float32).tiny)  # under the logarithm
_BLOCK = 256  # utterances that the head looks at together
_SAVED = ("mean", "weight", "posterior", "corrected", "confidence")  # arrays of `PseudoLabels`


@dataclass(frozen=True)
class PseudoUtts:
    """Labels from a clustering, as a data dir marks them.

    Attributes:
        index: the utterances; the speakers are the classes.
        is_pseudo: (utts,) bool, whether a label is from a clustering.
        rivals: (classes, k) int64, classes that may be the same speaker, -1 for none; None: no such list.
        whole: reads whole utterances.
    """

    index: UttIndex
    is_pseudo: NDArray[np.bool_]
    rivals: Longs | None
    whole: WholeUtts

    def unlabelled(self) -> NDArray[np.bool_]:
        """Return which classes have no utterance that people labelled, (classes,) bool.

        A speed copy has its original's value, since a copy of waveforms has no utterances in the index.
        """
        labelled = self.index.speaker[~self.is_pseudo]
        none = np.bincount(labelled[labelled >= 0], minlength=len(self.index.speakers)) == 0
        row = {name: number for number, name in enumerate(self.index.speakers)}
        return none[[row[name] for name in original_speakers(self.index.speakers).values()]]


def read_pseudo_utts(index: UttIndex) -> NDArray[np.bool_] | None:
    """Read <data-dir>/pseudo_utts, an utterance id per line; (utts,) bool, or None if there is no such file.

    Raises:
        UserError: an utterance is not in the data dir.
    """
    path = index.path / UTTS_FILE
    if not path.is_file():
        return None
    listed = {line: number for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1) if line}
    found = np.array([index.utts[row] in listed for row in range(len(index))])
    if found.sum() < len(listed):
        known = {index.utts[row] for row in np.flatnonzero(found).tolist()}
        unknown = min(listed.keys() - known, key=listed.__getitem__)
        raise UserError(
            f"{path}:{listed[unknown]}: {unknown[:80]!r} is not an utterance of {index.path}; "
            "list only its own, one a line"
        )
    return found


def read_rivals(index: UttIndex, left_out: set[str]) -> Longs:
    """Read <data-dir>/maybe_same_spk, two speakers per line: (classes, k), the rivals of each class, -1 for none.

    The copies of two rivals at one speed are rivals, too.

    Args:
        index: its speakers are the classes.
        left_out: speakers that are no classes; their lines are passed over.

    Raises:
        UserError: there is no such file, or a name is not a speaker.
    """
    path = index.path / RIVALS_FILE
    if not path.is_file():
        raise UserError(f"{path} does not exist, and pseudo_args.mask needs it: two speakers a line that may be one")
    number = {name: row for row, name in enumerate(index.speakers)}
    prefixes = {name.removesuffix(original) for name, original in original_speakers(index.speakers).items()}
    rivals: list[set[int]] = [set() for _ in index.speakers]
    for line, one, other in iter_table(path):
        unknown = [name for name in (one, other) if name not in number and name not in left_out]
        if unknown or one == other:
            why = f"{unknown[0][:80]!r} is not a speaker of {index.path}" if unknown else f"{one[:80]!r} comes twice"
            raise UserError(f"{path}:{line}: {why}; each line takes two different speakers of utt2spk")
        for prefix in prefixes:
            pair = number.get(prefix + one), number.get(prefix + other)
            if pair[0] is not None and pair[1] is not None:
                rivals[pair[0]].add(pair[1])
                rivals[pair[1]].add(pair[0])
    table = np.full((len(rivals), max(map(len, rivals), default=0)), -1, np.int64)
    for row, found in enumerate(rivals):
        table[row, : len(found)] = sorted(found)
    return table


class PseudoLabels:
    """The state of all pseudo labels in a training; every process has the same.

    Each pseudo label has a place in the arrays. One further place is for all other utterances, which are trusted.

    Args:
        utts: what the data dir says.
        net: the network, on the world's device.
        config: resolved.
        world: the processes.
    """

    def __init__(self, utts: PseudoUtts, net: SpeakerNet, config: Config, world: World) -> None:
        self.args: PseudoArgs = config.pseudo_args
        self.utts, self.world = utts, world
        self._rows = np.flatnonzero(utts.is_pseudo & (utts.index.speaker >= 0))
        self._count = len(self._rows)
        self._place = np.full(len(utts.index), self._count)
        self._place[self._rows] = np.arange(self._count)
        self._sums = torch.zeros(2, self._count + 1, device=world.device)  # of this epoch: losses, visits
        self._mean, self._weight = np.zeros((2, self._count))  # v and u
        self._posterior = np.ones(self._count)
        self._corrected = np.full(self._count + 1, -1)  # class; -1: the label stands
        self._confidence = np.ones(self._count + 1, dtype=np.float32)
        self._rivals = None if utts.rivals is None else torch.from_numpy(utts.rivals)
        hides = self.args.gate and self.args.negatives == "labelled"
        self._unlabelled = torch.from_numpy(utts.unlabelled()).to(world.device) if hides else None
        self._average: AveragedModel | None = None
        if self.args.correct_above:
            plain = SpeakerNet(net.backbone, net.head)  # without wrappers, which cannot be copied
            decay = get_ema_multi_avg_fn(self.args.average_decay)
            self._average = AveragedModel(plain, multi_avg_fn=decay, use_buffers=True).eval()

    def relabel(self, batch: Batch) -> tuple[Batch, Confidence]:
        """Return a batch, on the CPU, with corrected labels, and the confidence in them."""
        place = self._place[rows_of(batch.utts)]
        corrected = torch.from_numpy(self._corrected[place])
        speaker = torch.where(corrected < 0, batch.speaker, corrected)
        ignored = None if self._rivals is None else self._rivals[speaker]
        confidence = Confidence(torch.from_numpy(self._confidence[place]), ignored, self._unlabelled)
        return replace(batch, speaker=speaker), confidence

    def note(self, batch: Batch, label_losses: Tensor | None, net: SpeakerNet) -> None:
        """Remember the losses (batch,) of a step's labels, on their device, and the network after the step."""
        assert label_losses is not None, "a head that was given confidence returns them"
        place = self._place[rows_of(batch.utts)]
        place = np.where(self._corrected[place] < 0, place, self._count)
        index = send(torch.from_numpy(place), label_losses.device)
        self._sums.index_add_(1, index, torch.stack([label_losses.float(), torch.ones_like(label_losses).float()]))
        if self._average is not None:
            self._average.update_parameters(net)

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Decide what is trusted and corrected in the next epoch; all processes call this.

        Returns:
            figures for the record.
        """
        total, visits = self.world.sum(self._sums).double().cpu().numpy()[:, :-1]
        self._sums.zero_()
        seen, decay = visits > 0, self.args.decay
        self._mean[seen] = decay * self._mean[seen] + (1 - decay) * total[seen] / visits[seen]
        self._weight[seen] = decay * self._weight[seen] + (1 - decay)
        if epoch < self.args.start_epoch or not self._count:
            return {}
        figures: dict[str, float] = {}
        told: list[str] = []
        if self.args.gate:
            figures, words = self._set_gate()
            told.append(words)
        if self._average is not None:
            self._corrected[:-1] = self._sure_classes(self._average)
            self._corrected[:-1][self._corrected[:-1] == self.utts.index.speaker[self._rows]] = -1
            figures["pseudo_corrected"] = float((self._corrected >= 0).sum())
            told.append(f"{figures['pseudo_corrected']:.0f} corrected")
        self._confidence[:-1] = (self._posterior >= 0.5) | (self._corrected[:-1] >= 0)
        figures["pseudo_trusted"] = float(self._confidence[:-1].mean())
        if self.world.is_main:
            told = [f"{100 * figures['pseudo_trusted']:.1f} % trusted", *told]
            log.info("epoch %d: of %d pseudo labels %s", epoch, self._count, ", ".join(told))
        return figures

    def running_means(self) -> NDArray[np.float64]:
        """Return m, (pseudo labels,); NaN where no loss has been seen."""
        return np.divide(self._mean, self._weight, where=self._weight > 0, out=np.full(self._count, np.nan))

    def _set_gate(self) -> tuple[dict[str, float], str]:
        """Set the posteriors by the running means; return figures, and words for the log."""
        means = self.running_means()
        seen = ~np.isnan(means)
        self._posterior[:] = 1
        if not seen.any():
            return {}, "none seen yet"
        logs = np.log(np.maximum(means[seen], _SMALLEST))
        mixture = fit_mixture(logs)
        low, high = np.exp(mixture.means).tolist()
        words = f"modes of the loss {low:.3g} and {high:.3g}, {mixture.separation:.2f} deviations apart"
        if mixture.has_two_modes:
            self._posterior[seen] = mixture.low_posterior(logs)
        else:
            words += f", {100 * mixture.weights[0]:.0f} % in the low one: not two clear modes, so all are trusted"
        return {"pseudo_low": low, "pseudo_high": high, "pseudo_separation": mixture.separation}, words

    @torch.no_grad()
    def _sure_classes(self, average: AveragedModel) -> Longs:
        """Return the class that the averaged network is sure of, (pseudo labels,); -1 where it is not.

        All processes embed as many utterances, since a split head takes batches of one size.
        """
        net = _network(average)
        self.world.broadcast_buffers(net)
        sure = torch.zeros(self._count + 1, dtype=torch.int64, device=self.world.device)  # class + 1
        for places, embeddings in self._blocks(net):
            found = net.head.predict(embeddings)
            known = (found.probability > self.args.correct_above) & (found.lead >= self.args.correct_lead)
            sure[places] = torch.where(known & embeddings.any(dim=1), found.speaker + 1, 0)
        return self.world.sum(sure).cpu().numpy()[:-1] - 1

    def _blocks(self, net: SpeakerNet) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield places (block,) and embeddings (block, dim) of this process's share; 0 where none can be read."""
        own = np.arange(self.world.rank, self._count, self.world.size)
        share = -(-self._count // self.world.size)
        embeddings = self.utts.whole.embed(net.backbone, self._rows[own], self.world.device)
        for first in range(0, share, _BLOCK):
            size = min(_BLOCK, share - first)
            places = np.full(size, self._count)
            rows = torch.zeros(size, net.head.embedding_dim, device=self.world.device)
            for i, place in enumerate(own[first : first + size]):
                embedding = next(embeddings)
                if embedding is not None:
                    places[i], rows[i] = place, embedding
            yield torch.from_numpy(places).to(self.world.device), rows

    def write(self, path: Path) -> None:
        """Write "utt label label-in-training mean-loss posterior" for each pseudo label.

        The third column differs where the label is corrected. A label is trusted if it is corrected, or if the
        posterior is 0.5 or more; without a gate all are 1. A mean loss that was never seen is nan.
        """
        index, means = self.utts.index, self.running_means()
        with atomic_write(path) as f:
            for place, row in enumerate(self._rows.tolist()):
                label, now = int(index.speaker[row]), int(self._corrected[place])
                names = index.utts[row], index.speakers[label], index.speakers[label if now < 0 else now]
                f.write(f"{' '.join(names)} {means[place]:.6g} {self._posterior[place]:.6g}\n")

    def state(self) -> dict[str, Any]:
        """Return what decides the rest of the training, as tensors and plain values; all processes call this."""
        arrays = {name: torch.from_numpy(getattr(self, f"_{name}").copy()) for name in _SAVED}
        average = self._average
        return {
            **arrays,
            "sums": self.world.sum(self._sums.clone()).cpu(),
            "average": None if average is None else _network(average).flat_state(),
            "averaged": 0 if average is None else int(average.n_averaged),
        }

    def load_state(self, state: dict[str, Any], where: str) -> None:
        """Go on from a result of `state`; `where` names its origin, for errors."""
        for name in _SAVED:
            getattr(self, f"_{name}")[:] = state[name].numpy()
        if self.world.is_main:  # it holds the sums of all processes
            self._sums.copy_(state["sums"])
        if self._average is not None:
            _network(self._average).load_flat(state["average"], where)
            self._average.n_averaged.fill_(state["averaged"])


def _network(average: AveragedModel) -> SpeakerNet:
    return cast(SpeakerNet, average.module)
