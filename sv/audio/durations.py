"""Seconds and samples: how long utterances are, as `utt2dur` and `segments` say it."""

import math

from sv.errors import UserError

MAX_OVERSHOOT_S = 0.5  # a segment may end so much behind its recording, as in Kaldi's extract-segments
_LONGEST_S = 1e9


def segment_span(name: str, start_s: float, end_s: float, samples: int, sample_rate: int) -> tuple[int, int]:
    """First sample of a segment and the one behind its last, of those that its recording has.

    Args:
        name: of the recording, for errors.
        start_s, end_s: as `segments` has them; the end may be up to MAX_OVERSHOOT_S behind that of the recording.
        samples: of the recording.

    Raises:
        UserError: it begins behind the recording, ends too far behind it, or holds no sample.
    """
    start, end = int(start_s * sample_rate), int(end_s * sample_rate)
    stop = min(end, samples) if end <= samples + MAX_OVERSHOOT_S * sample_rate else end
    if not 0 <= start < stop <= samples:
        raise outside(name, start, end, samples)
    return start, stop


def format_seconds(seconds: float) -> str:
    """As `utt2dur` holds it: to the microsecond, from which `min_samples` tells the samples, up to 500 kHz."""
    return f"{seconds:.6f}"


def min_samples(seconds: str, sample_rate: int) -> int:
    """Samples that a duration, rounded to the decimals it is written with, stands for at least.

    Raises:
        ValueError: it is not a number, or more than thirty years.
    """
    value, rounding = float(seconds), 0.5 * 10.0 ** -len(seconds.partition(".")[2])
    if not abs(value) < _LONGEST_S:
        raise ValueError(seconds)
    return max(1, math.ceil((value - rounding) * sample_rate - 1e-6))


def outside(name: str, start: int, stop: int, samples: int) -> UserError:
    """The error for samples that are not there; `name` is the file's or recording's."""
    mend = "bring it back if it is cut off; else mend segments (in seconds), or remove utt2dur if it is of other audio"
    return UserError(f"{name}: samples {start} to {stop} wanted, {samples} there; {mend}")
