"""`probe`: bring the probes of runs' checkpoints into the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pandas as pd

from grokinterp.checks import integer, several
from grokinterp.probes.calls import ProbeCall, expand
from grokinterp.probes.measurement import Measurement, measure
from grokinterp.store.files import StoreError
from grokinterp.store.notebook_bar import default_observer
from grokinterp.store.progress import Observer
from grokinterp.store.run import Run

COLUMNS = ["run", "epoch", "probe", "name", "value"]


def probe(
    runs: Run | Iterable[Run],
    probes: str | Iterable[str] = ("cheap",),
    epochs: int | Iterable[int] | None = None,
    again: bool = False,
    observer: Observer | None = None,
) -> pd.DataFrame:
    """Compute what is missing of these probes at these checkpoints, and return all of it.

    What was found under another definition of a probe, as before an edit of it, counts as missing.
    Scalars go to the run's `probes.parquet` (`run.probes`), arrays beside them
    (`run.arrays(epoch, probe)`). A probe that does not apply to a run is reported to the observer,
    once for the run, and does not keep the others from it; nor does a run or checkpoint that cannot
    be read, or a store that cannot be written: what was found is in the table then, and only there.

    Args:
        runs: A run of a store, or several.
        probes: A name, with options as `shortcut:convention=paper`, or `cheap`, or `all`; or
            several.
        epochs: An epoch with a checkpoint, or several; all of them when not given.
        again: Compute what is there too, and replace it.
        observer: Told of progress; see grokinterp.store.progress. By default a bar in a notebook;
            elsewhere what goes wrong is a warning, and nothing else is said.

    Returns:
        A row for each scalar: run (id), epoch, probe, name, value.

    Raises:
        ValueError: A probe or an option is unknown, or a run has no checkpoint at an epoch.
        StoreError: Of none of the runs anything can be read.
    """
    observer = observer or default_observer()
    chosen = expand([probes] if isinstance(probes, str) else probes)
    wanted = None if epochs is None else _epochs(epochs)
    works: list[_Work] = []
    for run in several("runs", runs, Run):
        work = _Work(run, chosen, observer)
        # Refuses an epoch that is not there before anything is computed.
        with work.told():
            chosen_epochs = run.checkpoint_epochs if wanted is None else wanted
            work.epochs += map(run.find_checkpoint, chosen_epochs)
        works.append(work)
    observer.begin_probing(sum(len(work.epochs) for work in works))
    try:
        tables = [_probe_run(work, wanted, again) for work in works]
    finally:
        observer.end()
    tables = [table for table in tables if len(table)]
    troubles = [trouble for work in works for trouble in work.troubles]
    if troubles and not tables:
        raise troubles[0]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def _epochs(given: int | Iterable[int]) -> list[int]:
    if isinstance(given, str):
        raise ValueError(
            "epochs must be an epoch that has a checkpoint, or several, or None for every "
            f"checkpoint; got {given!r}"
        )
    values = given if isinstance(given, Iterable) else [given]
    return [*dict.fromkeys(integer("each of epochs", value) for value in values)]


@dataclass
class _Work:
    """A run to probe, and what comes of it."""

    run: Run
    chosen: Sequence[ProbeCall]
    observer: Observer
    epochs: list[int] = field(default_factory=list)
    unkept: dict[int, Measurement] = field(default_factory=dict)
    """What was found and could not be written, by epoch."""
    troubles: list[StoreError] = field(default_factory=list)

    @contextmanager
    def told(self, where: str = "") -> Iterator[None]:
        """What cannot be read in here is told, and does not keep the rest from being probed."""
        try:
            yield
        except StoreError as error:
            # One file may be wanted at several places.
            if str(error) not in map(str, self.troubles):
                self.observer.left_out(self.run, f"{where}{error}")
            self.troubles.append(error)


def _probe_run(work: _Work, wanted: Sequence[int] | None, again: bool) -> pd.DataFrame:
    """Compute and keep what is missing; all that is known of these probes and epochs then."""
    with work.told():
        recorded = {} if again else work.run.records.probes()
        told: set[tuple[str, str]] = set()
        for epoch in work.epochs:
            missing = [one for one in work.chosen if str(one) not in recorded.get(epoch, ())]
            if missing:
                with work.told(f"at epoch {epoch:,}, "):
                    found = measure(work.run.snapshot(epoch), missing)
                    _keep(work, epoch, found)
                    for failure in set(found.failures.items()) - told:
                        work.observer.failed(work.run, *failure)
                        told.add(failure)
            work.observer.probed(work.run, epoch)
    kept = pd.DataFrame(columns=COLUMNS)
    with work.told():
        kept = work.run.probes
        kept = kept[kept["probe"].isin([str(one) for one in work.chosen])]
        kept = kept if wanted is None else kept[kept["epoch"].isin(wanted)]
    return _with_unkept(kept, work).assign(run=work.run.id)[COLUMNS]


def _keep(work: _Work, epoch: int, found: Measurement) -> None:
    try:
        work.run.records.add(epoch, found.scalars, found.arrays, found.definitions)
    except (OSError, StoreError) as error:
        if not work.unkept:
            work.observer.unkept(work.run, str(error))
        work.unkept[epoch] = found


def _with_unkept(kept: pd.DataFrame, work: _Work) -> pd.DataFrame:
    rows: list[tuple[int, str, str, float]] = []
    for epoch, found in work.unkept.items():
        rows += [(epoch, *key, value) for key, value in found.scalars.items()]
        computed = {probe for probe, _ in [*found.scalars, *found.arrays]}
        kept = kept[~((kept["epoch"] == epoch) & kept["probe"].isin(computed))]
    fresh = pd.DataFrame(rows, columns=COLUMNS[1:])
    return pd.concat([one for one in (kept, fresh) if len(one)] or [kept], ignore_index=True)
