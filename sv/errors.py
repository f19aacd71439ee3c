"""Errors that a user can fix, and the one place where a step exits.

A `UserError` carries one line: what is wrong, where (file and line), what to do. `run_step` prints it as
`score.py: error: ...` and ends with status 1, for a `WrongCall` with 2; `--verbose` (or SV_VERBOSE=1) shows the
traceback as well.
"""

import atexit
import errno
import gc
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

if TYPE_CHECKING:
    from argparse import ArgumentParser

    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler  # Python 3.10 does not know its type in brackets

log = logging.getLogger("sv")

MAX_SEED = 2**32 - 1
"""Largest seed; all generators of random numbers take those from 0 to this."""

MIN_RATE, MAX_RATE = 1000, 384_000
"""Sample rates of audio, in Hz; a lower one was probably given in kHz."""

_TOLD = logging.INFO + 5

_NO_MEMORY = re.compile("(?i)out of memory|can't allocate memory|not enough memory|_STATUS_ALLOC_FAILED")
_NO_FOLDER = "; check the path: there is a file where a folder is needed"
_OTHER_PLACE = "; choose another place, or change its permissions"
_REMEDIES = {
    "ENOSPC": "; free some disk space and run the same command again",
    "ENOENT": "; check the path",
    "EEXIST": _NO_FOLDER,
    "ENOTDIR": _NO_FOLDER,
    "EISDIR": "; give a file in that folder",
    "EACCES": _OTHER_PLACE,
    "EPERM": _OTHER_PLACE,
    "EROFS": _OTHER_PLACE,
}


class UserError(Exception):
    """Error that the user can fix; the message is one line: what is wrong, where, what to do."""

    exit_status = 1


class WrongCall(UserError):
    """A wrong call: options or arguments that are wrong by themselves, whatever files and machine hold."""

    exit_status = 2


def tell(message: str, *args: object) -> None:
    """Log a line that a recipe also shows on the terminal; of other lines it shows only warnings there."""
    log.log(_TOLD, message, *args)


def counted(number: int, noun: str) -> str:
    """Return "1 file", "2 files"."""
    return f"{number} {noun}{'s' * (number != 1)}"


def suggest(word: str, known: Iterable[str]) -> str:
    """Return the end of an error about an unknown word: the nearest known one, and all of them.

    Of equally alike names, the one with the longest part in common: ResNet35 is nearer to ResNet34 than to ResNet50.
    """
    import difflib  # only errors need it

    def likeness(name: str) -> tuple[float, int]:
        matcher = difflib.SequenceMatcher(None, name, word)
        return matcher.ratio(), matcher.find_longest_match().size

    known = list(known)
    near = difflib.get_close_matches(word, known, n=len(known) or 1)
    hint = f"; did you mean {max(near, key=likeness)!r}?" if near else ";"
    return f"{hint} known: {', '.join(known) or 'none'}"


def check_probability(option: str, value: float) -> None:
    """Raise WrongCall unless the value of an option lies between 0 and 1."""
    if not 0 < value < 1:
        raise WrongCall(f"{option} {value}: expected a probability between 0 and 1, such as 0.5")


def check_whole(option: str, value: int, least: int) -> None:
    """Raise WrongCall unless the value of an option is at least `least`."""
    if value < least:
        raise WrongCall(f"{option} {value}: expected a whole number of at least {least}")


def check_above_0(option: str, value: float) -> None:
    """Raise WrongCall unless the value of an option is above 0."""
    if not value > 0:
        raise WrongCall(f"{option} {value}: expected a number above 0")


def check_rate(option: str, value: int) -> None:
    """Raise WrongCall unless the value of an option is a sample rate in Hz."""
    if not MIN_RATE <= value <= MAX_RATE:
        raise WrongCall(f"{option} {value}: expected a rate in Hz from {MIN_RATE} to {MAX_RATE}, such as 16000")


def check_seed(seed: int) -> None:
    """Raise WrongCall unless the value of --seed is one that all generators take."""
    if not 0 <= seed <= MAX_SEED:
        raise WrongCall(f"--seed {seed}: expected a whole number from 0 to {MAX_SEED}")


def run_step(main: Callable[[], None]) -> None:
    """Run a step's `main`, and turn an error into one line on stderr and an exit status.

    `--verbose` is removed from the command line, wherever it stands; `--num_parts` is read as `--num-parts`; for an
    unknown option argparse names the nearest one. Exit status: 0 done, 1 failed, 2 wrong call, 130 interrupted.
    """
    import argparse  # by now the script has it

    atexit.register(gc.freeze)  # else the end of a process looks for garbage among torch's objects: 0.3 CPU s
    argparse.ArgumentParser.error = _refuse  # type: ignore[assignment, method-assign]
    verbose = "--verbose" in sys.argv or os.environ.get("SV_VERBOSE", "") == "1"
    sys.argv = [_with_hyphens(word) for word in sys.argv if word != "--verbose"]
    script = Path(sys.argv[0]).name
    try:
        _begin_log(script, logging.DEBUG if verbose else logging.INFO)
        main()
        sys.stdout.flush()
    except UserError as error:
        _fail(script, str(error), verbose, error.exit_status)
    except ModuleNotFoundError as error:
        if (error.name or "sv").split(".")[0] == "sv":
            raise
        _fail(script, f"{sys.executable} lacks {error.name}; make an environment with tools/setup.sh", verbose)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(script, _describe(error), verbose)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _fail(script, _describe_memory(error, "give it more memory or fewer jobs at a time"), verbose)
    except UnicodeEncodeError as error:
        _fail(script, _describe_name(error), verbose)
    except KeyboardInterrupt:
        print(f"{script}: interrupted", file=sys.stderr)
        sys.exit(130)


