"""Runs that ship with the package: what they measured, without their checkpoints.

<run>/config.json, provenance.json, status.json, metrics.parquet, probes.parquet
                                                                     as in a run store

Figures and verdicts on the paper are made from these without training anything.
`python -m grokinterp.experiments.publish STORE` adds what a store holds of the experiments' runs.
"""

from __future__ import annotations

from pathlib import Path

from grokinterp.store.runs import Run, Store, open_store

FOLDER = Path(__file__).parent


def shipped_runs() -> Store:
    """All of them; they have metrics and probes, and no models."""
    return open_store(FOLDER)


def shipped(id: str) -> Run | None:
    """The one of this id, if it ships."""
    return next(iter(shipped_runs().recordings(id)), None)
