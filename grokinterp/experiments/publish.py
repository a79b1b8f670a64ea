"""Add the experiments' runs of a store to those that ship.

python -m grokinterp.experiments.publish STORE
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from grokinterp.experiments import EXPERIMENTS
from grokinterp.reproduction.experiment import Planned
from grokinterp.results import FOLDER
from grokinterp.store.runs import Run, open_store

KEPT = ("config.json", "metrics.parquet", "probes.parquet", "provenance.json", "status.json")


def planned_runs() -> list[Planned]:
    """What every experiment plans for its own seeds."""
    return [
        planned
        for experiment in EXPERIMENTS.values()
        for planned in experiment.plan(experiment.seeds)
    ]


def planned_ids() -> set[str]:
    """The runs of these."""
    return {planned.config.id for planned in planned_runs()}


def publish(runs: Iterable[Run], folder: Path = FOLDER) -> list[str]:
    """Copy the numbers of runs that are over, and return their ids."""
    published = []
    for run in runs:
        if not run.is_over:
            continue
        target = folder / run.path.name
        target.mkdir(exist_ok=True)
        for name in KEPT:
            if (run.path / name).exists():
                shutil.copyfile(run.path / name, target / name)
        published.append(run.id)
    return published


def as_planned(store: str) -> list[Run]:
    """The runs of a store that have all that a plan asks for, each once."""
    opened = open_store(store)
    found = [opened.find(planned.config) for planned in planned_runs()]
    return list({run.path: run for run in found if run is not None}.values())


if __name__ == "__main__":
    added = publish(as_planned(sys.argv[1]))
    sys.stdout.write(
        f"{len(set(added))} of {len(planned_ids())} planned runs are there to their end\n"
    )
