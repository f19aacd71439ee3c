"""Pseudo speakers for recordings without labels: clusters of their embeddings, with a report."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sv.clustering.agglomeration import Longs, best_threshold, merge
from sv.clustering.agreement import measure_agreement
from sv.clustering.label_decisions import class_speakers
from sv.clustering.linking import Heldout, Thresholds, close_pairs, measure_thresholds, nearest, unit_means
from sv.clustering.whitening import SHRINKAGES, Whitening, fit_whitening
from sv.errors import UserError, counted, log
from sv.io import Vectors, atomic_write, read_table, write_table
from sv.scoring.cosine import Floats, read_embeddings

_REMEDY = ", which fits the labelled speakers: set --min-utts lower, or cluster with a --threshold of your own"


@dataclass(frozen=True)
class Labelled:
    """Embeddings of labelled speakers, from which the thresholds are taken.

    Attributes:
        xvector_scp: the embeddings.
        utt2spk: their speakers; utterances without an embedding are passed over.
        spk_list: the speakers to take the thresholds from, one a line, such as <exp-dir>/heldout_spk; None: all.
        false_links: largest share of clusters that may be linked to a wrong speaker. Clusters are linked to the
            speakers that are not in `spk_list`; None: they are not linked.
    """

    xvector_scp: Path
    utt2spk: Path
    spk_list: Path | None = None
    false_links: float | None = None

    @cached_property
    def _vectors(self) -> Vectors:
        return read_embeddings(self.xvector_scp)

    @cached_property
    def _speakers(self) -> tuple[dict[str, str], dict[str, str]]:
        """Speakers of utterances with an embedding: of those to take thresholds from, and of the others."""
        speakers = {utt: spk for utt, spk in read_table(self.utt2spk).items() if utt in self._vectors.index}
        listed = set(speakers.values())
        if self.spk_list is not None:
            listed = set(self.spk_list.read_text(encoding="utf-8").split())
            if not listed & set(speakers.values()):
                raise UserError(f"{self.spk_list} lists no speaker of {self.utt2spk} with embeddings; one a line")
        chosen = {utt: spk for utt, spk in speakers.items() if spk in listed}
        if not chosen:
            raise UserError(
                f"{self.utt2spk} labels no utterance of {self.xvector_scp}; give the labels of these embeddings"
            )
        return chosen, {utt: spk for utt, spk in speakers.items() if spk not in listed}

    def best_whitening(self, embeddings: Floats) -> tuple[Whitening, float, float]:
        """Return whitening and threshold that cluster best, and the F1 of pairs to expect.

        Args:
            embeddings: (utts, dim) to cluster. It is assumed that a speaker has as many as among the labelled ones.

        Raises:
            UserError: of another dimension; too few speakers or utterances, see `best_threshold`.
        """
        ours, theirs = self._vectors.matrix.shape[1], embeddings.shape[1]
        if ours != theirs:
            raise UserError(
                f"{self.xvector_scp} has embeddings of {ours} dimensions, the recordings of {theirs}; "
                "extract both with one model"
            )
        speakers = [*self._speakers[0].values(), *self._speakers[1].values()]
        expected = len(embeddings) * len(set(speakers)) / len(speakers)
        found = []
        for shrinkage in SHRINKAGES:
            whitening = fit_whitening(embeddings, shrinkage)
            heldout = self._heldout(whitening)
            try:
                found.append((whitening, *best_threshold(heldout.unit, heldout.speaker, expected)))
            except UserError as error:
                raise UserError(f"{self.spk_list or self.utt2spk}: {error}") from error
        return max(found, key=lambda one: one[2])  # of equal ones the first, which is whitened least

    def classes(self, whitening: Whitening) -> tuple[list[str], Floats]:
        """Return the labelled speakers to link to, and their mean directions (classes, dim).

        Raises:
            UserError: there are none.
        """
        known = self._speakers[1]
        if not known:
            raise UserError(f"{self.utt2spk} has no speaker beside those of {self.spk_list}; nobody can be linked to")
        unit = whitening.apply(_rows(self._vectors, list(known)))
        return sorted(set(known.values())), unit_means(unit, _numbers(list(known.values())))

    def link_thresholds(self, whitening: Whitening, classes: Floats, sizes: Longs) -> Thresholds:
        """Return the thresholds of links; see `measure_thresholds`."""
        assert self.false_links is not None
        try:
            return measure_thresholds(self._heldout(whitening), classes, sizes, most_false=self.false_links)
        except UserError as error:
            raise UserError(f"{self.spk_list or self.utt2spk}: {error}") from error

    def _heldout(self, whitening: Whitening) -> Heldout:
        chosen = self._speakers[0]
        unit = whitening.apply(_rows(self._vectors, list(chosen)))
        return Heldout(unit, _numbers(list(chosen.values())))


@dataclass(frozen=True)
class PseudoLabels:
    """Labels of recordings.

    Attributes:
        utt2spk: labels of the recordings that were clustered.
        speakers: labelled speakers that clusters could be linked to.
        maybe_same: pairs of classes that may be one person.
        report: what was found.
    """

    utt2spk: dict[str, str]
    speakers: list[str]
    maybe_same: list[tuple[str, str]]
    report: dict[str, object]


def write_pseudo_labels(
    xvector_scp: Path,
    out_dir: Path,
    source: float | Labelled,
    *,
    min_utts: int = 4,
    truth: Path | None = None,
    before: Path | None = None,
) -> dict[str, object]:
    """Cluster embeddings, and write out_dir/utt2spk (clusters as speakers) and out_dir/clusters.json.

    Clusters of fewer than `min_utts` utterances are left out: they are often only a part of a speaker.
    With links, clusters of labelled speakers get their names, and out_dir/maybe_same_spk is written.

    Args:
        xvector_scp: embeddings of the recordings without labels.
        out_dir: folder to write.
        source: threshold of the mean cosine between clusters, or labelled speakers to take it from.
        min_utts: utterances of the smallest cluster that is kept.
        truth: true speakers ("utt spk"), to measure against; they decide nothing.
        before: utt2spk of earlier clusters of the same recordings, to measure how much has changed. An utterance that
            is in only one of the two is a cluster of its own in the other.

    Returns:
        the report.

    Raises:
        UserError: too few embeddings, or all are equal; one cluster of all, or none that is large enough; see
            `Labelled`.
    """
    old, known = (None if path is None else read_table(path) for path in (before, truth))  # report a bad one at once
    found = find_pseudo_labels(xvector_scp, source, min_utts=min_utts)
    report = dict(found.report)
    if old is not None:
        utts = [*(old | found.utt2spk)]
        each = {utt: f" {utt}" for utt in utts}  # one that is left out is a cluster of its own; no name has a blank
        report["nmi_with_before"] = _agreement(each | old, each | found.utt2spk, utts)["nmi"]
    if truth is not None and known is not None:
        report |= _against(truth, known, found)
    write_table(out_dir / "utt2spk", found.utt2spk)
    if isinstance(source, Labelled) and source.false_links is not None:
        with atomic_write(out_dir / "maybe_same_spk") as f:
            f.writelines(f"{one} {other}\n" for one, other in found.maybe_same)
    else:
        (out_dir / "maybe_same_spk").unlink(missing_ok=True)  # of other clusters
    with atomic_write(out_dir / "clusters.json") as f:
        json.dump(report, f, indent=2)
    log.info(
        "%s: %d of %d utterances in %d clusters",
        *(out_dir / "utt2spk", len(found.utt2spk), report["utterances"], report["clusters"]),
    )
    return report


def find_pseudo_labels(xvector_scp: Path, source: float | Labelled, *, min_utts: int = 4) -> PseudoLabels:
    """Cluster embeddings and link the clusters; see `write_pseudo_labels`."""
    vectors = read_embeddings(xvector_scp)
    if len(vectors.ids) < 2:
        raise UserError(f"{xvector_scp} has {counted(len(vectors.ids), 'embedding')}; at least two are needed")
    if not np.ptp(vectors.matrix, axis=0).any():
        raise UserError(f"{xvector_scp}: all {len(vectors.ids)} embeddings are equal; were they made from equal audio?")
    whitening, threshold, report = _choose_whitening(vectors.matrix, source)
    try:
        unit = whitening.apply(vectors.matrix)
    except UserError as error:
        raise UserError(f"{xvector_scp}: {error}") from error
    cluster = merge(unit).clusters(threshold)
    sizes = np.bincount(cluster)
    kept = np.flatnonzero(sizes >= min_utts)
    if len(kept) < 2:
        what = f"{len(kept)} of {len(sizes)} clusters have {min_utts} utterances or more, and two must,"
        what = "one cluster of all utterances" if len(sizes) == 1 else what
        remedy = _REMEDY if isinstance(source, Labelled) else "; give another --threshold"
        raise UserError(f"{xvector_scp}: {what} at threshold {threshold:.3f}{remedy}")
    is_kept = sizes[cluster] >= min_utts
    utts = [utt for utt, keep in zip(vectors.ids, is_kept, strict=True) if keep]
    group = np.searchsorted(kept, cluster[is_kept])
    report |= {
        "embeddings": str(xvector_scp),
        "threshold": threshold,
        "utterances": len(vectors.ids),
        "labelled": len(utts),
        "clusters": len(kept),
        "left_out": {"clusters": len(sizes) - len(kept), "utterances": len(vectors.ids) - len(utts)},
        "sizes": np.percentile(sizes[kept], [0, 25, 50, 75, 100]).tolist(),
    }
    names = [f"cluster{number:06d}" for number in range(1, len(kept) + 1)]
    speakers: list[str] = []
    maybe_same: list[tuple[str, str]] = []
    if isinstance(source, Labelled) and source.false_links is not None:
        speakers, classes = source.classes(whitening)
        means, thresholds = unit_means(unit[is_kept], group), source.link_thresholds(whitening, classes, sizes[kept])
        names, maybe_same = _link((speakers, classes), means, thresholds)
        linked = np.isin(names, speakers)
        report |= {
            "linked": {"clusters": int(linked.sum()), "utterances": int(sizes[kept][linked].sum())},
            "maybe_same": len(maybe_same),
            "thresholds": asdict(thresholds),
        }
    return PseudoLabels({utt: names[row] for utt, row in zip(utts, group, strict=True)}, speakers, maybe_same, report)


def _choose_whitening(matrix: Floats, source: float | Labelled) -> tuple[Whitening, float, dict[str, object]]:
    """Return the whitening before clustering, the threshold of the clusters, and the report's entries on both."""
    if not isinstance(source, Labelled):
        whitening = fit_whitening(matrix, 1.0)
        return whitening, source, {"shrinkage": whitening.shrinkage}
    whitening, threshold, f1 = source.best_whitening(matrix)
    whitened = "" if whitening.shrinkage == 1 else f" on whitened embeddings (shrinkage {whitening.shrinkage})"
    log.info(
        "threshold %.3f%s, chosen on labelled speakers; expected F1 of pairs: %.3f",
        *(threshold, whitened, f1),
    )
    return whitening, threshold, {"expected_pair_f1": f1, "shrinkage": whitening.shrinkage}


