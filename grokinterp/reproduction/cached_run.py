"""A run whose metrics are read once, however many figures and tables take them."""

from __future__ import annotations

from functools import cached_property

import pandas as pd

from grokinterp.grokking import GrokkingTimes, grokking_times
from grokinterp.store.probe_records import Records
from grokinterp.store.run import Run


class CachedRun(Run):
    """For as long as a plan is at work: what is probed meanwhile, it does not see."""

    def read(self) -> None:
        """Read what results are made of now. StoreError if that cannot be."""
        _ = self.metrics, self.records.current

    @cached_property
    def records(self) -> Records:  # type: ignore[override]
        return _ReadOnce(self.path)

    @cached_property
    def metrics(self) -> pd.DataFrame:  # type: ignore[override]
        return super().metrics

    @cached_property
    def grokking(self) -> GrokkingTimes:  # type: ignore[override]
        return grokking_times(self.metrics)

    @cached_property
    def probes(self) -> pd.DataFrame:  # type: ignore[override]
        return super().probes


class _ReadOnce(Records):
    @cached_property
    def current(self) -> pd.DataFrame:  # type: ignore[override]
        return super().current
