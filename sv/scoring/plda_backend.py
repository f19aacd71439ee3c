"""Train PLDA, adapt it to another domain, and score trials by it; models are folders of `plda_files`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv.errors import UserError, check_whole, log
from sv.io import Trials, Vectors, read_enroll_map, sha256_of
from sv.metrics.provenance import check_same_model, embeddings_origin
from sv.scoring.cosine import mean_of_each, read_embeddings
from sv.scoring.inputs import Inputs, TrainingFiles
from sv.scoring.plda import PldaScorer, train_plda
from sv.scoring.plda_files import PldaBackend, read_backend, write_backend
from sv.scoring.projection import Projection, make_projection
from sv.scoring.score_list import Column, Scorer
from sv.scoring.speakers import Floats, class_stats, read_by_speaker


def train_plda_folder(
    training: TrainingFiles,
    plda_dir: Path,
    *,
    lda_dim: int = 0,
    whiten: bool = False,
    length_norm: bool = True,
    num_iters: int = 10,
) -> None:
    """Train projection and PLDA on embeddings of known speakers, and write them as `write_backend` does.

    Args:
        training: embeddings and speakers.
        plda_dir: folder to write.
        lda_dim, whiten, length_norm: see `make_projection`.
        num_iters: iterations of EM.

    Raises:
        WrongCall: no iterations.
        UserError: see `read_by_speaker`, `make_projection` and `train_plda`.
    """
    check_whole("--num-iters", num_iters, 1)
    labelled = read_by_speaker(training)
    vectors, speaker = labelled.vectors, labelled.speaker
    mean = vectors.matrix.mean(axis=0, dtype=np.float64)
    stats = class_stats(vectors.matrix, speaker)
    log.info("%d utterances of %d speakers, dimension %d", stats.num_utts, len(labelled.speakers), stats.dim)
    projection = make_projection(stats, mean, lda_dim=lda_dim, whiten=whiten, length_norm=length_norm)
    projected = projection.apply(vectors, source=training.xvector_scp)
    plda = train_plda(class_stats(projected, speaker), num_iters=num_iters)
    about = {
        "lda_dim": lda_dim,
        "whiten": whiten,
        "num_iters": num_iters,
        "exclude_sha256": sha256_of(training.exclude) if training.exclude else None,
        **embeddings_origin(training.xvector_scp),
    }
    write_backend(plda_dir, PldaBackend(projection, plda), about)
    log.info("PLDA of dimension %d in %s", plda.dim, plda_dir)


def adapt_plda_folder(
    plda_dir: Path,
    xvector_scp: Path,
    adapted_dir: Path,
    *,
    method: str,
    options: Mapping[str, Any],
    length_norm: bool = True,
) -> None:
    """Adapt a folder's PLDA to the domain of some embeddings; their mean replaces that of the projection.

    Args:
        plda_dir: folder made by `write_backend` or by Kaldi.
        xvector_scp: embeddings of the other domain.
        adapted_dir: folder to write.
        method: name in `sv.scoring.plda_adapt.adaptations`.
        options: options of the method.
        length_norm: see `read_backend`.

    Raises:
        WrongCall: see `find_options`.
        UserError: embeddings of another model or dimension; both folders are one; see `adapt_plda`.
    """
    from sv.scoring.plda_adapt import adapt_plda, find_options

    chosen = find_options(method, options)
    if adapted_dir.resolve() == plda_dir.resolve():
        raise UserError(f"{adapted_dir} would overwrite the PLDA it is made from; give another folder")
    backend = read_backend(plda_dir, length_norm=length_norm)
    vectors = read_embeddings(xvector_scp)
    check_same_model(xvector_scp, [plda_dir])
    mean = vectors.matrix.mean(axis=0, dtype=np.float64).astype(np.float32)
    old = backend.projection
    if len(mean) != len(old.mean):
        raise UserError(
            f"{xvector_scp}: embeddings have dimension {len(mean)}, the PLDA was trained on {len(old.mean)}; "
            "extract them with the same model (stage 4)"
        )
    projection = Projection(mean, old.matrix, old.length_norm)
    adapted = adapt_plda(backend.plda, projection.apply(vectors, source=xvector_scp), method, chosen)
    about = {
        "adapted_from_sha256": sha256_of(plda_dir / "plda"),
        "method": method,
        **chosen,
        **embeddings_origin(xvector_scp),
    }
    write_backend(adapted_dir, PldaBackend(projection, adapted), about)
    log.info("PLDA adapted to %d embeddings in %s", len(vectors.ids), adapted_dir)


def load_plda(inputs: Inputs, *, normalize_length: bool = True, length_norm: bool = True) -> Scorer:
    """Return a scorer by PLDA.

    As in Kaldi's x-vector recipes, an enroll model of several utterances is the mean of their unscaled embeddings,
    and their number enters the ratio.

    Args:
        inputs: with a plda_dir.
        normalize_length: see `Plda.latent`.
        length_norm: see `read_backend`.
    """
    plda_dir, source = inputs.needed("plda_dir"), inputs.xvector_scp
    backend = read_backend(plda_dir, length_norm=length_norm)
    utts_of = read_enroll_map(inputs.enroll_map) if inputs.enroll_map else None
    vectors = read_embeddings(source)

    def latent(of: Vectors, counts: NDArray[np.int64] | None, where: Path) -> Floats:
        return backend.plda.latent(backend.projection.apply(of, source=where), counts, normalize=normalize_length)

    models, enroll, counts = None, None, None
    if inputs.enroll_map and utts_of:
        models = mean_of_each(vectors, utts_of, source=source, where=inputs.enroll_map)
        counts = np.array([len(utts) for utts in utts_of.values()])
        enroll = latent(models, counts, inputs.enroll_map)
    scorer = PldaScorer(backend.plda, latent(vectors, None, source), enroll, counts)

    def score(block: Trials) -> list[Column]:
        return [scorer(block)]

    return Scorer(
        inputs,
        begin_list=lambda: score,
        test_ids=vectors.ids,
        enroll_ids=models.ids if models else None,
        made_from={f"plda_{name}": plda_dir / name for name in ("mean.vec", "transform.mat", "plda")},
        settings={"normalize_length": normalize_length, "length_norm": backend.projection.length_norm},
    )
