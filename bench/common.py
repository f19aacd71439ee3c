"""What the benchmarks share: `--quick`, timing of a candidate against its reference, and the JSON line a figure."""

import argparse
import json
import time
from collections.abc import Callable


def parse_quick(doc: str | None) -> bool:
    """Read the command line; True if the benchmark has to end within a minute."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="end within a minute")
    return parser.parse_args().quick is True


def best_seconds(
    *functions: Callable[[], object],
    budget: float = 4.0,
    least: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Shortest time of each function, in seconds.

    They take turns, so that whatever else the machine does meets all of them; the first turn only warms up.

    Args:
        budget: seconds for all turns together.
        least: turns, however long they last.
        clock: time.process_time, the CPU's, for what runs in one thread: other work on the machine weighs less there.
    """
    best = [float("inf")] * len(functions)
    for function in functions:
        function()
    end = time.perf_counter() + budget
    turn = 0
    while turn < least or time.perf_counter() < end:
        for index, function in enumerate(functions):
            start = clock()
            function()
            best[index] = min(best[index], clock() - start)
        turn += 1
    return best


def report(
    bench: str,
    case: str,
    seconds: float,
    reference_seconds: float | None = None,
    floor_seconds: float | None = None,
    **more: float | str,
) -> None:
    """Print one figure as a JSON line.

    Args:
        seconds: ours.
        reference_seconds: of a plain reference in the same run; `ratio` is theirs / ours, above 1 we are faster.
        floor_seconds: of what can not be avoided; `floor_ratio` is ours / floor, 1 is as fast as can be.
        more: other figures, such as bytes.
    """
    figure: dict[str, float | str] = {"bench": bench, "case": case, "seconds": seconds}
    if reference_seconds is not None:
        figure |= {"reference_seconds": reference_seconds, "ratio": reference_seconds / seconds}
    if floor_seconds is not None:
        figure |= {"floor_seconds": floor_seconds, "floor_ratio": seconds / floor_seconds}
    figure |= more
    print(json.dumps({key: _short(value) for key, value in figure.items()}), flush=True)


def _short(value: float | str) -> float | str:
    return float(f"{value:.4g}") if isinstance(value, float) else value
