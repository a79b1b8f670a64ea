"""When things happened, run against run: ratios, orders and trends of epochs, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import pandas as pd
from scipy.stats import kendalltau

from grokinterp.audit.finding import Bounds, Value
from grokinterp.grokking import Crossing
from grokinterp.leads import RULES, first_met
from grokinterp.runs import Run

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


def movement(run: Run, step: int) -> pd.Series:
    """‖K_t - K_s‖/‖K_s‖ of the NTK over `step` epochs, s = t - step, by epoch t, ascending, where
    it was measured: by the probe `ntk:other=s` at t."""
    found = run.probes
    since = found["probe"].str.extract(r"^ntk:other=(\d+)$", expand=False).astype(float)
    chosen = found[(found["epoch"] - since == step) & (found["name"] == "relative_distance")]
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

    -1: a larger setting is always earlier. What was not seen comes after everything that was.
    """
    return {
        seed: _known(kendall([*settings.values()], places([when(of[one]) for one in settings])))
        for seed, of in with_all(runs, settings).items()
    }


def agreements(
    runs: Runs, labels: Sequence[str], first: When, second: When = generalised
) -> dict[int, Value]:
    """Kendall's τ between the orders of two events over the labels, for each seed that has all."""
    return {
        seed: _known(
            kendall(*(places([when(of[label]) for label in labels]) for when in (first, second)))
        )
        for seed, of in with_all(runs, labels).items()
    }


def with_all(runs: Runs, labels: Collection[str]) -> dict[int, Mapping[str, Run]]:
    """The seeds that have all of these runs."""
    return {seed: of for seed, of in runs.items() if all(label in of for label in labels)}


def _known(tau: float) -> Value:
    return Bounds(-1.0, 1.0) if math.isnan(tau) else tau


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
) -> float:
    """The mean of a probe's values recorded from one event until before another, or to the run's
    end."""
    if begin.by is None:
        return math.nan
    return mean_between(run, probe, name, begin.by, None if end is None else end.by)


def while_memorising(runs: Iterable[Run]) -> tuple[int, int] | None:
    """The epochs from when all of these runs know the train pairs until before one of them
    generalises or ends; None where one never knows them."""
    runs = list(runs)
    known = [memorised(run).by for run in runs]
    general = [one.after + 1 if one.by is None else one.by for one in map(generalised, runs)]
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
