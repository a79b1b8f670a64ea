"""`train`: bring runs to their ends in a store, whatever happened to them before."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast, overload

import torch

from grokinterp.checks import several
from grokinterp.config import RunConfig
from grokinterp.store.lock import RunLock
from grokinterp.store.notebook_bar import default_observer
from grokinterp.store.progress import Observer
from grokinterp.store.recording import fewest
from grokinterp.store.run import Run
from grokinterp.store.runs import Runs
from grokinterp.store.state import Report, Row, RunState, Status
from grokinterp.store.store import Store, open_store
from grokinterp.store.writer import RunWriter
from grokinterp.training.device import check_device
from grokinterp.training.engine import Ensemble, ensembles, group_key, side_by_side
from grokinterp.training.interrupt import held_back
from grokinterp.training.row_blocks import on_one_core
from grokinterp.training.start import Init, start_state, started
from grokinterp.training.trial import try_recipe

if TYPE_CHECKING:
    from grokinterp.training.recorder import Recorder


# A kill costs at most this much training, however far apart the checkpoints are.
SECONDS_BETWEEN_SAVES = 30.0


@dataclass
class _Work:
    """A run in training."""

    run: Run
    writer: RunWriter
    config: RunConfig
    start: RunState
    state: RunState
    rows: list[Row]
    saved_at: float
    recorder: Recorder | None
    """Of its probes, if it records any."""
    lock: ExitStack
    """To be closed when it is over."""


@overload
def train(
    runs: RunConfig,
    store: str | os.PathLike[str] = "runs",
    init: Init | None = None,
    observer: Observer | None = None,
) -> Run: ...
@overload
def train(
    runs: Iterable[RunConfig],
    store: str | os.PathLike[str] = "runs",
    init: Init | None = None,
    observer: Observer | None = None,
) -> Runs: ...
@torch.inference_mode(False)  # Which switches gradients on, too.
def train(
    runs: RunConfig | Iterable[RunConfig],
    store: str | os.PathLike[str] = "runs",
    init: Init | None = None,
    observer: Observer | None = None,
) -> Run | Runs:
    """Train what is missing of these runs, and return all of them, in the order given.

    Of one config, not in a list, the run itself is returned.

    A run that the store holds to its end, with all that is asked to be recorded, is not trained
    again: what more is recorded does not matter, nor on which device it trained. One that lacks a
    row, checkpoint or probe, or was recorded under another definition of a probe, is: beside it,
    as another recording of the same run. An interrupted one goes on from its last saved epoch, bit
    for bit on a CPU. One that another process trains is left for last and waited for, so that
    several processes that call this share the runs. On a CPU as many runs train side by side as
    PyTorch has threads, each on a core; what each comes to does not depend on how many there are.
    On an accelerator, runs of one architecture and recipe train together.

    Args:
        runs: What to train: a config, or several.
        store: The folder that holds the runs.
        init: Weights to start from in place of the seed's: a HookedTransformer, which must compute
            what the config's model does with them; a state dict by TransformerLens names; a
            `Checkpoint` (`run.checkpoint(epoch)`), which forks that run: with `keep_optimizer` in
            its config, its optimiser's state goes on too; or `Derived`.
        observer: Told of progress; see grokinterp.store.progress. By default a bar in a notebook;
            elsewhere what goes wrong is a warning, and nothing else is said.

    Ctrl-C and SIGTERM save what is under way first, after the epoch that is being trained; a
    second one does not wait for that.

    Raises:
        ValueError: The device is not usable, `init` does not fit a run's architecture or is
            missing for a run that began with one, or a probe or an intervention of its config is
            unknown or does not apply; or a loss, a gradient filter or an optimiser of it cannot
            train. Nothing has been trained then.
        StoreError: The store cannot be read or written.
        Exception: A run cannot be trained on, as when a loss of one's own raises. Raised when the
            others are over; it stands as it was last saved.
    """
    if isinstance(runs, RunConfig):
        return train([runs], store, init, observer)[0]
    observer = observer or default_observer()
    configs = [started(config, init) for config in several("runs", runs, RunConfig)]
    for device in sorted({config.train.device for config in configs}):
        check_device(device)
    for config in dict.fromkeys(
        replace(c, start="seed", seed=0, weights_seed=None) for c in configs
    ):
        try_recipe(config)
    opened = open_store(store, create=True)
    found, missing = in_store(configs, opened)
    with on_one_core() as cores:
        starts = {config: start_state(config, init, opened) for config in missing}
        _check_probes([*missing], starts)
        for config in missing:
            opened.create(config)
        observer.begin(configs, found)
        try:
            _train_missing(missing, starts, observer, cores)
        finally:
            observer.end()
    return found


def in_store(configs: Sequence[RunConfig], store: Store) -> tuple[Runs, dict[RunConfig, Run]]:
    """The run of each config, which the store has or will have; and those to train for that."""
    there = {config: store.find(config) for config in configs}
    serves = fewest(config for config, run in there.items() if run is None)
    missing = {config: store.recording(config) for config in serves.values()}
    return Runs(there[config] or missing[serves[config]] for config in configs), missing


def units_of(configs: Iterable[RunConfig]) -> list[list[RunConfig]]:
    """Runs by what trains at once: on a CPU each alone, elsewhere all of an ensemble."""
    units: dict[RunConfig, list[RunConfig]] = {}
    for config in configs:
        key = config if config.train.device == "cpu" else group_key(config)
        units.setdefault(key, []).append(config)
    return list(units.values())


def _train_missing(
    runs: Mapping[RunConfig, Run],
    starts: Mapping[RunConfig, RunState],
    observer: Observer,
    cores: int,
) -> None:
    """Train the runs that are free; then wait for the others, in case their process dies."""
    units = units_of(runs)
    busy = _train_units(units, runs, starts, observer, cores)
    for config in busy:
        observer.waiting(runs[config], RunLock(runs[config].path).owner)
    for config in busy:
        lock = RunLock(runs[config].path)
        lock.acquire(wait=True)
        try:
            _train_units([[config]], runs, starts, observer, cores, held=lock)
        finally:
            lock.release()


def _train_units(
    units: Iterable[Sequence[RunConfig]],
    runs: Mapping[RunConfig, Run],
    starts: Mapping[RunConfig, RunState],
    observer: Observer,
    cores: int,
    held: RunLock | None = None,
) -> list[RunConfig]:
    """Train what of these units no other process trains, side by side; return the rest.

    `held` is the lock of the one run there is, where the caller has it.
    """
    busy: list[RunConfig] = []
    trained_by: dict[Ensemble, list[_Work]] = {}

    def taken(unit: Sequence[RunConfig]) -> Iterator[_Work]:
        for config in unit:
            run, lock = runs[config], locks.enter_context(ExitStack())
            if held is None:
                own = RunLock(run.path)
                if not own.acquire(wait=False):
                    busy.append(config)
                    continue
                lock.callback(own.release)
            if run.is_over:  # Another process has trained it by now.
                status = cast(Status, run.status)
                observer.advanced(run, config, Report(0, run.epoch, None, status, run.message))
                lock.close()
            else:
                yield _open(config, run, starts[config], lock)

    def coming() -> Iterator[Ensemble]:
        for unit in units:
            if interrupted():
                return
            if not (group := list(taken(unit))):
                continue
            for ensemble in ensembles(
                [work.config for work in group],
                [work.start.weights for work in group],
                [work.state for work in group],
            ):
                trained_by[ensemble] = group
                yield ensemble

    def pause(ensemble: Ensemble) -> bool:
        # However far apart the evaluations are.
        group = trained_by[ensemble]
        return interrupted() or any(_is_to_be_saved(group[run]) for run in ensemble.configs)

    errors: list[Exception] = []

    def failed(ensemble: Ensemble, error: Exception) -> None:
        group = trained_by[ensemble]
        for work in (group[run] for run in ensemble.configs):
            observer.left_out(work.run, f"it cannot be trained on: {error}")
            work.lock.close()
        errors.append(error)

    with held_back() as interrupted, ExitStack() as locks:
        # What is wrong with the only one is raised at once, and there is no other to go on.
        told = failed if len(runs) > 1 else None
        for ensemble, reports in side_by_side(coming(), pause, cores, told):
            group = trained_by[ensemble]
            for report in reports:
                _record(group[report.run], report, ensemble, observer)
                if report.status != "running":
                    group[report.run].lock.close()
            if interrupted():
                for report in reports:
                    if report.status == "running":
                        work = group[report.run]
                        state = ensemble.state(report.run)
                        work.writer.save_state(state, work.rows, schedule=False)
                ensemble.drop([report.run for report in reports])
            elif not {report.run for report in reports if report.status == "running"}:
                del trained_by[ensemble]  # Which holds all that its runs needed.
    if errors:  # Told when the others are over.
        raise errors[0]
    return busy


def _open(config: RunConfig, run: Run, start: RunState, lock: ExitStack) -> _Work:
    """It goes on from its last save, or begins at its start."""
    writer = RunWriter(run)
    saved = writer.load_state()
    state, rows = saved or (start, [])
    recorder = _recorder(config, start) if config.train.probes else None
    writer.save_provenance(state.epoch)
    if state.epoch == 0:
        writer.save_checkpoint(start)
    return _Work(run, writer, config, start, state, rows, time.monotonic(), recorder, lock)


def _check_probes(configs: Sequence[RunConfig], starts: Mapping[RunConfig, RunState]) -> None:
    """Try each group's probes once: what applies to one of its runs applies to all."""
    tried = {group_key(config): config for config in configs if config.train.probes}
    for config in tried.values():
        _recorder(config, starts[config]).check()


