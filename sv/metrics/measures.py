"""The table of measures: a new measure is one row of `MEASURES`.

Measurement, intervals, results.json, results.md, printed lines, comparisons and reports follow from the rows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sv.metrics.cllr import act_dcf, bayes_threshold, cllr, one_error_cllr
from sv.metrics.error_rates import (
    SortedScores,
    check_prior,
    eer,
    eer_threshold,
    min_dcf,
    min_dcf_threshold,
    one_error_dcf,
    one_error_eer,
)
from sv.metrics.intervals import Interval, cost_interval, min_dcf_interval, percent_interval
from sv.metrics.rocch import eer_rocch, min_cllr

Entry = dict[str, Any]  # of results.json: numbers of a list by measure, and where they come from


@dataclass(frozen=True)
class Measure:
    """One row of the table.

    Attributes:
        key: in results.json.
        title: for people.
        value: function of `SortedScores`, and of a prior if `by_prior`.
        threshold: the same for the score from which trials are accepted; None: there is no such score.
        by_prior: the measure has a value for each p_target.
        needs_llr: it is measured on log-likelihood ratios alone.
        shown: "always", "llr" (beside log-likelihood ratios alone) or "never"; results.json has it in any case.
        unit: "%".
        decimals: number of decimals that are printed.
        interval: its ends, of value, deviation and number of speakers; None: it has no interval and is not compared.
        one_error: like `value`, for what one more error of each kind adds; goes with `interval`.
    """

    key: str
    title: str
    value: Callable[..., float]
    threshold: Callable[..., float] | None = None
    by_prior: bool = False
    needs_llr: bool = False
    shown: Literal["always", "llr", "never"] = "always"
    unit: str = ""
    decimals: int = 3
    interval: Callable[[float, float, float], Interval] | None = None
    one_error: Callable[..., float] | None = None


# fmt: off
MEASURES = (
    Measure("eer", "EER", eer, eer_threshold, unit="%",
            interval=percent_interval, one_error=one_error_eer),
    Measure("eer_rocch", "EER on the convex hull", eer_rocch, unit="%", shown="never"),
    Measure("min_dcf", "minDCF", min_dcf, min_dcf_threshold, by_prior=True,
            interval=min_dcf_interval, one_error=one_error_dcf),
    Measure("act_dcf", "actDCF", act_dcf, lambda scores, p_target: bayes_threshold(p_target), by_prior=True,
            needs_llr=True, interval=cost_interval, one_error=one_error_dcf),
    Measure("cllr", "Cllr", cllr, needs_llr=True, interval=cost_interval, one_error=one_error_cllr),
    Measure("min_cllr", "minCllr", min_cllr, shown="llr"),
)
# fmt: on


@dataclass(frozen=True)
class Column:
    """A measure, at a prior if it has a value for each: a column of a table.

    Attributes:
        measure: the row of `MEASURES`.
        p_target: the prior; None if the measure needs none.
    """

    measure: Measure
    p_target: float | None = None

    @property
    def title(self) -> str:
        """Title of a table's column: "EER (%)", "minDCF (p_target 0.01)"."""
        about = [self.measure.unit] * bool(self.measure.unit)
        about += [f"p_target {self.p_target:g}"] if self.p_target is not None else []
        return self.measure.title + (f" ({', '.join(about)})" if about else "")

    def value(self, scores: SortedScores) -> float:
        """Measure scores."""
        return self._call(self.measure.value, scores)

    def threshold(self, scores: SortedScores) -> float:
        """Return the score from which the measure, which has one, accepts trials."""
        assert self.measure.threshold is not None
        return self._call(self.measure.threshold, scores)

    def one_error(self, scores: SortedScores) -> float:
        """Return what one more error of each kind adds to the measure, which has an interval."""
        assert self.measure.one_error is not None
        return self._call(self.measure.one_error, scores)

    def _call(self, function: Callable[..., float], scores: SortedScores) -> float:
        return function(scores) if self.p_target is None else function(scores, self.p_target)

    def read(self, entry: Entry, suffix: str = "") -> Any:
        """Look up what `to_json` wrote for this column; None if there is nothing."""
        found = entry.get(self.measure.key + suffix)
        return found if self.p_target is None else (found or {}).get(f"{self.p_target:g}")

    def text(self, value: float | None, sign: str = "") -> str:
        """Return a value as it is printed, with its sign if `sign` is "+"; nothing for None."""
        return "" if value is None else f"{value:{sign}.{self.measure.decimals}f}"

    def text_with_interval(self, entry: Entry) -> str:
        """Return an entry's value as it is printed, with its interval in brackets if it has one."""
        interval = self.read(entry.get("interval", {}))
        decimals = self.measure.decimals - (self.measure.unit == "%")
        bracket = f" [{interval[0]:.{decimals}f}, {interval[1]:.{decimals}f}]" if interval else ""
        return self.text(self.read(entry)) + bracket


def columns_of(p_targets: Sequence[float] = (0.01, 0.05), *, llr: bool = False) -> list[Column]:
    """Return all columns that can be measured.

    Args:
        p_targets: priors.
        llr: the scores are natural logarithms of likelihood ratios.

    Raises:
        UserError: a prior out of its range.
    """
    for p_target in p_targets:
        check_prior(p_target)
    return [
        Column(measure, p_target)
        for measure in MEASURES
        if llr or not measure.needs_llr
        for p_target in (p_targets if measure.by_prior else [None])
    ]


def shown_columns(columns: Iterable[Column]) -> list[Column]:
    """Return the columns that tables and printed lines have."""
    columns = list(columns)
    llr = any(column.measure.needs_llr for column in columns)
    return [column for column in columns if column.measure.shown == "always" or (llr and column.measure.shown == "llr")]


def columns_in(entries: Sequence[Entry]) -> list[Column]:
    """Return the columns to show of entries of results.json: those that some entry has."""
    found = []
    for measure in MEASURES:
        if measure.by_prior:
            priors = {float(p) for entry in entries for p in entry.get(measure.key) or {}}
            found += [Column(measure, p_target) for p_target in sorted(priors)]
        elif any(entry.get(measure.key) is not None for entry in entries):
            found.append(Column(measure))
    return shown_columns(found)


def measure(scores: SortedScores, columns: Sequence[Column]) -> Entry:
    """Measure the scores of a list: values, thresholds and counts of trials, as in results.json."""
    thresholds = {column: column.threshold(scores) for column in columns if column.measure.threshold}
    return {
        **to_json({column: column.value(scores) for column in columns}),
        **to_json(thresholds, "_threshold"),
        "num_target": int(scores.target.total),
        "num_nontarget": int(scores.nontarget.total),
    }


def to_json(values: Mapping[Column, Any], suffix: str = "") -> Entry:
    """Return values by the keys of their measures, those at priors in one more level: {"min_dcf": {"0.01": 0.085}}."""
    tree: Entry = {}
    for column, value in values.items():
        key = column.measure.key + suffix
        if column.p_target is None:
            tree[key] = value
        else:
            tree.setdefault(key, {})
            tree[key] |= {f"{column.p_target:g}": value} if value is not None else {}
    return tree
