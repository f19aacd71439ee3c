"""Record where files come from: marks beside them, written when they are made and read when they are combined.

    scores/.done.vox1_O_cleaned.kaldi.score   checksums of scores, trial list, embeddings, and the model behind them
    embeddings/vox2_dev/.done.mean_vec.npy    of the embeddings and the model; so has .done.spk_xvector.scp
    embeddings/vox1/.done, plda/.done         of the model, for xvector.scp and for the folder

"Of the model" are two checksums: model_sha256 of its file, fingerprint of model and front-end. An xvector.scp that was
put together from several has no mark; those beside the archives that it names tell.

A file without a mark, or changed since, goes with any other: it may be of another toolkit.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sv.errors import UserError, log
from sv.io import iter_table, read_json, sha256_of
from sv.io.ark import misplaced
from sv.io.paths import read_path
from sv.jobs import DoneMark

TRAINED_ON = "training_sha256"  # option of a score file's mark: embeddings that its mean, cohort and PLDA are made from
# What may differ between scores of one system: the trials, and what was made of the scores since. Older marks lack
# TRAINED_ON, and the checksums of mean, cohort and PLDA say more.
_MAY_DIFFER = (
    "trials_sha256",
    "embeddings_sha256",
    "enroll_map_sha256",
    "sources_sha256",
    "calibration_sha256",
    TRAINED_ON,
)
FUSED = "fused"
MADE_BY = {"model_sha256": "model", "fingerprint": "model and front-end"}  # options of marks


def mark_scores(
    scores: Path,
    trials: Path,
    xvector_scp: Path,
    extras: Mapping[str, Path | None],
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write the mark of a score file.

    Args:
        scores: just written.
        trials, xvector_scp: what was scored.
        extras: other files that decide the scores, by name: {"mean": ...}; None and missing ones are left out.
        settings: the back-end and its options, which decide them: {"backend": "asnorm300", "top_n": 300}.
    """
    options = {
        "trials_sha256": sha256_of(trials),
        **embeddings_origin(xvector_scp),
        **{f"{name}_sha256": sha256_of(path) for name, path in extras.items() if path and path.is_file()},
        **(settings or {}),
    }
    DoneMark(_mark_path(scores), options).write([scores])


def mark_derived(scores: Path, sources: Sequence[Path], calibration: Path) -> None:
    """Write the mark of scores that were made from other scores: what these marks agree on, and the calibration.

    Args:
        scores: just written.
        sources: score files that they were made from, all of one trial list.
        calibration: calibration that was applied.
    """
    known = [origin(source) for source in sources]
    if not all("trials_sha256" in one for one in known):
        return  # the origin of a source is unknown, so that of the result is, too
    options = {name: value for name, value in known[0].items() if all(one.get(name) == value for one in known)}
    if "backend" in options:
        options["backend"] = FUSED if len(sources) > 1 else f"{options['backend']}_cali"
    inputs = {"sources_sha256": [sha256_of(source) for source in sources], "calibration_sha256": sha256_of(calibration)}
    DoneMark(_mark_path(scores), {"trials_sha256": known[0]["trials_sha256"], **options, **inputs}).write([scores])


def mark_pooled(scores: Path, trials: Path, sources: Sequence[Path], backend: str) -> None:
    """Write the mark of scores that were made from those of several systems, each of a part of the trials.

    Args:
        scores: just written.
        trials: the list that was joined from theirs.
        sources: score files that they were made from.
        backend: what results are filed under.
    """
    checksums = {"trials_sha256": sha256_of(trials), "sources_sha256": [sha256_of(source) for source in sources]}
    DoneMark(_mark_path(scores), {**checksums, "backend": backend}).write([scores])


def mark_made(path: Path, xvector_scp: Path) -> None:
    """Write the mark of a file that was just made from embeddings: their mean, or means of speakers."""
    DoneMark(_mark_path(path), embeddings_origin(xvector_scp)).write([path])


def embeddings_origin(xvector_scp: Path) -> dict[str, str | None]:
    """Return the checksums of embeddings, of their model, and of model and front-end; None where no mark tells."""
    mark = _read(_mark_path(xvector_scp))
    known = [mark.get("options", {})] if mark else list(_of_archives(xvector_scp).values())
    return {
        **{name: next((one[name] for one in known if one.get(name)), None) for name in MADE_BY},
        "embeddings_sha256": mark.get("outputs", {}).get("xvector.ark", {}).get("sha256"),
    }


def _of_archives(scp: Path) -> dict[Path, dict[str, Any]]:
    """Return the options of the marks beside the archives that an scp names; {} of an archive without one."""
    lines = iter_table(scp) if scp.is_file() else ()
    places = {location.rpartition(":")[0] for _, _, location in lines} - {""}
    return {ark: _of_archive(ark) for ark in (Path(read_path(place, scp.parent)) for place in sorted(places))}


def _of_archive(ark: Path) -> dict[str, Any]:
    mark = _read(ark.with_name(".done"))
    about = mark.get("outputs", {}).get(ark.name)
    return dict(mark["options"]) if about and ark.is_file() and ark.stat().st_size == about["size"] else {}


def trained_on(files: Iterable[Path]) -> dict[str, str]:
    """Return, under TRAINED_ON, the checksum of the embeddings that these files were all made from; {} if none."""
    known = {str(made["embeddings_sha256"]) for made in map(origin, files) if made.get("embeddings_sha256")}
    return {TRAINED_ON: known.pop()} if len(known) == 1 else {}


def origin(path: Path) -> dict[str, Any]:
    """Return what a file or folder was made from, by its mark; {} if it has none, or has changed since."""
    mark = DoneMark.recorded(_mark_path(path))
    return {} if mark.stale(verify=True) else dict(mark.options)


