"""When things happened, run against run: ratios, orders and trends of epochs, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import pandas as pd
from scipy.stats import kendalltau

from grokinterp.audit.claim import Bounds, Done, Value
from grokinterp.grokking import Crossing
from grokinterp.leads import RULES, first_met
from grokinterp.runs import Run

When = Callable[[Run], Crossing]
Runs = dict[int, dict[str, Run]]
"""By seed and label."""


def by_seed(done: Done) -> Runs:
    """The runs of each seed, by label."""
    found: Runs = {}
    for planned, run in done:
        found.setdefault(run.config.seed, {})[planned.label] = run
    return found


def generalised(run: Run) -> Crossing:
    """Test accuracy ≥ 0.995, first."""
    return run.grokking.generalised


def memorised(run: Run) -> Crossing:
    """Train accuracy ≥ 0.99, first."""
    return run.grokking.memorised


def rule_met(probe: str, name: str) -> When:
    """When a probe's value first meets its rule of grokinterp.leads."""
    rule = RULES[probe, name]

    def when(run: Run) -> Crossing:
        values = probed(run, probe, name)
        return Crossing(0, None) if values.empty else first_met(values, rule)

    return when


def probed(run: Run, probe: str, name: str) -> pd.Series:
    """A probe's value by epoch, ascending, where there is one."""
    column = f"{probe}.{name}"
    table = run.metrics
    if column not in table:
        found = run.probes
        chosen = found[(found["probe"] == probe) & (found["name"] == name)]
        table = chosen.rename(columns={"value": column})
    return table.set_index("epoch")[column].dropna().sort_index()


def ratios(runs: Runs, later: str, earlier: str, when: When = generalised) -> list[Value]:
    """Epoch of `later` over epoch of `earlier`, for each seed that has both.

    Where an event was not seen within N epochs, the ratio has bounds.
    """
    found: list[Value] = []
    for of_label in runs.values():
        if later in of_label and earlier in of_label:
            a, b = when(of_label[later]), when(of_label[earlier])
            if a.by is not None and b.by is not None:
                found.append(a.by / b.by)
            else:
                low = a.after / b.by if b.by is not None else 0.0
                high = a.by / b.after if a.by is not None and b.after else math.inf
                found.append(Bounds(low, high))
    return found


def trends(runs: Runs, settings: Mapping[str, float], when: When = generalised) -> list[Value]:
    """Kendall's τ between a setting and an epoch, for each seed, over the labels that all have.

    -1: a larger setting is always earlier. What was not seen comes after everything that was.
    None for any seed where there are fewer than three labels.
    """
    labels = there(runs, settings)
    if len(labels) < 3:
        return []
    values = [settings[label] for label in labels]
    return [
        _known(kendall(values, places([when(of_label[label]) for label in labels])))
        for of_label in runs.values()
    ]


def there(runs: Runs, labels: Iterable[str]) -> list[str]:
    """The labels that every seed has."""
    return [label for label in labels if all(label in of_label for of_label in runs.values())]


def over(runs: Runs, labels: Collection[str]) -> str:
    """Which labels are compared, to be said where it is not all of them."""
    found = there(runs, labels) if runs else list(labels)
    return "" if len(found) == len(labels) else f" ({'; '.join(found) or 'of none'} so far)"


def agreements(
    runs: Runs, labels: Sequence[str], first: When, second: When = generalised
) -> list[Value]:
    """Kendall's τ between the orders of two events over the labels, for each seed that has all."""
    found: list[Value] = []
    for of_label in runs.values():
        if all(label in of_label for label in labels):
            orders = [
                places([when(of_label[label]) for label in labels]) for when in (first, second)
            ]
            found.append(_known(kendall(*orders)))
    return found


def _known(tau: float) -> Value:
    return Bounds(-1.0, 1.0) if math.isnan(tau) else tau


def not_within(runs: Runs, label: str, epochs: int) -> list[bool | None]:
    """Whether each seed's run of a label has not generalised within so many epochs."""
    found: list[bool | None] = []
    for of_label in runs.values():
        if label in of_label:
            crossing = generalised(of_label[label])
            if crossing.by is not None:
                found.append(crossing.by > epochs)
            else:
                found.append(True if crossing.after >= epochs else None)
    return found


def mean_between(run: Run, probe: str, name: str, first: int, last: int | None) -> float:
    """The mean of a probe's values recorded in these epochs, or to the end; NaN of none."""
    return float(probed(run, probe, name).loc[first:last].mean())


def mean_while(
    run: Run, probe: str, name: str, begin: Crossing, end: Crossing | None = None
) -> float:
    """The mean of a probe's values recorded from one event to another, or to the run's end."""
    if begin.by is None:
        return math.nan
    return mean_between(run, probe, name, begin.by, None if end is None else end.by)


def while_memorising(runs: Iterable[Run]) -> tuple[int, int] | None:
    """The epochs from when all of them know the train pairs until the first generalises.

    None where one never knows them.
    """
    runs = list(runs)
    known = [memorised(run).by for run in runs]
    general = [one.after if one.by is None else one.by for one in map(generalised, runs)]
    if None in known:
        return None
    return max(by for by in known if by is not None), min(general)


def places(crossings: Sequence[Crossing]) -> list[float]:
    """The epochs, to be put in order: infinite for what was not seen within the latest of the
    others, NaN for what was not looked for so long."""
    latest = max((one.by for one in crossings if one.by is not None), default=0)
    return [
        float(one.by) if one.by is not None else math.inf if one.after >= latest else math.nan
        for one in crossings
    ]


def kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's τ between two orders of the same things; NaN where a place is not known."""
    if any(map(math.isnan, (*first, *second))):
        return math.nan
    return float(kendalltau(pd.Series(first).rank(), pd.Series(second).rank()).statistic)
