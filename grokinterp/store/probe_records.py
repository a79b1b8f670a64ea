"""What probes found on a run's checkpoints, in the run's folder.

probes.parquet                scalars: a row for each epoch, probe and value name, with the probe's
                              definition and where it was computed
probes/000100.safetensors     the arrays of an epoch, named `probe/name`
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock

from grokinterp.probes.calls import is_current
from grokinterp.store.files import read_table, read_tensors, write_table, write_tensors
from grokinterp.store.provenance import Provenance, here

COLUMNS = ["epoch", "probe", "name", "value", "definition", "provenance"]
FIRST = "1"
"""The definition of what was recorded before definitions were."""
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
        """The scalars: epoch, probe, name, value, definition, provenance (`Provenance.text`)."""
        if not self._path.exists():
            return _empty().copy()
        table = read_table(self._path)
        for column, before in (("definition", FIRST), ("provenance", Provenance().text)):
            if column not in table:
                table[column] = before
        return table

    @property
    def current(self) -> pd.DataFrame:
        """Those of probes that are defined now as they were then."""
        table = self.table
        if table.empty:
            return table
        kinds = table[["probe", "definition"]].drop_duplicates().itertuples(index=False)
        now = {(probe, known) for probe, known in kinds if is_current(probe, known)}
        stands = [kind in now for kind in zip(table["probe"], table["definition"], strict=True)]
        return table[np.array(stands, dtype=bool)]

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
        """Which probes are recorded as they are defined now, by epoch.

        The table is written last, so that what it holds is there as a whole.
        """
        table = self.current
        return {int(str(epoch)): set(rows["probe"]) for epoch, rows in table.groupby("epoch")}

    def add(
        self,
        epoch: int,
        scalars: Mapping[Key, float],
        arrays: Mapping[Key, np.ndarray],
        definitions: Mapping[str, str],
    ) -> None:
        """Record what was found at an epoch, here and now, in place of what these probes found
        there before.

        Every probe has a scalar, by which it is known to be recorded, and a definition.
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
                made = here().text
                rows = [
                    (epoch, probe, name, value, definitions[probe], made)
                    for (probe, name), value in scalars.items()
                ]
                new = pd.DataFrame(rows, columns=COLUMNS)
                table = pd.concat([old, new], ignore_index=True) if len(old) else new
                write_table(self._path, table.sort_values("epoch", kind="stable"))

    def _array_path(self, epoch: int) -> Path:
        return self._arrays / f"{epoch:06d}.safetensors"


@cache
def _empty() -> pd.DataFrame:
    return pd.DataFrame(columns=COLUMNS).astype({"epoch": "int64", "value": "float64"})
