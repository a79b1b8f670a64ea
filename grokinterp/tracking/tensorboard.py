"""TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from grokinterp.tracking.tracker import Log, Tracker, folder, plain

if TYPE_CHECKING:
    from grokinterp.config import RunConfig
    from grokinterp.store.runs import Run


class TensorBoardTracker(Tracker):
    """Event files for each run, in tracking/tensorboard/PLACEMENT; a step is an epoch."""

    kind = "tensorboard"

    def open(self, run: Run) -> Log:
        return TensorBoardLog(self._events(run), run.config)

    def held(self, run: Run) -> int:
        return max(map(last_step, self._events(run).glob("events.*")), default=0)

    def _events(self, run: Run) -> Path:
        config = run.config
        return folder(run) / self.kind / config.model.placement / f"seed-{config.seed}-{run.id}"


class TensorBoardLog(Log):
    """An open event file."""

    def __init__(self, events: Path, config: RunConfig) -> None:
        from torch.utils.tensorboard import SummaryWriter

        is_new = not events.exists()
        self._writer = SummaryWriter(str(events))
        if is_new:
            self._writer.add_text("config", f"```\n{json.dumps(plain(config), indent=1)}\n```")

    def write(self, epoch: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def close(self, over: bool) -> None:
        self._writer.close()


def last_step(path: Path) -> int:
    """The last step of an event file; 0 if it has none."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return max((event.step for event in EventFileLoader(str(path)).Load()), default=0)