def _link(
    labelled: tuple[list[str], Floats], means: Floats, found: Thresholds
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the name of each cluster, and the pairs of classes that may be one person."""
    speakers, classes = labelled
    speaker, cosine = nearest(means, classes)
    linked = cosine > found.link
    opened = np.flatnonzero(~linked)
    own = [f"cluster{number:06d}" for number in range(1, len(opened) + 1)]
    if common := set(own) & set(speakers):
        raise UserError(f"{min(common)} is the name of a labelled speaker and of a cluster; rename the speaker")
    names = [speakers[row] for row in speaker]
    for row, name in zip(opened, own, strict=True):
        names[row] = name
    every = [*speakers, *own]
    pairs = close_pairs(np.concatenate([classes, means[opened]]), len(speakers), found.same)
    log.info(
        "%d of %d clusters are linked to labelled speakers (cosine above %.3f); "
        "%d pairs of classes may be one speaker (cosine above %.3f)",
        *(int(linked.sum()), len(means), found.link, len(pairs), found.same),
    )
    return names, [(every[one], every[other]) for one, other in pairs.tolist()]


def _against(truth: Path, known: dict[str, str], found: PseudoLabels) -> dict[str, object]:
    """Return the number of true speakers, the measures of agreement with them, and those of links and pairs."""
    utt2spk = found.utt2spk
    missing = utt2spk.keys() - known.keys()
    if missing:
        raise UserError(f"{truth} lacks {len(missing)} utterances, first {min(missing)}; give the speakers of all")
    report: dict[str, object] = {"truth": str(truth), "true_speakers": len(set(known.values()))}
    report |= _agreement(utt2spk, known, list(utt2spk))
    if "linked" in found.report:
        report |= {"true_links": _true_links(found, known), "true_pairs": _true_pairs(found, known)}
    return report


def _true_links(found: PseudoLabels, known: dict[str, str]) -> float | None:
    """Return the share of linked utterances that are linked to their true speaker."""
    linked = [known[utt] == spk for utt, spk in found.utt2spk.items() if spk in found.speakers]
    return float(np.mean(linked)) if linked else None


def _true_pairs(found: PseudoLabels, known: dict[str, str]) -> dict[str, float | None]:
    """Return number, precision and recall of the pairs of classes; see `class_speakers`."""
    person = class_speakers(found.utt2spk, known, found.speakers)
    right = sum(person[one] == person[other] for one, other in found.maybe_same)
    counts = np.unique(list(person.values()), return_counts=True)[1]
    there = int((counts * (counts - 1) // 2).sum())
    named = len(found.maybe_same)
    return {"there": there, "precision": right / named if named else None, "recall": right / there if there else None}


def _agreement(cluster: dict[str, str], speaker: dict[str, str], utts: Sequence[str]) -> dict[str, float]:
    found = measure_agreement(_numbers([cluster[utt] for utt in utts]), _numbers([speaker[utt] for utt in utts]))
    return asdict(found)


def _rows(vectors: Vectors, utts: Sequence[str]) -> Floats:
    return vectors.matrix[[vectors.index[utt] for utt in utts]]


def _numbers(names: Sequence[str]) -> Longs:
    return np.unique(np.array(names), return_inverse=True)[1]
