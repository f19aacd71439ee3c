"""Shared by all benchmarks: `--quick`, timing of a candidate against its reference, and a JSON line a figure."""

import argparse
import json
import time
from collections.abc import Callable


def parse_quick(doc: str | None) -> bool:
    """Parse the command line; return True if the benchmark takes its small sizes."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, within a minute of CPU time on each of two cores"
    )
    return parser.parse_args().quick is True


def best_seconds(
    *functions: Callable[[], object],
    budget: float = 4.0,
    least: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Return the shortest time of each function, in seconds.

    They take turns, so that other work on the machine affects all of them. The first turn only warms up.

    Args:
        functions: to be timed.
        budget: seconds for all turns together.
        least: smallest number of turns, however long they take.
        clock: time.process_time (CPU time) for work in one thread, as other work on the machine affects it less.
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
        bench, case: names of the benchmark and of the case.
        seconds: of our code.
        reference_seconds: of a plain reference in the same run; `ratio` is theirs / ours, above 1 if ours is faster.
        floor_seconds: of the work that cannot be avoided; `floor_ratio` is ours / floor, 1 at best.
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
