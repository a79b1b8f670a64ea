"""What every tracker does: each row of each run once, in order."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokinterp.store.files import StoreError, read_json, write_json
from grokinterp.store.progress import Observer, say

if TYPE_CHECKING:
    from grokinterp.config import RunConfig
    from grokinterp.store.run import Run
    from grokinterp.store.state import Report


class Log(ABC):
    """Where one run's scalars go."""

    @abstractmethod
    def write(self, epoch: int, scalars: Mapping[str, float]) -> None:
        """Those of an epoch."""

    @abstractmethod
    def close(self, over: bool) -> None:
        """No more now, and none ever if the run is over."""


class Tracker(Observer, ABC):
    """Writes every row of a run's metrics once, whether it was interrupted or trained before.

    How far a log goes does not follow from the store, whose last save may be behind it, or ahead
    of it where the run was not tracked then. A mark, STORE/tracking/KIND-RUN.json, remembers it,
    also for the day the log is uploaded and deleted. It is written before each row, so that a row
    is never written twice: what a kill keeps the service from writing is in the store alone. To
    have a run written anew, delete its mark and its log.

    Args:
        say: Takes a sentence for the person who tracks; by default a line on stderr.
    """

    kind: str

    def __init__(self, say: Callable[[str], None] = say) -> None:
        self._say = say
        self._module = _require(self.kind)
        self._logs: dict[str, Log] = {}
        self._written: dict[str, int] = {}

    @abstractmethod
    def open(self, run: Run) -> Log:
        """The run's log, to go on with what earlier ones hold."""

    def begin(self, configs: Sequence[RunConfig], runs: Sequence[Run]) -> None:
        for run in runs:
            if run.is_over and self._mark(run) < run.epoch:
                self._catch_up(run)

    def advanced(self, run: Run, config: RunConfig, report: Report) -> None:
        if run.id not in self._logs:
            self._catch_up(run)
        if report.row is not None:
            self._write(run, [report.row])
        if report.status != "running":
            self._close(run.id, over=True)

    def end(self) -> None:
        for id in [*self._logs]:
            self._close(id, over=False)

    def _catch_up(self, run: Run) -> None:
        """Write what the store holds for certain: later rows are trained again."""
        metrics = run.metrics
        self._write(run, metrics[metrics["epoch"] <= run.epoch].to_dict("records"))
        if run.is_over:
            self._close(run.id, over=True)

    def _write(self, run: Run, rows: Sequence[Mapping[Any, Any]]) -> None:
        if run.id not in self._written:
            self._written[run.id] = self._mark(run)
        rows = [row for row in rows if row["epoch"] > self._written[run.id]]
        if not rows:
            return
        if run.id not in self._logs:
            folder(run).mkdir(exist_ok=True)
            self._logs[run.id] = self.open(run)
        for row in rows:
            self._written[run.id] = epoch = int(row["epoch"])
            write_json(self._mark_path(run), {"epoch": epoch})
            self._logs[run.id].write(epoch, _scalars(row))

    def _close(self, id: str, over: bool) -> None:
        if id in self._logs:
            self._logs.pop(id).close(over)

    def _mark(self, run: Run) -> int:
        """The last epoch whose row was written, or may have been; 0 before the first."""
        path = self._mark_path(run)
        if not path.exists():
            return 0
        try:
            return int(read_json(path)["epoch"])
        except (KeyError, StoreError, TypeError, ValueError) as error:
            self._say(
                f"{path} does not say how far {self.kind} has come ({error}), so nothing more is "
                "written of this run; delete it and the run's log to have the run written anew"
            )
            return run.config.train.epochs

    def _mark_path(self, run: Run) -> Path:
        return folder(run) / f"{self.kind}-{run.id}.json"


def folder(run: Run) -> Path:
    """Where a store keeps what is tracked of its runs."""
    return run.path.parent / "tracking"


def plain(config: RunConfig) -> dict[str, Any]:
    """The fields of `config.flat()`, as JSON data."""
    data = config.to_dict()
    return {
        **data["task"],
        **data["model"],
        **data["train"],
        "seed": config.seed,
        "start": config.start,
        "weights_seed": config.weights_seed,
    }


def _require(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise ValueError(
            f"tracking with {package} needs the package {package}; install it with "
            f"pip install 'grokinterp[{package}]'"
        ) from error


def _scalars(row: Mapping[Any, Any]) -> dict[str, float]:
    """A row's values; where a probe was not due, a table has NaN."""
    values = {str(name): float(value) for name, value in row.items() if name != "epoch"}
    return {name: value for name, value in values.items() if not math.isnan(value)}
