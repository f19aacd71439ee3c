"""Back-ends by name: everything that scoring, calibration, results and help need to know about them.

To add a back-end, write an entry of BACKENDS and the function that loads it. steps/score.py and steps/score_trials.py
take their options from here, and name scores and results by it. This module loads no numpy, so that help is quick.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from sv.errors import WrongCall, suggest
from sv.scoring.inputs import Inputs, flag_of

if TYPE_CHECKING:
    from sv.scoring.score_list import Scorer


@dataclass(frozen=True)
class Option:
    """An option of a back-end, or a file that it needs.

    Attributes:
        name: as in Python; the option of the steps for "top_n" is --top-n.
        about: one line of help.
        default: gives the type, too; None: a file.
        path: where a file is in an experiment's folder; {train} is the name of the training set.
    """

    name: str
    about: str
    default: bool | int | None = None
    path: str = ""


@dataclass(frozen=True)
class Backend:
    """One way to score trials.

    Attributes:
        title: one line of help.
        stage: stage of the recipes that scores by it.
        load: takes `Inputs` and the options; returns what scores lists.
        label: name in results and thresholds; {OPTION} is the value of an option.
        prefix: start of the names of its score files; {train} is the name of the training set.
        needs: files that it reads beside the embeddings.
        options: options of `load`.
        prepare: takes `TrainingFiles`, the path of the file to make and the training options; None: nothing to make.
        made: name of the file that `prepare` makes.
        training_options: options of `prepare`.
    """

    title: str
    stage: int
    load: "Callable[..., Scorer]"
    label: str
    prefix: str
    needs: tuple[Option, ...]
    options: tuple[Option, ...] = ()
    prepare: Callable[..., None] | None = None
    made: str = ""
    training_options: tuple[Option, ...] = ()

    def label_of(self, given: Mapping[str, Any]) -> str:
        """Return the name in results, with the options given: "asnorm300"."""
        return self.label.format(**values_of(self.options, given))

    def scorer(self, inputs: Inputs, given: Mapping[str, Any]) -> "Scorer":
        """Return what scores lists from these files, with the options given, among others."""
        return replace(self.load(inputs, **values_of(self.options, given)), label=self.label_of(given))


def _lazy(function: str) -> Callable[..., Any]:
    """Return a function that imports "module:function" when it is called."""
    module, name = function.split(":")
    return lambda *args, **options: getattr(import_module(module), name)(*args, **options)


MEAN = Option(
    "mean",
    "to subtract first, if any: of compute_mean.py, or Kaldi's mean.vec",
    path="embeddings/{train}/mean_vec.npy",
)
COHORT = Option(
    "cohort",
    "scp with one vector a speaker: see compute_spk_means.py",
    path="embeddings/{train}/spk_xvector.scp",
)
NORMALIZATIONS = {
    "asnorm": "cosine, normalized by the nearest speakers of a cohort",
    "snorm": "cosine, normalized by the cohort on both sides",
    "znorm": "cosine, normalized by the enroll side's scores with the cohort",
    "tnorm": "cosine, normalized by the test side's scores with the cohort",
}
BACKENDS: dict[str, Backend] = {
    "cos": Backend(
        title="cosine of the two embeddings",
        stage=5,
        load=_lazy("sv.scoring.cosine:load_cosine"),
        label="cos",
        prefix="",
        needs=(MEAN,),
    ),
    **{
        name: Backend(
            title=title,
            stage=6,
            load=partial(_lazy("sv.scoring.norm:load_norm"), method=name),
            label="asnorm{top_n}" if name == "asnorm" else name,
            prefix="{train}_{label}_",
            needs=(MEAN, COHORT),
            options=(Option("top_n", "nearest speakers of the cohort", 300),) if name == "asnorm" else (),
            prepare=_lazy("sv.scoring.speakers:write_speaker_means"),
            made="cohort",
        )
        for name, title in NORMALIZATIONS.items()
    },
    "plda": Backend(
        title="log-likelihood ratio of PLDA",
        stage=7,
        load=_lazy("sv.scoring.plda_backend:load_plda"),
        label="plda",
        prefix="plda_",
        needs=(Option("plda_dir", "folder of train_plda.py, adapt_plda.py or Kaldi", path="plda"),),
        options=(
            Option("normalize_length", "scale vectors to the length that the model expects, as Kaldi does", True),
            Option("length_norm", "vectors were scaled before training; for Kaldi's folders, which do not say", True),
        ),
        prepare=_lazy("sv.scoring.plda_backend:train_plda_folder"),
        made="plda_dir",
        training_options=(Option("lda_dim", "dimensions LDA keeps, below the number of speakers; 0: no LDA", 0),),
    ),
}


def find_backends(names: str) -> list[Backend]:
    """Return the back-ends of a list of names such as "cos plda".

    Raises:
        WrongCall: no name, or an unknown one.
    """
    found = dict.fromkeys(names.split())
    if not found:
        raise WrongCall(f"no back-end is named; known: {', '.join(BACKENDS)}")
    unknown = next((name for name in found if name not in BACKENDS), None)
    if unknown is not None:
        raise WrongCall(f"unknown back-end {unknown!r}{suggest(unknown, list(BACKENDS))}")
    return [BACKENDS[name] for name in found]


def values_of(options: Iterable[Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of each option: the one given, else the default."""
    return {option.name: given.get(option.name, option.default) for option in options}


def backend_lines() -> str:
    """Return a line of help for each back-end."""
    return "back-ends:\n" + "\n".join(f"  {name:7} {backend.title}" for name, backend in BACKENDS.items())


def flags(*kinds: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each option of the back-ends once, as arguments for a parser's `add_argument`.

    Args:
        kinds: some of "needs", "options" and "training_options".
    """
    users: dict[Option, list[str]] = {}
    for name, backend in BACKENDS.items():
        for kind in kinds:
            for option in getattr(backend, kind):
                users.setdefault(option, []).append(name)
    reads = {bool: (true_or_false, "true|false"), int: (int, "N"), NoneType: (Path, "PATH")}
    for option, names in users.items():
        read, metavar = reads[type(option.default)]
        default = "" if option.default is None else f"; default: {str(option.default).lower()}"
        about = f"{', '.join(names)}: {option.about}{default}"
        yield flag_of(option.name), {"type": read, "metavar": metavar, "default": option.default, "help": about}


def true_or_false(word: str) -> bool:
    """Return the truth value of "true" or "false"; raise ValueError for other words."""
    if word not in ("true", "false"):
        raise ValueError(word)
    return word == "true"
