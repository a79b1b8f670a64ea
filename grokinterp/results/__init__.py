"""Runs that ship with the package: what they measured, without their checkpoints.

<run>/config.json, provenance.json, status.json, metrics.parquet, probes.parquet
                                                                     as in a run store

Figures and verdicts on the paper are made from these without training anything.
`python -m grokinterp.results STORE` adds what a store holds of the experiments' runs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from grokinterp.store.run import Run
from grokinterp.store.store import Store, open_store

FOLDER = Path(__file__).parent
FILES = ("config.json", "metrics.parquet", "probes.parquet", "provenance.json", "status.json")


def shipped_runs() -> Store:
    """All of them; they have metrics and probes, and no models."""
    return open_store(FOLDER)


def shipped(id: str) -> Run | None:
    """The one of this id, if it ships."""
    return next(iter(shipped_runs().recordings(id)), None)


def ship(runs: Iterable[Run], folder: Path = FOLDER) -> list[str]:
    """Copy the numbers of the runs that are over, and return their ids."""
    over = [run for run in runs if run.is_over]
    for run in over:
        target = folder / run.path.name
        target.mkdir(exist_ok=True)
        for name in FILES:
            if (run.path / name).exists():
                shutil.copyfile(run.path / name, target / name)
    return [run.id for run in over]
