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


def plan_table(plans: Mapping[str, Plan]) -> pd.DataFrame:
    """A row for each experiment: its runs, those that are there, those to train, how long."""
    rows, counted = [], set()
    for name, plan in plans.items():
        # A run that several experiments ask for is trained once.
        missing = [one for one in plan.missing if one.config.id not in counted]
        counted |= {one.config.id for one in missing}
        parents = [one.fork.parent for one in missing if one.fork is not None]
        parents = [parent for parent in dict.fromkeys(parents) if parent.id not in counted]
        counted |= {parent.id for parent in parents}
        configs = [*parents, *(one.config for one in missing)]
        seconds = training_seconds(configs)
        rows.append(
            {
                "experiment": name,
                "runs": len(plan.planned),
                "there": sum(plan.whole),
                "to train": len(missing),
                "epochs, at most": f"{sum(config.train.epochs for config in configs):,}",
                "time here, about": hours_and_minutes(seconds) if missing else "–",
            }
        )
    return pd.DataFrame(rows)
