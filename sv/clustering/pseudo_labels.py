"""Pseudo speakers for recordings without labels: clusters of their embeddings, with a report."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sv.clustering.agglomeration import Longs, best_threshold, merge
from sv.clustering.agreement import Agreement, measure_agreement
from sv.errors import UserError, log
from sv.io import Vectors, atomic_write, read_table, write_table
from sv.scoring.cosine import Floats, read_embeddings


@dataclass(frozen=True)
class Labelled:
    """Embeddings of labelled speakers, from which the threshold is taken.

    Attributes:
        xvector_scp: the embeddings.
        utt2spk: their speakers; utterances without an embedding are passed over.
        spk_list: the speakers to use, one a line, such as <exp-dir>/heldout_spk; None: all.
    """

    xvector_scp: Path
    utt2spk: Path
    spk_list: Path | None = None

    def threshold(self, mean: Floats) -> tuple[float, float]:
        """Return the best threshold and its F1 of pairs.

        Args:
            mean: (dim,) that is subtracted from all embeddings.

        Raises:
            UserError: too few speakers or utterances; see `best_threshold`.
        """
        speakers = read_table(self.utt2spk)
        if self.spk_list is not None:
            wanted = set(self.spk_list.read_text(encoding="utf-8").split())
            speakers = {utt: spk for utt, spk in speakers.items() if spk in wanted}
        vectors = read_embeddings(self.xvector_scp)
        utts = [utt for utt in speakers if utt in vectors.index]
        if not utts:
            raise UserError(
                f"{self.utt2spk} labels no utterance of {self.xvector_scp}; give those that belong together"
            )
        try:
            return best_threshold(_rows(vectors, utts) - mean, _numbers([speakers[utt] for utt in utts]))
        except UserError as error:
            raise UserError(f"{self.spk_list or self.utt2spk}: {error}") from error


def write_pseudo_labels(
    xvector_scp: Path, out_dir: Path, source: float | Labelled, *, min_utts: int = 4, truth: Path | None = None
) -> dict[str, object]:
    """Cluster embeddings, and write out_dir/utt2spk (clusters as speakers) and out_dir/clusters.json.

    Clusters of fewer than `min_utts` utterances are left out: they are as often a part of a speaker as a whole one.

    Args:
        xvector_scp: embeddings of the recordings without labels.
        out_dir: folder to write.
        source: threshold of the mean cosine between clusters, or labelled speakers to take it from.
        min_utts: utterances of the smallest cluster that is kept.
        truth: true speakers ("utt spk"), to measure against; they decide nothing.

    Returns:
        the report.

    Raises:
        UserError: too few embeddings; one cluster of all, or none that is large enough; see `Labelled.threshold`.
    """
    vectors = read_embeddings(xvector_scp)
    if len(vectors.ids) < 2:
        raise UserError(f"{xvector_scp} has one embedding; two or more can be clustered")
    mean = vectors.matrix.mean(axis=0)
    if isinstance(source, Labelled):
        threshold, f1 = source.threshold(mean)
        log.info("threshold %.3f: on labelled speakers F1 of pairs is %.3f", threshold, f1)
    else:
        threshold = source
    cluster = merge(vectors.matrix - mean).clusters(threshold)
    sizes = np.bincount(cluster)
    kept = np.flatnonzero(sizes >= min_utts)
    if len(kept) < 2:
        what = "one cluster of all utterances" if len(sizes) == 1 else f"{len(kept)} clusters of {min_utts} utterances"
        raise UserError(f"{xvector_scp}: {what} at threshold {threshold:.3f}; give another --threshold")
    name = {int(row): f"cluster{number:06d}" for number, row in enumerate(kept, 1)}
    utt2spk = {utt: name[int(row)] for utt, row in zip(vectors.ids, cluster, strict=True) if int(row) in name}
    report: dict[str, object] = {
        "threshold": threshold,
        "utterances": len(vectors.ids),
        "labelled": len(utt2spk),
        "clusters": len(kept),
        "left_out": {"clusters": len(sizes) - len(kept), "utterances": len(vectors.ids) - len(utt2spk)},
        "sizes": np.percentile(sizes[kept], [0, 25, 50, 75, 100]).tolist(),
    }
    if truth is not None:
        report |= _against(truth, utt2spk)
    write_table(out_dir / "utt2spk", utt2spk)
    with atomic_write(out_dir / "clusters.json") as f:
        json.dump(report, f, indent=2)
    log.info("%s: %d of %d utterances in %d clusters", out_dir / "utt2spk", len(utt2spk), len(vectors.ids), len(kept))
    return report


def _against(truth: Path, utt2spk: dict[str, str]) -> dict[str, object]:
    """Return the number of true speakers and the measures of agreement with them."""
    known = read_table(truth)
    missing = utt2spk.keys() - known.keys()
    if missing:
        raise UserError(f"{truth} lacks {len(missing)} utterances, first {min(missing)}; give the speakers of all")
    found: Agreement = measure_agreement(_numbers(list(utt2spk.values())), _numbers([known[utt] for utt in utt2spk]))
    return {"true_speakers": len({known[utt] for utt in utt2spk}), **asdict(found)}


def _rows(vectors: Vectors, utts: Sequence[str]) -> Floats:
    return vectors.matrix[[vectors.index[utt] for utt in utts]]


def _numbers(names: Sequence[str]) -> Longs:
    return np.unique(np.array(names), return_inverse=True)[1]
