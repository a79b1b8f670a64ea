"""Runs in a list, as `train` and `Store.select` give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex, overload

import pandas as pd
from markupsafe import Markup

from grokinterp.config import RunConfig
from grokinterp.jupyter import card, shown, table
from grokinterp.store.files import StoreError
from grokinterp.store.run import Run
from grokinterp.store.run_names import TASK, cell, labels, varying

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MOST_SHOWN = 20
"""Rows of a table of runs that Jupyter shows: each reads its run's metrics."""


class Runs(list[Run]):
    """Runs in a list that draws itself, as `train` and `Store.select` give them."""

    @overload
    def __getitem__(self, at: SupportsIndex) -> Run: ...
    @overload
    def __getitem__(self, at: slice) -> Runs: ...
    def __getitem__(self, at: SupportsIndex | slice) -> Run | Runs:
        return Runs(super().__getitem__(at)) if isinstance(at, slice) else super().__getitem__(at)

    def plot(self, name: str = "test_accuracy") -> Figure:
        """A recorded scalar of all of them over epochs, and when each generalised.

        Runs that differ in their seeds alone have one colour: thin lines, their median bold.

        Args:
            name: What `Run.scalar` takes.

        Raises:
            ValueError: There is no run, or one holds no such scalar.
        """
        from grokinterp.figures.evolution import over_epochs

        if not self:
            raise ValueError("there is no run to plot; train or select one")
        configs = [run.config for run in self]
        names = labels(configs)
        tables: dict[str, list[pd.DataFrame]] = {}
        generalised: dict[str, list[int | None]] = {}
        for run, label in zip(self, names, strict=True):
            tables.setdefault(label, []).append(run.scalar(name))
            generalised.setdefault(label, []).append(run.grokking.generalised.by)
        return over_epochs(tables, name.replace("_", " "), column=name, generalised=generalised)

    @shown
    def _repr_html_(self) -> Markup:
        left = len(self) - MOST_SHOWN
        more = f"; {left:,} more are not shown" if left > 0 else ""
        steps = ['runs.plot("test_accuracy")', "runs[0]"] if self else []
        return card(f"{len(self):,} runs{more}", (), rows_of(self), steps)


def rows_of(runs: Runs) -> Markup | None:
    """A row for each of the first; what differs is named where it is not at its default."""
    rows, configs, default = [], [], RunConfig().flat()
    for run in runs[:MOST_SHOWN]:
        row = dict.fromkeys(("run", "name", "task", "status", "memorised", "generalised"), "?")
        row["run"] = run.id[:8]
        config = None
        try:
            config = run.config
            row |= {"name": config.name, "task": str(config.task)}
            times = run.grokking
            row |= {"memorised": str(times.memorised), "generalised": str(times.generalised)}
            row["status"] = f"{run.state} at {run.epoch:,}"
        except StoreError as error:
            row["status"] = str(error)
        rows.append(row)
        configs.append(config)
    differing = varying([one for one in configs if one is not None])
    for row, config in zip(rows, configs, strict=True):
        flat = default if config is None else config.flat()
        changed = [name for name in differing if flat.get(name) != default.get(name)]
        told = [f" · {name} {cell(flat.get(name))}" for name in changed if name not in TASK]
        row["name"] += "".join(told)
    return table(rows) if rows else None
