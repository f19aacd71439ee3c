"""Score, calibrate and measure trial lists of a system by a back-end, with the names that files have in its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sv.errors import UserError
from sv.metrics.measure_lists import MeasureOptions, ScoredLists, measure_lists
from sv.metrics.provenance import FUSED, origin
from sv.metrics.results import CALIBRATED
from sv.scoring.backends import Backend, Option, values_of
from sv.scoring.calibration_files import ScoresToCalibrate, calibrate_files
from sv.scoring.fusion import fuse_files
from sv.scoring.inputs import Inputs, TrainingFiles, flag_of
from sv.scoring.score_list import score_list


@dataclass(frozen=True)
class SystemBackend:
    """A back-end of a trained system.

    Attributes:
        exp_dir: experiment folder.
        train_data, test_data: data dirs; their names are those of the folders of embeddings.
        backend: name in `sv.scoring.backends.BACKENDS`.
        given: options of the back-end, among others; those that are missing have their defaults.
        enroll_map: utterances of each enroll model of the test data's lists; None: "enroll" is an utterance.
    """

    exp_dir: Path
    train_data: Path
    test_data: Path
    backend: Backend
    given: Mapping[str, Any]
    enroll_map: Path | None = None

    @property
    def label(self) -> str:
        """Name in results and thresholds: "asnorm300"."""
        return self.backend.label_of(self.given)

    @property
    def prefix(self) -> str:
        """Start of the names of score files: "vox2_dev_asnorm300_"."""
        return self.backend.prefix.format(train=self.train_data.name, label=self.label)

    def score_file(self, trials: str) -> Path:
        """Return where the scores of a list stand."""
        return self.exp_dir / "scores" / f"{self.prefix}{trials}.score"

    def prepare(self) -> None:
        """Make what the back-end needs from the training data, without the held-out speakers."""
        if self.backend.prepare is None:
            return
        heldout = self.exp_dir / "heldout_spk"
        exclude = heldout if heldout.is_file() and heldout.stat().st_size else None
        training = TrainingFiles(self._xvector_scp(self.train_data), self.train_data, exclude)
        (made,) = (self._path(file) for file in self.backend.needs if file.name == self.backend.made)
        self.backend.prepare(training, made, **values_of(self.backend.training_options, self.given))

    def score_and_measure(self, trials: Sequence[str]) -> str:
        """Score lists of the test data, given by name, and measure them; return the printed lines."""
        lists = [self.test_data / "trials" / name for name in trials]
        self._score(lists, self.test_data, self.enroll_map)
        scored = ScoredLists(self.exp_dir, lists, self.label, self.prefix)
        result = f"{self.test_data.name}_{self.label}_result"
        return measure_lists(scored, result, MeasureOptions(test_data=self.test_data, enroll_map=self.enroll_map))

    def check_scored(self, heldout: str, trials: Sequence[str]) -> None:
        """Raise UserError if the trials of held-out speakers or the scores of a list are not there."""
        path = self.exp_dir / "calibration" / heldout
        if not path.exists():
            raise UserError(f"{path} does not exist; make it with steps/make_calibration_trials.py (stage 7)")
        for scores in map(self.score_file, trials):
            if not scores.exists():
                raise UserError(f"{scores} does not exist; score it first (stage {self.backend.stage})")

    def calibrate_and_measure(self, heldout: str, trials: Sequence[str]) -> str:
        """Calibrate scores on trials of held-out speakers and measure them; return the printed lines.

        Args:
            heldout: list in <exp-dir>/calibration: heldout.kaldi, or heldout_X.kaldi for thresholds under LABEL_X.
            trials: names of lists of the test data that are scored; none: thresholds alone.
        """
        self.check_scored(heldout, trials)
        filed_under = self.label + _suffix(heldout)
        self._score([self.exp_dir / "calibration" / heldout], self.train_data)
        calibrate_files(ScoresToCalibrate(self.exp_dir, filed_under, self.prefix), heldout, trials)
        if not trials:
            return ""
        lists = [self.test_data / "trials" / name for name in trials]
        scored = ScoredLists(self.exp_dir, lists, f"{self.label}{CALIBRATED}", f"cali_{self.prefix}")
        result = f"{self.test_data.name}_cali_{filed_under}_result"
        options = MeasureOptions(llr=True, test_data=self.test_data, enroll_map=self.enroll_map)
        return measure_lists(scored, result, options)

    def _check_made(self) -> None:
        """Raise UserError if what was made from the training data was made with other options than those given."""
        if not self.backend.training_options:
            return
        (made,) = (self._path(file) for file in self.backend.needs if file.name == self.backend.made)
        known = origin(made)
        for name in (option.name for option in self.backend.training_options):
            if name in known and self.given.get(name, known[name]) != known[name]:
                raise UserError(
                    f"{made} was made with {flag_of(name)} {known[name]}, not {self.given[name]}; score with "
                    f"--prepare true to make it again, or leave {flag_of(name)} out"
                )

    def _score(self, lists: Sequence[Path], data_dir: Path, enroll_map: Path | None = None) -> None:
        self._check_made()
        files = {file.name: self._path(file) for file in self.backend.needs}
        scorer = self.backend.scorer(Inputs(self._xvector_scp(data_dir), files, enroll_map), self.given)
        for path in lists:
            score_list(path, self.score_file(path.name), scorer)

    def _path(self, file: Option) -> Path:
        return self.exp_dir / file.path.format(train=self.train_data.name)

    def _xvector_scp(self, data_dir: Path) -> Path:
        return self.exp_dir / "embeddings" / data_dir.name / "xvector.scp"


def fuse_and_measure(systems: Sequence[SystemBackend], heldout: str, trials: Sequence[str]) -> str:
    """Fuse the scores of a system's back-ends to log-likelihood ratios and measure these; return the printed lines.

    Args:
        systems: the back-ends; all of one system.
        heldout: list of the trials of held-out speakers in <exp-dir>/calibration, scored by each back-end.
        trials: names of lists of the test data, scored by each back-end.

    Raises:
        UserError: see `sv.scoring.fusion.fuse_files`.
    """
    first, prefix = systems[0], f"{FUSED}_"
    for name in trials:
        held, scores = ([one.score_file(scored) for one in systems] for scored in (heldout, name))
        fuse_files(held, scores, first.exp_dir / "scores" / f"{prefix}{name}.score")
    scored = ScoredLists(first.exp_dir, [first.test_data / "trials" / name for name in trials], FUSED, prefix)
    result = f"{first.test_data.name}_{FUSED}{_suffix(heldout)}_result"
    options = MeasureOptions(llr=True, test_data=first.test_data, enroll_map=first.enroll_map)
    return measure_lists(scored, result, options)


def _suffix(heldout: str) -> str:
    """Return how the names of what heldout_X.kaldi calibrates end: "_X"; "" for heldout.kaldi."""
    return heldout.removesuffix(".kaldi").removeprefix("heldout")
