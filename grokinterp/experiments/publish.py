"""Add the experiments' runs of a store to those that ship.

python -m grokinterp.experiments.publish STORE
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from grokinterp.experiments import EXPERIMENTS
from grokinterp.results import FOLDER
from grokinterp.runs import Run, open_store

KEPT = ("config.json", "metrics.parquet", "probes.parquet", "status.json")


def planned_ids() -> set[str]:
    """The runs that an experiment plans for its own seeds."""
    return {
        planned.config.id
        for experiment in EXPERIMENTS.values()
        for planned in experiment.plan(experiment.seeds)
    }


def publish(runs: Iterable[Run], folder: Path = FOLDER) -> list[str]:
    """Copy the numbers of runs that are over, and return their ids."""
    published = []
    for run in runs:
        if not run.is_over:
            continue
        target = folder / run.id
        target.mkdir(exist_ok=True)
        for name in KEPT:
            if (run.path / name).exists():
                shutil.copyfile(run.path / name, target / name)
        published.append(run.id)
    return published


if __name__ == "__main__":
    wanted = planned_ids()
    added = publish(run for run in open_store(sys.argv[1]) if run.id in wanted)
    sys.stdout.write(f"{len(added)} of {len(wanted)} planned runs are there to their end\n")
