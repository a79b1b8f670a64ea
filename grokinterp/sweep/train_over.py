"""`train_over`: many runs, trained by the workers of an executor, in one store.

A unit of work is an ensemble: runs that train together. Workers save as `train` does, so one that
dies costs at most what a kill costs, and another goes on from there.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from grokinterp.checks import several
from grokinterp.config import RunConfig
from grokinterp.store.files import NoStoreError, StoreError
from grokinterp.store.lock import RunLock
from grokinterp.store.progress import Observer, Warns
from grokinterp.store.recording import fewest
from grokinterp.store.runs import Run, Store, open_store
from grokinterp.sweep import map_over
from grokinterp.sweep.store_watcher import StoreWatcher
from grokinterp.sweep.transfer import Parcel, discard, pack, unpack
from grokinterp.training.device import check_device
from grokinterp.training.engine import group_key
from grokinterp.training.train import train
from grokinterp.user_files import Files, Loaded

# Runs of a unit on an accelerator: a wider one needs more of its memory at once.
WIDTH = 16

Unit = list[RunConfig]
Item = tuple[Loaded, Unit]
"""What a worker gets: the files first, because unpickling configs may need their classes."""
Failure = tuple[str, str, str]
Trained = tuple[list[tuple[RunConfig, Parcel]], list[Failure]]


def train_over(
    configs: Iterable[RunConfig],
    store: str | os.PathLike[str] = "runs",
    executor: str = "local",
    workers: int | None = None,
    observer: Observer | None = None,
    shared: bool = True,
    load: Files = (),
) -> list[Run]:
    """Train what is missing of these runs in workers, and return all of them, in the order given.

    The same results as `train`'s; the same call goes on where it was interrupted. Several sweeps
    may share a store: what one is training, the others leave for last, in case it dies.

    Args:
        configs: What to train.
        store: The folder that holds the runs.
        executor: local, ray, ray:auto or ray:HOST:PORT; see grokinterp.sweep.
        workers: How many at once; by default one a core, or one a GPU.
        observer: Told of progress as the store shows it. By default what goes wrong is a warning.
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
    observer = observer or Warns()
    loaded = Loaded(load)
    wanted = several("configs", configs, RunConfig)
    if executor == "local":
        for device in sorted({config.train.device for config in wanted}):
            check_device(device)
    folder = os.path.abspath(store)
    there, serves = _divided(wanted, folder)
    own = {config: Store(folder).recording(config) for config in serves.values()}
    found = [there.get(config) or own[serves[config]] for config in wanted]
    units = _units(own, workers)
    watch = StoreWatcher(own, observer)
    function = (
        partial(_train_here, folder)
        if shared
        else partial(_train_and_send, f"{socket.gethostname()}:{folder}")
    )
    held = _Held(folder, own, hold=not shared)
    observer.begin(wanted, found)
    try:
        later: list[Unit] = []
        rounds = ((units, held.free(units, later)), (later, held.waited(later, observer)))
        for work, offered in rounds:
            if not work:
                continue
            results = map_over(
                function,
                ((loaded, unit) for unit in offered),
                executor,
                workers,
                accelerator=any(config.train.device != "cpu" for config in wanted),
                died=lambda item, reason: observer.died(item[1], reason),
                tick=watch.look,
            )
            with closing(results):
                for _, (parcels, failures) in results:
                    for config, parcel in parcels:
                        unpack(parcel, own[config])
                        held.release(config)
                    for name, probe, reason in failures:
                        observer.failed(Run(Path(folder) / name), probe, reason)
                    watch.look(now=True)
        watch.wait()
    finally:
        held.release_all()
        observer.end()
    return found


def pending_units(
    configs: Iterable[RunConfig], store: str | os.PathLike[str], workers: int | None = None
) -> list[Unit]:
    """What the store misses of these runs, as units of work.

    On a CPU the runs of an ensemble take turns, so each is a unit; on an accelerator an ensemble
    is, divided if it is wide, or if there would not be a part of it for each worker.
    """
    _, serves = _divided(configs, store)
    return _units(serves.values(), workers)


