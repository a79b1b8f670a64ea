"""Progress for people: a bar while runs train, and a line for each run at its end."""

from __future__ import annotations

import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from grokinterp.store.run_names import run_names

if TYPE_CHECKING:
    from grokinterp.config import RunConfig
    from grokinterp.store.run import Run
    from grokinterp.store.state import Report


class Observer:
    """Told what happens while runs train; this one does nothing with it."""

    def begin(self, configs: Sequence[RunConfig], runs: Sequence[Run]) -> None:
        """Training begins; `runs` are where `configs` are kept."""

    def waiting(self, run: Run, owner: str) -> None:
        """Another process is training this run."""

    def advanced(self, run: Run, config: RunConfig, report: Report) -> None:
        """A run reached an evaluated or checkpointed epoch, or its end."""

    def begin_probing(self, checkpoints: int) -> None:
        """Probing of so many checkpoints begins."""

    def probed(self, run: Run, epoch: int) -> None:
        """A checkpoint's probes are in the store."""

    def failed(self, run: Run, probe: str, reason: str) -> None:
        """A probe does not apply to a run; the others go on."""

    def left_out(self, run: Run, reason: str) -> None:
        """A run cannot be trained on, or it or its epoch cannot be probed; the others go on."""

    def unkept(self, run: Run, reason: str) -> None:
        """What was found of a run cannot be written to the store; it is returned alone."""

    def died(self, configs: Sequence[RunConfig], reason: str) -> None:
        """A sweep's worker died while it trained these runs; another goes on with them."""

    def end(self) -> None:
        """Training or probing is over, or was interrupted."""


class Several(Observer):
    """Tells each of its observers, in their order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def begin(self, configs: Sequence[RunConfig], runs: Sequence[Run]) -> None:
        for observer in self._observers:
            observer.begin(configs, runs)

    def waiting(self, run: Run, owner: str) -> None:
        for observer in self._observers:
            observer.waiting(run, owner)

    def advanced(self, run: Run, config: RunConfig, report: Report) -> None:
        for observer in self._observers:
            observer.advanced(run, config, report)

    def begin_probing(self, checkpoints: int) -> None:
        for observer in self._observers:
            observer.begin_probing(checkpoints)

    def probed(self, run: Run, epoch: int) -> None:
        for observer in self._observers:
            observer.probed(run, epoch)

    def failed(self, run: Run, probe: str, reason: str) -> None:
        for observer in self._observers:
            observer.failed(run, probe, reason)

    def left_out(self, run: Run, reason: str) -> None:
        for observer in self._observers:
            observer.left_out(run, reason)

    def unkept(self, run: Run, reason: str) -> None:
        for observer in self._observers:
            observer.unkept(run, reason)

    def died(self, configs: Sequence[RunConfig], reason: str) -> None:
        for observer in self._observers:
            observer.died(configs, reason)

    def end(self) -> None:
        for observer in self._observers:
            observer.end()


class Sentences(Observer, ABC):
    """Says in a sentence what goes wrong."""

    def failed(self, run: Run, probe: str, reason: str) -> None:
        self._say(f"{run.config.name}: {probe} was left out: {reason}")

    def left_out(self, run: Run, reason: str) -> None:
        self._say(f"{run.id[:8]} is left out: {reason}")

    def unkept(self, run: Run, reason: str) -> None:
        self._say(f"{run.id[:8]}: what is found is shown, and not kept in the store: {reason}")

    def died(self, configs: Sequence[RunConfig], reason: str) -> None:
        names = ", ".join(config.name for config in configs)
        self._say(f"{names}: its worker died ({reason}); another goes on from the last save")

    @abstractmethod
    def _say(self, text: str) -> None: ...


class Warns(Sentences):
    """Warns of what goes wrong, and is quiet otherwise: the observer of who gives none."""

    def _say(self, text: str) -> None:
        warnings.warn(text, stacklevel=2)


class Bar(Sentences):
    """A live bar over all epochs of all runs; no bar when the stream is not a terminal.

    Args:
        stream: Where it is drawn; stderr when not given.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def begin(self, configs: Sequence[RunConfig], runs: Sequence[Run]) -> None:
        from tqdm import tqdm

        unique = {run.path: (run, config) for run, config in zip(runs, configs, strict=True)}
        names = run_names([config for _, config in unique.values()])
        self._names = dict(zip(unique, names, strict=True))
        self._epochs: dict[Path, int] = {}
        total = 0
        for run, config in unique.values():
            done = config.train.epochs if run.is_over else run.epoch
            self._epochs[run.path] = done
            total += config.train.epochs
        self._bar = tqdm(
            total=total,
            initial=sum(self._epochs.values()),
            unit=" epochs",
            unit_scale=False,
            # None: tqdm itself is quiet when the stream is not a terminal.
            disable=None,
            file=self._stream,
            dynamic_ncols=True,
            smoothing=0.1,
        )
        for run, config in unique.values():
            if run.is_over:
                self._say(f"{self._name(run, config)}: in the store already ({summary(run)})")

    def waiting(self, run: Run, owner: str) -> None:
        self._say(f"{self._name(run, run.config)}: {owner} is training it; waiting for it to end")

    def advanced(self, run: Run, config: RunConfig, report: Report) -> None:
        epochs = config.train.epochs if report.status != "running" else report.epoch
        self._bar.update(epochs - self._epochs[run.path])
        self._epochs[run.path] = epochs
        if report.row is not None:
            row = report.row
            self._bar.set_postfix_str(
                f"{self._name(run, config)} epoch {report.epoch:,}: train {row['train_loss']:.2g} "
                f"test {row['test_loss']:.2g} ({row['test_accuracy']:.1%})",
                refresh=False,
            )
        if report.status != "running":
            self._say(f"{self._name(run, config)}: {summary(run)}")

    def _name(self, run: Run, config: RunConfig) -> str:
        return self._names.get(run.path, config.name)

    def begin_probing(self, checkpoints: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            total=checkpoints,
            unit=" checkpoints",
            disable=None,
            file=self._stream,
            dynamic_ncols=True,
        )

    def probed(self, run: Run, epoch: int) -> None:
        self._bar.update()
        self._bar.set_postfix_str(f"{run.config.name} epoch {epoch:,}", refresh=False)

    def end(self) -> None:
        self._bar.close()

    def _say(self, text: str) -> None:
        self._bar.write(text, file=self._stream)


def say(text: str) -> None:
    """A line on stderr, above a live bar if there is one."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)


def summary(run: Run) -> str:
    """When it memorised and generalised, in one line."""
    times = run.grokking
    note = f"; {run.message}" if run.message else ""
    return f"memorised {times.memorised}, generalised {times.generalised}{note}"
