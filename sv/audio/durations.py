"""Durations of utterances: from the seconds in `utt2dur` and `segments` to samples."""

import math

from sv.errors import UserError

MAX_OVERSHOOT_S = 0.5  # a segment may end up to this far after its recording, as in Kaldi's extract-segments
_LONGEST_S = 1e9


def segment_span(
    name: str, start_s: float, end_s: float, samples: int, sample_rate: int, speed: float
) -> tuple[int, int]:
    """Return the first sample of a segment and the one after its last, cut at the end of its recording.

    Args:
        name: name of the recording, for error messages.
        start_s, end_s: seconds, from `segments`; the end may be up to MAX_OVERSHOOT_S / speed after that of the
            recording, so that a segment fits if it did before the change of speed.
        samples: length of the recording.
        sample_rate: Hz.
        speed: of a speed copy; else 1.

    Raises:
        UserError: the segment starts after the end of the recording, ends too far after it, or has no samples.
    """
    start, end = int(start_s * sample_rate), int(end_s * sample_rate)
    most = samples + (MAX_OVERSHOOT_S * sample_rate + 1) / speed  # 1: a copy's times and length are rounded
    stop = min(end, samples) if end <= most else end
    check_range(name, start, stop if start < samples else end, samples)
    return start, stop


def format_seconds(seconds: float) -> str:
    """Format a duration for `utt2dur`: to the microsecond, so that `min_samples` is exact up to 500 kHz."""
    return f"{seconds:.6f}"


def min_samples(seconds: str, sample_rate: int) -> int:
    """Return the smallest number of samples, at least 1, whose duration is written like this.

    Args:
        seconds: text, rounded to its decimals.
        sample_rate: Hz.

    Raises:
        ValueError: it is not a number, or more than thirty years.
    """
    value, rounding = float(seconds), 0.5 * 10.0 ** -len(seconds.partition(".")[2])
    if not abs(value) < _LONGEST_S:
        raise ValueError(seconds)
    return max(1, math.ceil((value - rounding) * sample_rate - 1e-6))


def check_range(name: str, start: int, stop: int, samples: int) -> None:
    """Raise UserError unless samples `start` to `stop` lie within a file or recording of `samples` samples."""
    if 0 <= start < stop <= samples:
        return
    remedy = "bring it back if it is cut off; else correct segments (in seconds), or remove utt2dur of other audio"
    raise UserError(f"{name}: samples {start} to {stop} wanted, {samples} there; {remedy}")