def check_embeddings(scp: Path) -> None:
    """Check that an xvector.scp and its archive are those of their mark; of the archive, only the size is compared.

    One without a mark is checked for archives of two models, or of two front-ends.

    Raises:
        UserError: another scp, an archive of another size, an scp that names the archive of another folder, or archives
            whose embeddings must not be compared.
    """
    mark, ark = DoneMark.recorded(_mark_path(scp)), scp.with_suffix(".ark")
    if not mark.path.is_file():
        _check_agree(_of_archives(scp))
        return
    if scp.name != "xvector.scp":
        return
    why = misplaced(scp, ark) or mark.stale()
    if not why and mark.outputs().get(scp) != sha256_of(scp):
        why = f"{scp} has changed since {mark.path} was written"
    if why:
        raise UserError(f"{why}; extract the embeddings again (stage 4), or remove the mark if they are yours")


def check_same_model(xvector_scp: Path, files: Iterable[Path]) -> None:
    """Check that files were made from embeddings of the same model and front-end as these, where their marks tell.

    Raises:
        UserError: a file is of another model or front-end, or not the one that its mark was written for.
    """
    here = embeddings_origin(xvector_scp)
    for path in files:
        mark = DoneMark.recorded(_mark_path(path))
        if mark.path.is_file() and mark.stale(verify=True):
            raise UserError(
                f"{path} has changed since {mark.path} was written; make it again, or remove that mark if it is yours"
            )
        there = embeddings_origin(path) if path.suffix == ".scp" else origin(path)
        _check_agree({xvector_scp: here, path: there})


def _check_agree(known: Mapping[Path, Mapping[str, Any]]) -> None:
    """Check that the marks of these files name one model and front-end.

    Raises:
        UserError: they name two; the message gives two files.
    """
    for name, what in MADE_BY.items():
        told = {options[name]: path for path, options in known.items() if options.get(name)}
        if len(told) > 1:
            (here, first), *_, (there, last) = told.items()
            raise UserError(
                f"{last} is of {what} {there[:12]}, {first} of {what} {here[:12]} (SHA-256); "
                f"make both with the same {what}"
            )


def check_same_embeddings(xvector_scp: Path, scores: Iterable[Path]) -> None:
    """Check that score files were made of these embeddings; raise UserError if their marks tell otherwise."""
    here = embeddings_origin(xvector_scp)["embeddings_sha256"]
    for path in scores:
        there = origin(path).get("embeddings_sha256")
        if here and there and here != there:
            raise UserError(f"{path} was not made from {xvector_scp}; give the data dir of its trials, or score again")


def check_scored_alike(scores: Sequence[Path]) -> None:
    """Check that score files are of one system: of the same model, mean, cohort, PLDA and options.

    Raises:
        UserError: their marks differ; the message names the first difference.
    """
    known = [(path, origin(path)) for path in scores]
    marked = [(path, options) for path, options in known if options]
    for path in (path for path, options in known if not options):
        log.warning("%s: no mark tells how it was scored; it is taken as it is", path)
    for path, options in marked[1:]:
        first, expected = marked[0]
        for name in dict.fromkeys([*expected, *options]):
            here, there = options.get(name), expected.get(name)
            if name not in _MAY_DIFFER and here != there:
                what = MADE_BY.get(name, name.removesuffix("_sha256"))
                raise UserError(
                    f"{path} was not scored like {first}: {what} is {_short(name, here)}, there {_short(name, there)}; "
                    "score both the same way"
                )


def check_same_enrollment(scores: Sequence[Path]) -> None:
    """Check that score files are over the same enroll models; raise UserError if their marks tell otherwise."""
    known = [(path, origin(path)) for path in scores]
    marked = [(path, options.get("enroll_map_sha256")) for path, options in known if options]
    for path, enroll_map in marked[1:]:
        if enroll_map != marked[0][1]:
            raise UserError(f"{path} and {marked[0][0]} have different enroll models; score both with one --enroll-map")


def _short(name: str, value: object) -> str:
    text = "none" if value is None else str(value)
    return text[:12] if name in MADE_BY or name.endswith("_sha256") else text


def check_name(scores: Path, name: str) -> None:
    """Check that what is made of scores is filed under their back-end: "cos", or "cos_X".

    Raises:
        UserError: another name.
    """
    label = origin(scores).get("backend")
    if label and name.partition("_")[0] != label.partition("_")[0]:
        raise UserError(f"--backend {name}: {scores} has scores by {label}; give --backend {label}, or {label}_NAME")


def origin_of(scores: Path, trials: Path) -> dict[str, Any]:
    """Return checksums of a score file, of its trial list and of whatever is known that the scores were made from.

    Raises:
        UserError: the scores were made from another version of the trial list.
    """
    found = {"scores_sha256": sha256_of(scores), "trials_sha256": sha256_of(trials)}
    known = origin(scores)
    if not known:
        log.warning("%s: no mark tells which model and embeddings these scores come from", scores)
    elif known["trials_sha256"] != found["trials_sha256"]:
        raise UserError(f"{scores} was made from another version of {trials}; score again (stage 5)")
    return {**known, **found}


def _mark_path(path: Path) -> Path:
    if path.is_dir():
        return path / ".done"
    return path.with_name(".done" if path.name == "xvector.scp" else f".done.{path.name}")


def _read(path: Path) -> dict[str, Any]:
    try:
        mark = read_json(path)
    except (FileNotFoundError, ValueError):
        return {}
    return mark if isinstance(mark, dict) else {}
