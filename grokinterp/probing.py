"""`probe`: bring the probes of runs' checkpoints into the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from grokinterp.measurement import Probing, expand, measure
from grokinterp.progress import Observer
from grokinterp.runs import Run


def probe(
    runs: Iterable[Run],
    probes: Iterable[str] = ("cheap",),
    epochs: Sequence[int] | None = None,
    again: bool = False,
    observer: Observer | None = None,
) -> pd.DataFrame:
    """Compute what is missing of these probes at these checkpoints, and return all of it.

    Scalars go to the run's `probes.parquet` (`run.probes`), arrays beside them
    (`run.arrays(epoch, probe)`). A probe that does not apply to a run is reported to the observer,
    once for the run, and does not keep the others from it.

    Args:
        runs: Runs of a store.
        probes: Names, with options as `shortcut:convention=paper`, or `cheap`, or `all`.
        epochs: Epochs with a checkpoint; all of them when not given.
        again: Compute what is there too, and replace it.
        observer: Told of progress; see grokinterp.progress.

    Returns:
        A row for each scalar: run (id), epoch, probe, name, value.

    Raises:
        ValueError: A probe or an option is unknown, or a run has no checkpoint at an epoch.
        StoreError: The store cannot be read or written.
    """
    observer = observer or Observer()
    runs, chosen = list(runs), expand(probes)
    # Refuses an epoch that is not there before anything is computed.
    work = {
        run: [run.find_checkpoint(epoch) for epoch in epochs or run.checkpoint_epochs]
        for run in runs
    }
    observer.begin_probing(sum(map(len, work.values())))
    try:
        for run, chosen_epochs in work.items():
            _probe_run(run, chosen, chosen_epochs, again, observer)
    finally:
        observer.end()
    return _table(runs, chosen, epochs)


def _probe_run(
    run: Run, chosen: Sequence[Probing], epochs: Sequence[int], again: bool, observer: Observer
) -> None:
    recorded = {} if again else run.records.probes()
    told: set[tuple[str, str]] = set()
    for epoch in epochs:
        missing = [one for one in chosen if str(one) not in recorded.get(epoch, ())]
        if missing:
            found = measure(run.snapshot(epoch), missing)
            run.records.add(epoch, found.scalars, found.arrays)
            for failure in set(found.failures.items()) - told:
                observer.failed(run, *failure)
                told.add(failure)
        observer.probed(run, epoch)


def _table(
    runs: Sequence[Run], chosen: Sequence[Probing], epochs: Sequence[int] | None
) -> pd.DataFrame:
    names = [str(one) for one in chosen]
    tables = []
    for run in runs:
        table = run.probes
        keep = table["probe"].isin(names)
        if epochs is not None:
            keep &= table["epoch"].isin(epochs)
        tables.append(table[keep].assign(run=run.id))
    columns = ["run", "epoch", "probe", "name", "value"]
    return (
        pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
    )
