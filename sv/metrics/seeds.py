"""Systems that differ in their seed alone: NAME-seed1, NAME-seed2, ... are seeds of NAME, as the recipes name them."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from sv.metrics.measures import Entry, columns_in
from sv.metrics.results import Results, list_name, markdown_rows, plain_backends, without_seed


def seed_groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Return title -> names of the systems that differ in their seed alone, in the order of the first of each.

    The title of a system without others is its name.
    """
    groups: dict[tuple[str, bool], list[str]] = {}
    for name in names:
        groups.setdefault((without_seed(name), without_seed(name) != name), []).append(name)
    return {
        found[0] if len(found) == 1 else f"{title} ({len(found)} seeds)": found for (title, _), found in groups.items()
    }


def eer_table(systems: Mapping[str, Results]) -> str:
    """Return a table of the EERs, a row for each system or group of seeds, a column for each list and back-end.

    One seed has its confidence interval, several have mean ± standard deviation. Calibrated copies are left out: those
    of one network rank the trials alike; those of pooled folds do not, and stand in the table of all measures.
    """
    columns = list(
        dict.fromkeys(
            (trials, backend)
            for results in systems.values()
            for trials, entries in results.items()
            for backend in plain_backends(entries)
        )
    )
    rows = []
    for title, names in seed_groups(list(systems)).items():
        cells = [[systems[name].get(trials, {}).get(backend) for name in names] for trials, backend in columns]
        rows.append([title, *(_eers([entry for entry in seeds if entry], len(names)) for seeds in cells)])
    heads = [f"{list_name(trials)}, {backend}" for trials, backend in columns]
    return markdown_rows(["EER (%)", *heads], rows, 1)


def _eers(entries: Sequence[Entry], wanted: int) -> str:
    """Return the cell of a list and back-end; "" unless all seeds have it."""
    if len(entries) < wanted:
        return ""
    eers = [float(entry["eer"]) for entry in entries]
    if len(eers) > 1:
        return f"{fmean(eers):.2f} ± {stdev(eers):.2f}"
    ends = entries[0].get("interval", {}).get("eer")
    return f"{eers[0]:.2f}" + (f" [{ends[0]:.1f}, {ends[1]:.1f}]" if ends else "")


def means_table(systems: Mapping[str, Results]) -> str:
    """Return a table with mean and standard deviation over the seeds of each system that has several; "" if none has.

    A list and back-end that not all seeds have is left out.
    """
    found = {
        title: [systems[name] for name in names]
        for title, names in seed_groups(list(systems)).items()
        if len(names) > 1
    }
    entries = {
        (title, trials, backend): [seed[trials][backend] for seed in seeds]
        for title, seeds in found.items()
        for trials, backends in seeds[0].items()
        for backend in backends
        if all(backend in seed.get(trials, {}) for seed in seeds)
    }
    columns = columns_in([entry for seeds in entries.values() for entry in seeds])
    rows = []
    for (title, trials, backend), seeds in entries.items():
        values = [[column.read(entry) for entry in seeds] for column in columns]
        cells = [
            "" if None in of_seeds else f"{column.text(fmean(of_seeds))} ± {column.text(stdev(of_seeds))}"
            for column, of_seeds in zip(columns, values, strict=True)
        ]
        rows.append([title, list_name(trials), backend, *cells])
    if not rows:
        return ""
    return markdown_rows(["system", "trials", "back-end", *(column.title for column in columns)], rows, 3)
