"""`train_over`: many runs, trained by the workers of an executor, in one store.

A unit of work is what trains at once: a run, or on an accelerator an ensemble. Workers save as
`train` does, so one that dies costs at most what a kill costs, and another goes on from there.

The store's locks see to it that no two processes train one run, of whichever sweep they are. Even
so a worker is told what to do next, and does not look for it in the store: workers that do not see
the store must share the work too, and who gives out a unit knows whose worker died, and how often.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from functools import partial
from itertools import chain
from pathlib import Path

from grokinterp.checks import several
from grokinterp.config import RunConfig
from grokinterp.store.files import NoStoreError, StoreError
from grokinterp.store.lock import RunLock
from grokinterp.store.notebook_bar import default_observer
from grokinterp.store.progress import Observer
from grokinterp.store.run import Run
from grokinterp.store.runs import Runs
from grokinterp.store.store import Store, open_store
from grokinterp.sweep import map_over
from grokinterp.sweep.store_watcher import StoreWatcher
from grokinterp.sweep.transfer import Parcel, pack, unpack
from grokinterp.training.device import check_device
from grokinterp.training.train import in_store, train, units_of
from grokinterp.user_files import Files, Loaded

# Runs of a unit on an accelerator: a wider one needs more of its memory at once.
WIDTH = 16

Unit = list[RunConfig]
Item = tuple[Loaded, Unit]
"""What a worker gets: the files first, because unpickling configs may need their classes."""
Failure = tuple[str, str, str]
Trained = tuple[Unit, list[Failure], list[tuple[RunConfig, Parcel]]]
"""What it gives back: the runs that other processes train, what failed, and runs as bytes."""


def train_over(
    configs: Iterable[RunConfig],
    store: str | os.PathLike[str] = "runs",
    executor: str = "local",
    workers: int | None = None,
    observer: Observer | None = None,
    shared: bool = True,
    load: Files = (),
) -> Runs:
    """Train what is missing of these runs in workers, and return all of them, in the order given.

    The same results as `train`'s; the same call goes on where it was interrupted. Several sweeps
    may share a store: what one is training, the others leave for last, in case it dies.

    Args:
        configs: What to train.
        store: The folder that holds the runs.
        executor: local, ray, ray:auto or ray:HOST:PORT; see grokinterp.sweep.
        workers: How many at once; by default one a core, or one a GPU.
        observer: Told of progress as the store shows it. By default a bar in a notebook;
            elsewhere what goes wrong is a warning, and nothing else is said.
        shared: Every worker sees the store's folder. If not, each trains in a folder of its own
            machine and sends the runs back when they are over.
        load: Python files that define what the configs name, such as interventions of your own;
            they are imported here and in every worker, which must see them at the same paths.

    Raises:
        ValueError: A worker cannot train its runs (see `train`), there is no such executor, or a
            file of `load` cannot be imported.
        ConnectionError: No Ray cluster answers.
        ChildProcessError: Workers die again and again.
        StoreError: The store cannot be read or written.
    """
    observer = observer or default_observer()
    loaded = Loaded(load)
    wanted = several("configs", configs, RunConfig)
    if executor == "local":
        for device in sorted({config.train.device for config in wanted}):
            check_device(device)
    folder = os.path.abspath(store)
    found, own = in_store(wanted, _store(folder))
    watcher = StoreWatcher(own, observer)
    held: dict[RunConfig, RunLock] = {}

    def offered(units: list[Unit], wait: bool, busy: list[Unit]) -> Iterator[Item]:
        # Not before the executor is there: what cannot begin writes nothing.
        opened = open_store(folder, create=True)
        for unit in units:
            if not shared:
                locks = _lock({config: opened.create(config) for config in unit}, wait)
                busy.append([one for one in unit if one not in locks and not own[one].is_over])
                held.update(locks)
                unit = [*locks]
            if unit:
                yield loaded, unit

    units = _units(own, workers)
    observer.begin(wanted, found)
    try:
        # What other processes train comes back from the first round, and is waited for in another.
        for wait in (False, True):
            if not units:
                break
            if wait:
                for config in chain(*units):
                    observer.waiting(own[config], RunLock(own[config].path).owner)
            busy: list[Unit] = []
            results = map_over(
                partial(_train_here, folder, wait)
                if shared
                else partial(_train_and_send, f"{socket.gethostname()}:{folder}"),
                offered(units, wait, busy),
                executor,
                workers,
                accelerator=any(config.train.device != "cpu" for config in wanted),
                died=lambda item, reason: observer.died(item[1], reason),
                tick=watcher.look,
            )
            with closing(results):
                for _, (left, failures, parcels) in results:
                    busy.append(left)
                    for config, parcel in parcels:
                        unpack(parcel, own[config])
                        held.pop(config).release()
                    for name, probe, reason in failures:
                        observer.failed(Run(Path(folder) / name), probe, reason)
            units = [unit for unit in busy if unit]
        watcher.wait()
    finally:
        for lock in held.values():
            lock.release()
        observer.end()
    return found


def pending_units(
    configs: Iterable[RunConfig], store: str | os.PathLike[str], workers: int | None = None
) -> list[Unit]:
    """What the store misses of these runs, as units of work.

    On a CPU the runs of an ensemble would take turns, so each is a unit; on an accelerator an
    ensemble is, divided if it is wide, or if there would not be a part of it for each worker.
    """
    _, missing = in_store([*configs], _store(store))
    return _units(missing, workers)


def _store(path: str | os.PathLike[str]) -> Store:
    try:
        return open_store(path)
    except NoStoreError:
        return Store(Path(path))


def _units(configs: Iterable[RunConfig], workers: int | None) -> list[Unit]:
    ensembles = units_of(configs)
    units = []
    for ensemble in ensembles:
        parts = max(-(-(workers or 1) // len(ensembles)), -(-len(ensemble) // WIDTH))
        parts = min(parts, len(ensemble))
        units += [ensemble[part::parts] for part in range(parts)]
    return units


def _lock(runs: dict[RunConfig, Run], wait: bool) -> dict[RunConfig, RunLock]:
    """The locks of those of the runs that are to be trained, and that no other process trains."""
    locks = {}
    for config, run in runs.items():
        lock = RunLock(run.path)
        if lock.acquire(wait):
            if run.is_over:
                lock.release()
            else:
                locks[config] = lock
    return locks


def _train_here(store: str, wait: bool, item: Item) -> Trained:
    """In a worker that sees the store."""
    _, unit = item
    try:
        opened = open_store(store)
    except StoreError as error:
        raise StoreError(
            f"{socket.gethostname()} does not see the sweep's store ({error}); put it in a folder "
            "that every node sees, or have the runs sent back with --send-back (shared=False)"
        ) from error
    observer = _InWorker(wait)
    with suppress(_Busy):
        train(unit, store=store, observer=observer)
    return [config for config in unit if opened.find(config) is None], observer.failures, []


def _train_and_send(sweep: str, item: Item) -> Trained:
    """In a worker with a store of its own, kept for a retry until its runs are sent."""
    _, unit = item
    key = hashlib.sha256(f"{getpass.getuser()}:{sweep}".encode()).hexdigest()[:16]
    own = Path(tempfile.gettempdir()) / f"grokinterp-{key}"
    observer = _InWorker(wait=True)
    runs = train(unit, store=own, observer=observer)
    parcels = [(config, pack(run)) for config, run in zip(unit, runs, strict=True)]
    for run in runs:
        shutil.rmtree(run.path, ignore_errors=True)
    return [], observer.failures, parcels


class _Busy(Exception):
    """Other processes train all that is left."""


class _InWorker(Observer):
    """Keeps what the sweep's own observer should hear, and may end what would have to wait."""

    def __init__(self, wait: bool) -> None:
        self._wait = wait
        self.failures: list[Failure] = []

    def failed(self, run: Run, probe: str, reason: str) -> None:
        self.failures.append((run.path.name, probe, reason))

    def waiting(self, run: Run, owner: str) -> None:
        if not self._wait:
            raise _Busy
