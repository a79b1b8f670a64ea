"""Runs of an experiment as the figures over epochs take them: by label, a table for each seed."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from grokinterp.experiments.experiment import Done
from grokinterp.figures.evolution import over_epochs
from grokinterp.runs import Run


def by_label(done: Done) -> dict[str, list[Run]]:
    """The runs under each label, in the order of the plan."""
    found: dict[str, list[Run]] = {}
    for planned, run in done:
        found.setdefault(planned.label, []).append(run)
    return found


def generalised(done: Done) -> dict[str, list[int | None]]:
    """When each run generalised, by label; None where it did not within its epochs."""
    return {
        label: [run.grokking.generalised.by for run in runs]
        for label, runs in by_label(done).items()
    }


def column_figure(
    done: Done, column: str, quantity: str, unit: str = "", title: str = "", **options: bool
) -> Figure:
    """A column of the runs' metrics over epochs, and when each run generalised, by label."""
    tables = {
        label: [run.metrics[["epoch", column]].dropna() for run in runs]
        for label, runs in by_label(done).items()
    }
    return over_epochs(
        tables, quantity, unit, column=column, generalised=generalised(done), title=title, **options
    )


def accuracy_figure(done: Done, title: str) -> Figure:
    """Test accuracy over epochs, and when each run generalised, by label."""
    return column_figure(done, "test_accuracy", "test accuracy", title=title)


def probe_figure(
    done: Done,
    probe: str,
    name: str,
    quantity: str,
    unit: str = "",
    title: str = "",
    **options: bool,
) -> Figure:
    """A probe's value over the epochs that it was computed at, by label."""
    tables: dict[str, list[pd.DataFrame]] = {}
    for label, runs in by_label(done).items():
        for run in runs:
            found = run.probes
            chosen = found[(found["probe"] == probe) & (found["name"] == name)]
            tables.setdefault(label, []).append(chosen[["epoch", "value"]].sort_values("epoch"))
    return over_epochs(
        tables,
        quantity,
        unit,
        column="value",
        generalised=generalised(done),
        title=title,
        **options,
    )
