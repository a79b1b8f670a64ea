"""Results to files: figures as PNG and PDF, tables as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from grokinterp.reproduction.cost import hours_and_minutes, training_seconds
from grokinterp.reproduction.experiment import Results
from grokinterp.reproduction.plan import Plan


def save(results: Results, folder: Path) -> None:
    """Write a folder's figures and tables, in place of those that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in results.drawn.items():
        figure.savefig(folder / f"{name}.png", dpi=150)
        # Without the date, so that the same numbers give the same file.
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
    for name, table in results.tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)


def plan_table(plans: Mapping[str, Plan]) -> tuple[pd.DataFrame, int, float]:
    """What training would take: a row for each experiment, and a last one for all together.

    A run that several experiments ask for, and one that others are forked from, counts in the
    first of them. Seconds are measured on this machine.

    Returns:
        The table, how many runs are to be trained or probed, and about how many seconds it takes.
    """
    counts = [(len(plan.planned), sum(plan.whole)) for plan in plans.values()]
    work: list[tuple[int, int, float]] = []
    counted: set[str] = set()
    for plan in plans.values():
        missing = [one for one in plan.missing if one.config.id not in counted]
        counted |= {one.config.id for one in missing}
        parents = [one.fork.parent for one in missing if one.fork is not None]
        parents = [parent for parent in dict.fromkeys(parents) if parent.id not in counted]
        counted |= {parent.id for parent in parents}
        configs = [*parents, *(one.config for one in missing)]
        epochs = sum(config.train.epochs for config in configs)
        work.append((len(missing), epochs, training_seconds(configs)))
    rows = [
        _row(name, *of_plan, missing, epochs, seconds)
        for name, of_plan, (missing, epochs, seconds) in zip(plans, counts, work, strict=True)
    ]
    runs, epochs, seconds = map(sum, zip(*work, strict=True))
    planned, there = map(sum, zip(*counts, strict=True))
    if len(plans) > 1:
        rows.append(_row("all together", planned, there, runs, epochs, seconds))
    return pd.DataFrame(rows), int(runs), seconds


def _row(
    name: str, planned: int, there: int, missing: int, epochs: int, seconds: float
) -> dict[str, object]:
    return {
        "experiment": name,
        "runs": planned,
        "there": there,
        "to train": missing,
        "epochs, at most": f"{epochs:,}",
        "time here, about": hours_and_minutes(seconds) if missing else "–",
    }
