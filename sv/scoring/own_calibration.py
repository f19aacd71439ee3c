"""Calibrate a system on the user's own labelled recordings, which need not be training data of the system."""

import os
from dataclasses import replace
from pathlib import Path

from sv.embeddings import MAX_FRAMES
from sv.embeddings.parts import Extraction
from sv.errors import UserError, log
from sv.io import DataDir
from sv.jobs.bad_utts import read_bad_utts
from sv.metrics.jackknife import MIN_SPEAKERS
from sv.scoring.backends import BACKENDS
from sv.scoring.calibration import load_calibration
from sv.scoring.calibration_files import ScoresToCalibrate, calibrate_files
from sv.scoring.calibration_trials import draw_calibration_trials, write_trials
from sv.scoring.inputs import Inputs
from sv.scoring.score_list import score_list
from sv.scoring.thresholds import read_thresholds

_THREADS = 8  # at most; more do not make an encoder faster


def calibrate_on(scores: ScoresToCalibrate, data_dir: Path) -> None:
    """Embed the recordings of a data dir, score trials among its speakers by cosine, and calibrate on these.

    Leaves <exp-dir>/calibration/<data>/xvector.{ark,scp}, calibration/<data>.kaldi, scores/<data>.kaldi.score, and what
    `calibrate_files` writes. Existing embeddings are kept.

    Args:
        scores: the system, and how it is calibrated; its prefix is "". Without a mean, that of the calibration which is
            replaced is subtracted, or else the one in embeddings/*/mean_vec.npy, as in the recipes' scores.
        data_dir: with wav.scp and utt2spk, of two speakers or more with two recordings or more.

    Raises:
        UserError: the data dir, the model or a recording cannot be read; too few speakers or recordings; several means;
            the system has another list of the data dir's name.
    """
    filed_under = scores.filed_under or "cos"
    scores = replace(scores, mean=scores.mean or _find_mean(scores.exp_dir, filed_under))
    data = DataDir(data_dir, "make it of your recordings with local/prepare_folder.py")
    if not (data.path / "wav.scp").is_file():
        raise UserError(f"{data.path} has no wav.scp; make a data dir of your recordings with local/prepare_folder.py")
    speakers = dict(data.utt2spk)
    draw_calibration_trials(speakers)  # fail now, not after the embeddings
    name = data.path.resolve().name
    out_dir = scores.exp_dir / "calibration" / name
    path, score_file = out_dir.with_name(f"{name}.kaldi"), scores.exp_dir / "scores" / f"{name}.kaldi.score"
    if not out_dir.is_dir() and (taken := next((one for one in (path, score_file) if one.exists()), None)):
        raise UserError(f"{taken} is of another list of this name; give {data.path} another name")
    threads = min(os.cpu_count() or 1, _THREADS)
    options = {"feats": "online", "skip_bad": True, "gpus": "auto", "num_threads": threads, "max_frames": MAX_FRAMES}
    work = Extraction(scores.exp_dir, data.path, out_dir, **options)  # type: ignore[arg-type]
    if work.begin():
        work.run(1)
        work.finish()
    for utt in read_bad_utts(work.bad_list):
        speakers.pop(utt, None)
    trials = draw_calibration_trials(speakers)
    write_trials(path, trials)
    count = len(set(speakers.values()))
    log.info("%d trials of %d speakers in %s", len(trials), count, path)
    if count < MIN_SPEAKERS:
        log.warning(
            "%d speakers are too few to calibrate on: thresholds fit these people alone; record %d or more",
            count,
            MIN_SPEAKERS,
        )
    scorer = BACKENDS["cos"].scorer(Inputs(work.scp, {"mean": scores.mean}), {})
    score_list(path, score_file, scorer)
    calibrate_files(scores, path.name, [])
    found = read_thresholds(scores.exp_dir, filed_under)["eer"]
    eer = 50 * (found["miss"] + found["false_accept"])
    log.info("EER %.2f %% on these trials; compare recordings: steps/verify.py --model %s", eer, scores.exp_dir)


def _find_mean(exp_dir: Path, filed_under: str) -> Path | None:
    """Return the mean of a calibration, or else the system's only one; None: none was made."""
    calibration = exp_dir / "calibration" / f"{filed_under}.json"
    if calibration.is_file() and (mean := load_calibration(calibration).trained_on.get("mean")):
        return exp_dir / mean
    means = sorted(exp_dir.glob("embeddings/*/mean_vec.npy"))
    if len(means) > 1:
        raise UserError(f"{exp_dir} has several means ({', '.join(map(str, means))}); give one with --mean")
    return means[0] if means else None
