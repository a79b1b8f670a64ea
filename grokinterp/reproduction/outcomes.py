"""When runs generalised, for experiments that ask for nothing else: their figures and tables."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from grokinterp.figures.strip import strip
from grokinterp.reproduction.curves import accuracy_figure, generalising_epochs, overview_figure
from grokinterp.reproduction.experiment import Done, Results
from grokinterp.reproduction.tables import runs_table, seeds_table


def outcomes(done: Done, title: str) -> Results:
    """Test accuracy over epochs, and when each seed generalised, by label."""
    figures = {
        "accuracy": accuracy_figure(done, f"{title}: test accuracy"),
        "overview": overview_figure(done, f"{title}: when each seed generalised"),
    }
    return Results(figures, _tables(done))


def grouped_outcomes(done: Done, groups: Mapping[str, Mapping[str, str]], title: str) -> Results:
    """When each seed generalised, in groups of labels.

    Args:
        done: The runs.
        groups: What a group is called; in it, the label of each row, by the row's name. Rows
            without a run are left out.
        title: Of the figure.
    """
    epochs = generalising_epochs(done)
    series = {
        group: {row: epochs[label] for row, label in rows.items() if label in epochs}
        for group, rows in groups.items()
    }
    figure = strip(
        {group: rows for group, rows in series.items() if rows},
        "generalisation epoch",
        log=True,
        title=f"{title}: when each seed generalised",
    )
    return Results({"overview": figure}, _tables(done))


def _tables(done: Done) -> dict[str, pd.DataFrame]:
    return {"seeds": seeds_table(done), "runs": runs_table(done)}
