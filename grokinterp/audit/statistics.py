"""When things happened, run against run: ratios, orders and trends of epochs, seed by seed.

The interval of their median, from which a verdict follows: grokinterp/confidence_interval.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import combinations, permutations

import pandas as pd
from scipy.stats import spearmanr

from grokinterp.audit.finding import UNKNOWN, Bounds, Value
from grokinterp.grokking import Crossing
from grokinterp.store.lead_times import RULES, NearExtreme, first_met
from grokinterp.store.run import Run

When = Callable[[Run], Crossing]
Runs = Mapping[int, Mapping[str, Run]]
"""By seed and label."""


def generalised(run: Run) -> Crossing:
    """Test accuracy ≥ 0.995, first."""
    return run.grokking.generalised


def memorised(run: Run) -> Crossing:
    """Train accuracy ≥ 0.99, first."""
    return run.grokking.memorised


def rule_met(probe: str, name: str) -> When:
    """When a probe's value first meets its rule of grokinterp.store.lead_times."""
    rule = RULES[probe, name]

    def when(run: Run) -> Crossing:
        values = probed(run, probe, name)
        # What a run's extreme would have been is not known of one that ended early.
        early = isinstance(rule, NearExtreme) and run.epoch < run.config.train.epochs
        return Crossing(0, None) if values.empty or early else first_met(values, rule)

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


def movement(run: Run, step: int, value: str = "relative_distance") -> pd.Series:
    """How far the NTK moved over `step` epochs, by epoch t, ascending, where it was measured: by
    the probe `ntk:other=s` at t, s = t - step. By size, or by direction (`kernel_distance`)."""
    found = run.probes
    since = found["probe"].str.extract(r"^ntk:other=(\d+)$", expand=False).astype(float)
    chosen = found[(found["epoch"] - since == step) & (found["name"] == value)]
    return chosen.set_index("epoch")["value"].dropna().sort_index()


def ratios(runs: Runs, later: str, earlier: str, when: When = generalised) -> dict[int, Value]:
    """Epoch of `later` over epoch of `earlier`, for each seed that has both.

    Where an event was not seen within N epochs, the ratio has bounds.
    """
    found: dict[int, Value] = {}
    for seed, of_label in with_all(runs, (later, earlier)).items():
        a, b = when(of_label[later]), when(of_label[earlier])
        if a.by is not None and b.by is not None:
            found[seed] = a.by / b.by
        else:
            low = a.after / b.by if b.by is not None else 0.0
            high = a.by / b.after if a.by is not None and b.after else math.inf
            found[seed] = Bounds(low, high)
    return found


def trends(runs: Runs, settings: Mapping[str, float], when: When = generalised) -> dict[int, Value]:
    """Kendall's τ between a setting and an epoch, for each seed that has every label.

    -1: a larger setting is always earlier. Bounds where an event was not seen in two of the runs.
    """
    return {
        seed: kendall([*settings.values()], [when(of[label]) for label in settings])
        for seed, of in with_all(runs, settings).items()
    }


def agreements(
    runs: Runs, labels: Sequence[str], first: When, second: When = generalised
) -> dict[int, Value]:
    """Kendall's τ between the orders of two events over the labels, for each seed that has all."""
    return {
        seed: kendall(*([when(of[label]) for label in labels] for when in (first, second)))
        for seed, of in with_all(runs, labels).items()
    }


def with_all(runs: Runs, labels: Collection[str]) -> dict[int, Mapping[str, Run]]:
    """The seeds that have all of these runs."""
    return {seed: of for seed, of in runs.items() if all(label in of for label in labels)}


def not_within(runs: Runs, label: str, epochs: int) -> dict[int, Value]:
    """1 where a seed's run of a label has not generalised within so many epochs, 0 where it has,
    and bounds where it has not run for so long."""
    found: dict[int, Value] = {}
    for seed, of_label in with_all(runs, (label,)).items():
        crossing = generalised(of_label[label])
        if crossing.by is not None:
            found[seed] = float(crossing.by > epochs)
        else:
            found[seed] = 1.0 if crossing.after >= epochs else Bounds(0.0, 1.0)
    return found


def mean_between(run: Run, probe: str, name: str, begin: int, end: int | None = None) -> float:
    """The mean of a probe's values recorded from an epoch until before another, or to the end;
    NaN of none."""
    values = probed(run, probe, name)
    values = values[values.index >= begin]
    return float((values if end is None else values[values.index < end]).mean())


