"""What probes found on a run's checkpoints, in the run's folder.

probes.parquet                scalars: a row for each epoch, probe and value name
probes/000100.safetensors     the arrays of an epoch, named `probe/name`
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock

from grokinterp.files import read_table, read_tensors, write_table, write_tensors

COLUMNS = ["epoch", "probe", "name", "value"]
Key = tuple[str, str]
"""Probe, with its options; and the name of one of its values."""


class Records:
    """Reads and writes them; several processes may write at once."""

    def __init__(self, run: Path) -> None:
        self._path = run / "probes.parquet"
        self._arrays = run / "probes"
        self._lock = run / "probes.lock"

    @property
    def table(self) -> pd.DataFrame:
        """The scalars: epoch, probe, name, value."""
        if not self._path.exists():
            return pd.DataFrame(columns=COLUMNS).astype({"epoch": "int64", "value": "float64"})
        return read_table(self._path)

    def arrays(self, epoch: int) -> dict[Key, np.ndarray]:
        path = self._array_path(epoch)
        if not path.exists():
            return {}
        found = {}
        for key, tensor in read_tensors(path)[0].items():
            probe, _, name = key.partition("/")
            found[probe, name] = tensor.numpy()
        return found

    def probes(self) -> dict[int, set[str]]:
        """Which probes are recorded, by epoch.

        The table is written last, so that what it holds is there as a whole.
        """
        return {int(str(epoch)): set(rows["probe"]) for epoch, rows in self.table.groupby("epoch")}

    def add(
        self, epoch: int, scalars: Mapping[Key, float], arrays: Mapping[Key, np.ndarray]
    ) -> None:
        """Record what was found at an epoch, in place of what these probes found there before.

        Every probe has a scalar, by which it is known to be recorded.
        """
        probes = {probe for probe, _ in [*scalars, *arrays]}
        with FileLock(self._lock):
            if arrays:
                kept = {k: v for k, v in self.arrays(epoch).items() if k[0] not in probes}
                tensors = {
                    f"{probe}/{name}": torch.from_numpy(np.array(value))
                    for (probe, name), value in {**kept, **arrays}.items()
                }
                self._arrays.mkdir(exist_ok=True)
                write_tensors(self._array_path(epoch), tensors, {"epoch": epoch})
            if scalars:
                old = self.table
                old = old[~((old["epoch"] == epoch) & old["probe"].isin(probes))]
                rows = [(epoch, probe, name, value) for (probe, name), value in scalars.items()]
                new = pd.DataFrame(rows, columns=COLUMNS)
                table = pd.concat([old, new], ignore_index=True) if len(old) else new
                write_table(self._path, table.sort_values("epoch", kind="stable"))

    def _array_path(self, epoch: int) -> Path:
        return self._arrays / f"{epoch:06d}.safetensors"
