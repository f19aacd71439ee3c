"""Calibrate a system on the user's own labelled recordings, which need not be training data of the system."""

import os
from pathlib import Path

from sv.embeddings import MAX_FRAMES
from sv.embeddings.parts import Extraction
from sv.errors import UserError, log
from sv.io import DataDir
from sv.jobs.bad_utts import read_bad_utts
from sv.metrics.jackknife import MIN_SPEAKERS
from sv.scoring.backends import BACKENDS
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
        scores: the system, and how it is calibrated; its prefix is "".
        data_dir: with wav.scp and utt2spk, of two speakers or more with two recordings or more.

    Raises:
        UserError: the data dir, the model or a recording cannot be read; too few speakers or recordings.
    """
    data = DataDir(data_dir, "make it of your recordings with local/prepare_folder.py")
    if not (data.path / "wav.scp").is_file():
        raise UserError(f"{data.path} has no wav.scp; make a data dir of your recordings with local/prepare_folder.py")
    speakers = dict(data.utt2spk)
    draw_calibration_trials(speakers)  # fail now, not after the embeddings
    name = data.path.resolve().name
    out_dir = scores.exp_dir / "calibration" / name
    threads = min(os.cpu_count() or 1, _THREADS)
    options = {"feats": "online", "skip_bad": True, "gpus": "auto", "num_threads": threads, "max_frames": MAX_FRAMES}
    work = Extraction(scores.exp_dir, data.path, out_dir, **options)  # type: ignore[arg-type]
    if work.begin():
        work.run(1)
        work.finish()
    for utt in read_bad_utts(work.bad_list):
        speakers.pop(utt, None)
    trials = draw_calibration_trials(speakers)
    path = scores.exp_dir / "calibration" / f"{name}.kaldi"
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
    score_list(path, scores.exp_dir / "scores" / f"{path.name}.score", scorer)
    calibrate_files(scores, path.name, [])
    found = read_thresholds(scores.exp_dir, scores.filed_under or "cos")["eer"]
    eer = 50 * (found["miss"] + found["false_accept"])
    log.info("EER %.2f %% on these trials; compare recordings: steps/verify.py --model %s", eer, scores.exp_dir)