def mean_while(
    run: Run, probe: str, name: str, begin: Crossing, end: Crossing | None = None
) -> Value:
    """The mean of a probe's values recorded from one event until before another, or to the run's
    end. Unknown where it was recorded and not then; NaN where it was never."""
    if probed(run, probe, name).empty:
        return math.nan
    if begin.by is None:
        return UNKNOWN
    mean = mean_between(run, probe, name, begin.by, None if end is None else end.by)
    return UNKNOWN if math.isnan(mean) else mean


def difference(first: Value, second: Value) -> Value:
    """The one less the other; unknown where one is."""
    both = (first, second)
    return UNKNOWN if UNKNOWN in both else first - second  # type: ignore[operator]


def quotient(first: Value, second: Value) -> Value:
    """The one over the other, of values that are not negative; bounds where one has them.

    >>> quotient(6.0, Bounds(2.0, 3.0)), quotient(Bounds(6.0, math.inf), 2.0)
    (Bounds(low=2.0, high=3.0), Bounds(low=3.0, high=inf))
    """
    (a, b), (c, d) = (
        one if isinstance(one, Bounds) else Bounds(one, one) for one in (first, second)
    )
    low, high = (0.0 if math.isinf(d) else a / d), (b / c if c else math.inf)
    return low if low == high else Bounds(low, high)


def least(values: Sequence[Value]) -> Value:
    """The least of them; unknown where one is."""
    return UNKNOWN if UNKNOWN in values else min(values)  # type: ignore[type-var]


def while_memorising(runs: Iterable[Run]) -> tuple[int, int] | None:
    """The epochs from when all of these runs know the train pairs until before one of them
    generalises or ends; None where one never knows them."""
    runs = list(runs)
    known = [memorised(run).by for run in runs]
    general = [one.after + 1 if one.by is None else one.by for one in map(generalised, runs)]
    if None in known:
        return None
    return max(by for by in known if by is not None), min(general)


def kendall(first: Sequence[Crossing | float], second: Sequence[Crossing | float]) -> Value:
    """Kendall's τ between two orders of the same things: of all pairs, the share in the same order
    less the share in opposite ones. A pair that is equal in one counts for neither, and one whose
    order is not known for either: then τ has bounds.

    >>> kendall([1.0, 2.0, 3.0], [10.0, 30.0, 20.0])
    0.3333333333333333
    >>> kendall([1.0, 2.0, 3.0], [Crossing(0, 10), Crossing(90, None), Crossing(90, None)])
    Bounds(low=0.3333333333333333, high=1.0)
    """
    known, unknown, pairs = 0, 0, list(combinations(range(len(first)), 2))
    for i, j in pairs:
        one, other = _order(first[i], first[j]), _order(second[i], second[j])
        if one is None or other is None:
            unknown += 1
        else:
            known += one * other
    low, high = ((known + sign * unknown) / len(pairs) for sign in (-1, 1))
    return low if low == high else Bounds(low, high)


def _order(one: Crossing | float, other: Crossing | float) -> int | None:
    """-1 where the first is less, 0 where they are equal, 1 where it is more; None if not known.

    An event that was not seen within N epochs comes after one that was.
    """
    if isinstance(one, Crossing) and isinstance(other, Crossing):
        if one.by is None and other.by is None:
            return None
        if other.by is None:
            return -1 if one.by <= other.after else None  # type: ignore[operator]
        if one.by is None:
            return 1 if other.by <= one.after else None
        one, other = one.by, other.by
    return (one > other) - (one < other)  # type: ignore[operator]


def spearman(values: Sequence[Value], events: Sequence[Crossing]) -> Value:
    """Spearman's ρ between values and when events happened. Bounds where more than one was not
    seen: over all orders of these; unknown where one was not looked for as long as others took."""
    seen = [i for i, event in enumerate(events) if event.by is not None]
    others = [i for i, event in enumerate(events) if event.by is None]
    latest = max((events[i].by or 0 for i in seen), default=0)
    if any(value != value for value in values):
        return math.nan
    if UNKNOWN in values or any(events[i].after < latest for i in others):
        return Bounds(-1.0, 1.0)
    found = []
    for order in permutations(others):
        place = {i: float(events[i].by or 0) for i in seen}
        place |= {i: latest + 1.0 + turn for turn, i in enumerate(order)}
        found.append(float(spearmanr(values, [place[i] for i in range(len(events))]).statistic))
    low, high = min(found), max(found)
    return low if low == high else Bounds(low, high)
