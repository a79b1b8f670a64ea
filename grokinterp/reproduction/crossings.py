"""Epochs of events, run by run: a table of them, and one event against generalising."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from grokinterp.audit.statistics import When, generalised
from grokinterp.figures.scatter import Point, scatter
from grokinterp.reproduction.experiment import Done


def crossing_table(done: Done, events: Mapping[str, When]) -> pd.DataFrame:
    """A row for each run, a column for each event."""
    return pd.DataFrame(
        [
            {"label": planned.label, "seed": run.config.seed}
            | {name: str(when(run)) for name, when in events.items()}
            for planned, run in done
        ]
    )


def crossing_figure(done: Done, events: Mapping[str, When], quantity: str, title: str) -> Figure:
    """Each event's epoch over the generalisation epoch, a panel for each event."""
    panels: dict[str, dict[str, list[Point]]] = {}
    for name, when in events.items():
        points = panels.setdefault(name, {})
        for planned, run in done:
            x, y = generalised(run), when(run)
            point = Point(x.by or x.after, y.by or y.after, x.by is None or y.by is None)
            points.setdefault(planned.label, []).append(point)
    return scatter(panels, "generalisation epoch", quantity, title=title)
