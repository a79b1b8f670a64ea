"""When a run memorised and when it generalised, as intervals between evaluated epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from grokinterp.checks import check_kind

if TYPE_CHECKING:
    import pandas as pd

MEMORISED_ACCURACY = 0.99
GENERALISED_ACCURACY = 0.995
GENERALISED_LOSS = 0.01
HOLD_EPOCHS = 200
PLATEAU_WIDTH = 0.05


@dataclass(frozen=True)
class Crossing:
    """The epoch of an event lies in (after, by].

    Args:
        after: The last evaluated epoch at which it had not happened.
        by: The first at which it had; None: not within `after` epochs.

    Examples:
        >>> str(Crossing(940, 950)), str(Crossing(10_000, None))
        ('950', 'not within 10,000')
    """

    after: int
    by: int | None

    def __str__(self) -> str:
        return f"{self.by:,}" if self.by is not None else f"not within {self.after:,}"


@dataclass(frozen=True)
class GrokkingTimes:
    """When a run memorised and generalised; each an interval, or censored.

    Args:
        memorised: Train accuracy ≥ 0.99.
        generalised: Test accuracy ≥ 0.995, first.
        generalised_for_good: Test accuracy ≥ 0.995, from where it stays there for 200 epochs.
        generalised_by_loss: Test loss ≤ 0.01, first.
    """

    memorised: Crossing
    generalised: Crossing
    generalised_for_good: Crossing
    generalised_by_loss: Crossing


def grokking_times(metrics: pd.DataFrame) -> GrokkingTimes:
    """The events of one run.

    Args:
        metrics: A row for each evaluated epoch, as `Run.metrics`.

    Raises:
        ValueError: They are no table.
    """
    _check_table(metrics)
    epochs = metrics["epoch"].tolist()
    accurate = (metrics["test_accuracy"] >= GENERALISED_ACCURACY).tolist()
    return GrokkingTimes(
        memorised=first_crossing(
            epochs, (metrics["train_accuracy"] >= MEMORISED_ACCURACY).tolist()
        ),
        generalised=first_crossing(epochs, accurate),
        generalised_for_good=_first_held(epochs, accurate),
        generalised_by_loss=first_crossing(
            epochs, (metrics["test_loss"] <= GENERALISED_LOSS).tolist()
        ),
    )


def _check_table(metrics: object) -> None:
    import pandas as pd  # Late: what describes a run does without it.

    check_kind("metrics", metrics, pd.DataFrame, "run.metrics")


@dataclass(frozen=True)
class Plateau:
    """From where a recorded scalar stands still to the end of its run.

    Args:
        since: The first evaluated epoch of it; None while it still moves.
        until: The last evaluated epoch.

    Examples:
        >>> str(Plateau(1_230, 10_000)), str(Plateau(None, 10_000))
        ('1,230', 'still moving at 10,000')
    """

    since: int | None
    until: int

    def __str__(self) -> str:
        return f"{self.since:,}" if self.since is not None else f"still moving at {self.until:,}"


def plateau(metrics: pd.DataFrame, name: str) -> Plateau:
    """From where the running median of a scalar stays within 5 % of its last value.

    A model that has generalised has not for that reason converged: a claim about an end state
    needs a plateau. The median is over the rows of the last 200 epochs, so that of several rows a
    spike is no movement; what has stood still for less than 200 epochs at the end still moves, and
    so does what ends at a value that is not finite.

    Args:
        metrics: A row for each evaluated epoch, as `Run.metrics`.
        name: A column of it. Rows without a value are left out.

    Raises:
        ValueError: There is no such column, or it holds no value.
    """
    _check_table(metrics)
    if name not in metrics or name == "epoch":
        columns = ", ".join(str(column) for column in metrics if column != "epoch")
        raise ValueError(f"no recorded scalar {name!r}; choose one of {columns}")
    rows = metrics[["epoch", name]].dropna()
    if rows.empty:
        raise ValueError(f"{name} was recorded at no epoch")
    epochs, values = rows["epoch"].to_numpy(), rows[name].to_numpy(float)
    first = epochs.searchsorted(epochs - HOLD_EPOCHS, side="right")
    medians = np.array([np.median(values[i : j + 1]) for j, i in enumerate(first)])
    if not np.isfinite(medians[-1]):
        return Plateau(None, int(epochs[-1]))
    moved = np.abs(medians - medians[-1]) > PLATEAU_WIDTH * abs(medians[-1])
    start = np.flatnonzero(moved)[-1] + 1 if moved.any() else 0
    since, until = int(epochs[start]), int(epochs[-1])
    return Plateau(since if until - since >= HOLD_EPOCHS else None, until)


def first_crossing(epochs: Sequence[int], happened: Sequence[bool]) -> Crossing:
    """The first epoch at which something happened, since the evaluated epoch before it."""
    previous = 0
    for epoch, yes in zip(epochs, happened, strict=True):
        if yes:
            return Crossing(previous, epoch)
        previous = epoch
    return Crossing(previous, None)


def _first_held(epochs: Sequence[int], happened: Sequence[bool]) -> Crossing:
    """The first evaluated epoch that begins HOLD_EPOCHS without a break.

    Of a stretch that the run's end cuts short nothing is known, so it is not within the epochs
    before it.
    """
    begun: int | None = None
    before = 0  # The evaluated epoch before the stretch.
    previous = 0
    for epoch, yes in zip(epochs, happened, strict=True):
        if not yes:
            begun = None
        elif begun is None:
            begun, before = epoch, previous
        if begun is not None and epoch - begun >= HOLD_EPOCHS:
            return Crossing(before, begun)
        previous = epoch
    return Crossing(previous if begun is None else before, None)
