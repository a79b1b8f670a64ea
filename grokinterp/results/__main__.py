"""Add the experiments' runs of a store to those that ship: python -m grokinterp.results STORE."""

from __future__ import annotations

import sys

from grokinterp.experiments import planned_runs
from grokinterp.results import ship
from grokinterp.store.run import Run
from grokinterp.store.store import open_store


def as_planned(store: str) -> list[Run]:
    """The runs of a store that have all that a plan asks for, each once."""
    opened = open_store(store)
    found = [opened.find(planned.config) for planned in planned_runs()]
    return list({run.path: run for run in found if run is not None}.values())


if __name__ == "__main__":
    added = ship(as_planned(sys.argv[1]))
    planned = {planned.config.id for planned in planned_runs()}
    sys.stdout.write(f"{len(set(added))} of {len(planned)} planned runs are there to their end\n")
