"""Runs of an experiment as the figures over epochs take them: by label, a table for each seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from grokinterp.audit.statistics import probed
from grokinterp.figures.evolution import over_epochs
from grokinterp.figures.strip import Beyond, Number, strip
from grokinterp.reproduction.experiment import Done
from grokinterp.store.run import Run

SMOOTHED = 250
"""Epochs that running medians reach over, where the spikes of many seeds would cover them: a spike
takes a few tens."""


def by_label(done: Done) -> dict[str, list[Run]]:
    """The runs under each label, in the order of the plan."""
    found: dict[str, list[Run]] = {}
    for planned, run in done:
        found.setdefault(planned.label, []).append(run)
    return found


def _generalised_by(done: Done) -> dict[str, list[int | None]]:
    """When each run generalised, by label; None where it did not within its epochs."""
    return {
        label: [run.grokking.generalised.by for run in runs]
        for label, runs in by_label(done).items()
    }


def generalising_epochs(done: Done) -> dict[str, list[Number]]:
    """By label, for the figure of them."""
    found: dict[str, list[Number]] = {}
    for planned, run in done:
        crossing = run.grokking.generalised
        seen = Beyond(crossing.after) if crossing.by is None else crossing.by
        found.setdefault(planned.label, []).append(seen)
    return found


def column_figure(
    done: Done, column: str, quantity: str, unit: str = "", title: str = "", **options: Any
) -> Figure | None:
    """A column of the runs' metrics over epochs, and when each run generalised, by label.

    None where no run has a value.
    """
    there = [(planned, run) for planned, run in done if run.metrics.get(column) is not None]
    done = [(planned, run) for planned, run in there if run.metrics[column].notna().any()]
    if not done:
        return None
    tables = {
        label: [run.metrics[["epoch", column]].dropna() for run in runs]
        for label, runs in by_label(done).items()
    }
    return over_epochs(
        tables,
        quantity,
        unit,
        column=column,
        generalised=_generalised_by(done),
        title=title,
        **options,
    )


def accuracy_figure(done: Done, title: str) -> Figure | None:
    """Test accuracy over epochs, and when each run generalised, by label."""
    return column_figure(done, "test_accuracy", "test accuracy", title=title, window=SMOOTHED)


def overview_figure(done: Done, title: str, reference: Mapping[str, int] | None = None) -> Figure:
    """When each run generalised, by label; beside the paper's epochs, where there are any."""
    return strip(
        {"here": generalising_epochs(done)},
        "generalisation epoch",
        log=True,
        reference=reference,
        reference_name="paper: mean curve",
        title=title,
    )


def probe_figure(
    done: Done,
    probe: str,
    name: str,
    quantity: str,
    unit: str = "",
    title: str = "",
    **options: Any,
) -> Figure | None:
    """A probe's value over the epochs that it was computed at, by label.

    None where no run has a value.
    """
    return series_figure(
        done, lambda run: probed(run, probe, name), quantity, unit, title, **options
    )


def series_figure(
    done: Done,
    series: Callable[[Run], pd.Series],
    quantity: str,
    unit: str = "",
    title: str = "",
    **options: Any,
) -> Figure | None:
    """What a function gives of each run, by epoch, by label. None where no run has a value."""
    values = [(planned, run, series(run)) for planned, run in done]
    values = [one for one in values if len(one[2])]
    if not values:
        return None
    tables: dict[str, list[pd.DataFrame]] = {}
    for planned, _, of_run in values:
        table = of_run.rename("value").reset_index()
        tables.setdefault(planned.label, []).append(table)
    return over_epochs(
        tables,
        quantity,
        unit,
        column="value",
        generalised=_generalised_by([(planned, run) for planned, run, _ in values]),
        title=title,
        **options,
    )