def _refuse(parser: "ArgumentParser", message: str) -> NoReturn:
    """End as argparse does; of an unknown option, name the nearest known one."""
    import difflib

    unknown = re.match(r"unrecognized arguments:.*?(--[\w-]+)", message)
    near = difflib.get_close_matches(unknown[1], re.findall(r"--[\w-]+", parser.format_usage()), 1) if unknown else []
    hint = "".join(f"; did you mean {option}?" for option in near)
    parser.print_usage(sys.stderr)
    parser.exit(2, f"{parser.prog}: error: {message}{hint}\n")


def _begin_log(script: str, level: int) -> None:
    """Log to stderr; in a stage of a recipe (SV_STAGE_LOG) to its log, with only warnings and `tell` on stderr."""
    line, stderr = _Line(f"%(asctime)s {script}: %(message)s", "%F %T"), _Terminal(sys.stderr)
    stderr.setFormatter(line)
    handlers: list[logging.Handler] = [stderr]
    if stage_log := os.environ.get("SV_STAGE_LOG"):
        stderr.warnings = Path(stage_log).with_name("warnings.log")
        file = logging.FileHandler(stage_log, encoding="utf-8")
        file.setFormatter(line)
        handlers.append(file)
        stderr.setLevel(_TOLD)
        stderr.setFormatter(_Line("%(asctime)s %(message)s", "%T"))
    logging.basicConfig(handlers=handlers, level=logging.INFO, force=True)
    log.setLevel(level)
    logging.raiseExceptions = False  # else a full disk prints a traceback for each line


class _Terminal(_StreamHandler):
    """Lines on stderr, above progress bars; those of a recipe are broken between words on a terminal.

    Attributes:
        warnings: file that steps/recipe.sh empties when a run begins; a warning that stands there is not shown again.
    """

    warnings: Path | None = None

    def filter(self, record: logging.LogRecord) -> Any:
        if self.warnings and self.warnings.is_file() and record.levelno >= logging.WARNING:
            said = " ".join(record.getMessage().split()) + "\n"
            with suppress(OSError), open(self.warnings, "a+", encoding="utf-8", errors="surrogateescape") as f:
                f.seek(0)
                if said in f:
                    return False
                f.write(said)
        return super().filter(record)

    def emit(self, record: logging.LogRecord) -> None:
        bars = sys.modules.get("tqdm")
        with bars.tqdm.external_write_mode(self.stream) if bars else nullcontext():
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if self.level != _TOLD or not self.stream.isatty():
            return text
        import textwrap

        width = os.get_terminal_size(self.stream.fileno()).columns or 80
        return textwrap.fill(text, width, subsequent_indent=" " * 9, break_long_words=False, break_on_hyphens=False)


class _Line(logging.Formatter):
    """A line of the log, with paths relative to the current folder where they lie in it."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        try:
            return re.sub(rf"(?<![\w/.-]){re.escape(os.getcwd())}/", "", text)
        except FileNotFoundError:  # the folder was removed
            return text


def _with_hyphens(word: str) -> str:
    """Write an option's name with hyphens, as Kaldi's scripts take either; its value and other words stay."""
    name, equals, value = word.partition("=")
    return f"{name.replace('_', '-')}{equals}{value}" if word.startswith("--") else word


@contextmanager
def explain_out_of_memory(advice: Callable[[], str]) -> Iterator[None]:
    """Raise a UserError with advice if the block runs out of memory, on the CPU or a GPU.

    Args:
        advice: returns what took the memory, and what to lower.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise UserError(_describe_memory(error, advice())) from error


def _is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error of Python, numpy or torch is lack of memory; most of torch's are RuntimeErrors."""
    return isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)) is not None


def _describe_memory(error: Exception, advice: str) -> str:
    wanted = re.search(r"allocate ([\d.]+) ([KMGTP]iB|bytes)", str(error))
    if wanted is None:
        return f"out of memory; {advice}"
    size = f"{int(wanted[1]) / 2**30:.2f} GiB" if wanted[2] == "bytes" else f"{wanted[1]} {wanted[2]}"
    return f"out of memory (another {size} wanted); {advice}"


def _fail(script: str, message: str, verbose: bool, status: int = 1) -> None:
    line = f"error: {' '.join(message.split())}"
    print(f"{script}: {line}", file=sys.stderr)
    for handler in logging.root.handlers:
        if isinstance(handler, logging.FileHandler):  # the log of the stage
            handler.handle(log.makeRecord(log.name, logging.ERROR, "", 0, line, (), None))
    if verbose:
        traceback.print_exc()
    sys.exit(status)


def _describe(error: OSError) -> str:
    """Describe an error of the system in one line, with the file if it is known."""
    where = f"{error.filename}: " if error.filename else ""
    remedy = _REMEDIES.get(errno.errorcode.get(error.errno or 0, ""), "")
    return f"{where}{error.strerror or error}{remedy}"


def _describe_name(error: UnicodeEncodeError) -> str:
    """Describe text that cannot be written: nearly always a file name, whose bytes Linux does not restrict."""
    line = next(line for line in error.object[: error.end].splitlines()[::-1] if line)
    after = error.object[error.end :].partition("\n")[0]
    name = os.fsencode(f"{line}{after}"[:300]).decode("utf-8", "backslashreplace")
    return f"{name}: a name with bytes that are not UTF-8, which no list can hold; rename it"