def _recorder(config: RunConfig, start: RunState) -> Recorder:
    from grokinterp.training.recorder import Recorder

    return Recorder(config, start.weights)


def _record(work: _Work, report: Report, ensemble: Ensemble, observer: Observer) -> None:
    if report.row is not None:
        row: Row = {"epoch": report.epoch, **report.row}
        due = work.config.train.due_probes(report.epoch)
        if due and work.recorder is not None:
            weights = ensemble.state(report.run).weights
            found = work.recorder.record(report.epoch, weights, due)
            row |= found.columns
            for name, reason in found.failures.items():
                observer.failed(work.run, name, f"at epoch {report.epoch:,}, {reason}")
        work.rows.append(row)
        report = replace(report, row=row)
    _save(work, report, ensemble.state)
    observer.advanced(work.run, work.config, report)


def _save(work: _Work, report: Report, state_of: Callable[[int], RunState]) -> None:
    scheduled = report.epoch in work.config.train.checkpoint_schedule()
    if report.status != "running":
        work.saved_at = math.inf  # There will be nothing more to save.
    if report.status == "diverged":
        work.writer.close(work.rows, report.status, report.epoch, report.message)
        return
    if report.status != "running":
        # No state of the last epoch: killed before it is closed, the run must go on from before.
        work.writer.save_checkpoint(state_of(report.run))
        work.writer.close(work.rows, report.status, report.epoch, report.message)
    elif scheduled or _is_to_be_saved(work):
        work.writer.save_state(state_of(report.run), work.rows, scheduled)
        work.saved_at = time.monotonic()


def _is_to_be_saved(work: _Work) -> bool:
    return time.monotonic() - work.saved_at > SECONDS_BETWEEN_SAVES
