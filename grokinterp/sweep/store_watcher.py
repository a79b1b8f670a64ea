"""What a store shows of runs while other processes train them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import cast

from grokinterp.config import RunConfig
from grokinterp.store.files import StoreError
from grokinterp.store.progress import Observer
from grokinterp.store.run import Run
from grokinterp.store.state import Report, Row, Status

SECONDS_BETWEEN_LOOKS = 1.0

# A shared folder may show a file that another machine wrote only after a while.
SECONDS_TO_ARRIVE = 90.0


class StoreWatcher:
    """Tells an observer what it would hear if the runs trained here: every row, in order."""

    def __init__(self, runs: Mapping[RunConfig, Run], observer: Observer) -> None:
        self._open = dict(runs)
        self._epochs = {config: run.epoch for config, run in runs.items()}
        self._observer = observer

    def look(self) -> None:
        """Read how far the runs are."""
        for config in list(self._open):
            self._look_at(config)

    def wait(self) -> None:
        """Return once every run is over here. StoreError if some are over elsewhere only."""
        deadline = time.monotonic() + SECONDS_TO_ARRIVE
        self.look()
        while self._open and time.monotonic() < deadline:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            self.look()
        for config, run in self._open.items():
            raise StoreError(
                f"workers trained {len(self._open)} runs that do not appear in the store, such as "
                f"{config.name} in {run.path}; it is not the same folder on "
                "every node, so put the store in one that is, or have the runs sent back with "
                "--send-back (shared=False)"
            )

    def _look_at(self, config: RunConfig) -> None:
        run, seen = self._open[config], self._epochs[config]
        # In this order: a status of over is written together with the last epoch.
        is_over, status, epoch = run.is_over, cast(Status, run.status), run.epoch
        if not is_over and (epoch <= seen or status != "running"):
            return
        metrics = run.metrics
        fresh = metrics[(metrics["epoch"] > seen) & (metrics["epoch"] <= epoch)]
        rows = {int(row["epoch"]): cast(Row, row) for row in fresh.to_dict("records")}
        last = rows.pop(epoch, None)
        for reached, row in rows.items():
            self._observer.advanced(run, config, Report(0, reached, row, "running"))
        self._observer.advanced(run, config, Report(0, epoch, last, status, run.message))
        self._epochs[config] = epoch
        if is_over:
            del self._open[config]
