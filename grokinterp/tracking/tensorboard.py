"""TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from grokinterp.tracking.tracker import Log, Tracker, folder, plain

if TYPE_CHECKING:
    from grokinterp.config import RunConfig
    from grokinterp.store.run import Run


class TensorBoardTracker(Tracker):
    """Event files for each run, in tracking/tensorboard/PLACEMENT; a step is an epoch."""

    kind = "tensorboard"

    def open(self, run: Run) -> Log:
        config = run.config
        name = f"seed-{config.seed}-{run.id}"
        return TensorBoardLog(folder(run) / self.kind / config.model.placement / name, config)


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
