"""What a run writes while it trains: metrics with its probes' values, checkpoints, its save.

What probes find afterwards, and arrays, are written by probe_records.py.
"""

from __future__ import annotations

import pandas as pd

from grokinterp.config.recorded import METRICS
from grokinterp.store.checkpoint import OPTIMIZER, pack_state, unpack_state
from grokinterp.store.files import read_tensors, write_json, write_table, write_tensors
from grokinterp.store.provenance import here, write_provenance
from grokinterp.store.run import Run
from grokinterp.store.state import Row, RunState, Status


class RunWriter:
    """Writes a run, so that whatever moment it is killed at, it goes on from what it has saved.

    Args:
        run: Whose lock the process holds.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def save_provenance(self, epoch: int) -> None:
        """Note that it trains here from an epoch on: what came after that is trained anew."""
        run = self.run
        earlier = [one for one in run.provenance if one["from_epoch"] < epoch]
        made = here(run.config.train.device)
        write_provenance(run.path, earlier, epoch, run.config, made)

    def save_state(self, state: RunState, rows: list[Row], schedule: bool) -> None:
        """Save progress, in the order that makes a kill at any moment harmless.

        The state file says how far the run is; rows and checkpoints beyond it are written
        first and, if it never comes, written again.
        """
        self._save_rows(rows)
        if schedule:
            self.save_checkpoint(state)
        write_tensors(self.run.path / "state.safetensors", *pack_state(state, whole=True))
        self.save_status("running", state.epoch)

    def save_checkpoint(self, state: RunState) -> None:
        # A fork's start is kept as a whole, so that it can begin anew without its parent.
        forked = state.epoch == 0 and OPTIMIZER in self.run.config.start
        whole = self.run.config.train.keep_optimizer or forked
        path = self.run.checkpoint_path(state.epoch)
        path.parent.mkdir(exist_ok=True)
        write_tensors(path, *pack_state(state, whole))

    def save_status(self, status: Status, epoch: int, message: str = "") -> None:
        data = {"status": status, "epoch": epoch, "message": message}
        write_json(self.run.path / "status.json", data)

    def close(self, rows: list[Row], status: Status, epoch: int, message: str) -> None:
        """Mark the run as over; what it would have gone on from is no longer needed."""
        self._save_rows(rows)
        self.save_status(status, epoch, message)
        (self.run.path / "state.safetensors").unlink(missing_ok=True)

    def load_state(self) -> tuple[RunState, list[Row]] | None:
        """Where an interrupted run goes on from, and its rows up to there; None if nowhere."""
        path = self.run.path / "state.safetensors"
        if not path.exists() or not (self.run.path / "metrics.parquet").exists():
            return None
        state = unpack_state(*read_tensors(path))
        metrics = self.run.recorded_metrics
        rows = metrics[metrics["epoch"] <= state.epoch].to_dict("records")
        return state, [{str(name): value for name, value in row.items()} for row in rows]

    def _save_rows(self, rows: list[Row]) -> None:
        table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["epoch", *METRICS])
        write_table(self.run.path / "metrics.parquet", table.astype({"epoch": "int64"}))