def _divided(
    configs: Iterable[RunConfig], store: str | os.PathLike[str]
) -> tuple[dict[RunConfig, Run], dict[RunConfig, RunConfig]]:
    """Where those are that the store has with all they ask for; what to train for the others."""
    configs = list(dict.fromkeys(configs))
    try:
        opened = open_store(store)
    except NoStoreError:
        return {}, fewest(configs)
    found = {config: opened.find(config) for config in configs}
    there = {config: run for config, run in found.items() if run is not None}
    return there, fewest(config for config in configs if config not in there)


def _units(configs: Iterable[RunConfig], workers: int | None) -> list[Unit]:
    groups: dict[RunConfig, dict[RunConfig, None]] = {}
    for config in configs:
        groups.setdefault(group_key(config), {})[config] = None
    units = []
    for key, group in groups.items():
        members = list(group)
        if key.train.device == "cpu":
            count = len(members)
        else:
            each = -(-(workers or 1) // len(groups))
            count = min(len(members), max(each, -(-len(members) // WIDTH)))
        units += [members[part::count] for part in range(count)]
    return units


def _train_here(store: str, item: Item) -> Trained:
    """In a worker that sees the store."""
    _, unit = item
    try:
        open_store(store)
    except StoreError as error:
        raise StoreError(
            f"{socket.gethostname()} does not see the sweep's store ({error}); put it in a folder "
            "that every node sees, or have the runs sent back with --send-back (shared=False)"
        ) from error
    failures = _Failures()
    train(unit, store=store, observer=failures)
    return [], failures.found


def _train_and_send(sweep: str, item: Item) -> Trained:
    """In a worker with a store of its own, kept for a retry until its runs are sent."""
    _, unit = item
    key = hashlib.sha256(f"{getpass.getuser()}:{sweep}".encode()).hexdigest()[:16]
    failures = _Failures()
    trained = train(
        unit, store=Path(tempfile.gettempdir()) / f"grokinterp-{key}", observer=failures
    )
    parcels = [(config, pack(run)) for config, run in zip(unit, trained, strict=True)]
    for run in trained:
        discard(run)
    return parcels, failures.found


class _Failures(Observer):
    """Keeps what the sweep's own observer should hear."""

    def __init__(self) -> None:
        self.found: list[Failure] = []

    def failed(self, run: Run, probe: str, reason: str) -> None:
        self.found.append((run.path.name, probe, reason))


class _Held:
    """The locks of the store: what others train now, and what is trained elsewhere for it."""

    def __init__(self, store: str, runs: dict[RunConfig, Run], hold: bool) -> None:
        self._store = store
        self._runs = runs
        self._hold = hold
        self._locks: dict[RunConfig, RunLock] = {}

    def free(self, units: Sequence[Unit], later: list[Unit]) -> Iterator[Unit]:
        """Units as workers get free for them, without the runs that another process trains."""
        # Not before the executor is there: what cannot begin writes nothing.
        self._opened = open_store(self._store, create=True)
        for unit in units:
            open_runs = [config for config in unit if not self._runs[config].is_over]
            free = [config for config in open_runs if self._take(config, wait=False)]
            if busy := [config for config in open_runs if config not in free]:
                later.append(busy)
            if free:
                yield free

    def waited(self, units: Sequence[Unit], observer: Observer) -> Iterator[Unit]:
        """Those runs, which their workers wait for; or here, if workers do not see the store."""
        for unit in units:
            for config in unit:
                run = self._runs[config]
                observer.waiting(run, RunLock(run.path).owner)
        for unit in units:
            if self._hold:
                unit = [config for config in unit if self._take(config, wait=True)]
            if unit:
                yield unit

    def release(self, config: RunConfig) -> None:
        self._locks.pop(config).release()

    def release_all(self) -> None:
        for config in list(self._locks):
            self.release(config)

    def _take(self, config: RunConfig, wait: bool) -> bool:
        """Whether the run is there to train; held from now on if its worker cannot hold it."""
        run = self._runs[config]
        if self._hold:
            self._opened.create(config)
        elif not run.path.exists():
            return True
        lock = RunLock(run.path)
        if not lock.acquire(wait):
            return False
        if not self._hold or run.is_over:
            lock.release()
            return not run.is_over
        self._locks[config] = lock
        return True
