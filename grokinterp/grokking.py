"""When a run memorised and when it generalised, as intervals between evaluated epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MEMORISED_ACCURACY = 0.99
GENERALISED_ACCURACY = 0.995
GENERALISED_LOSS = 0.01
HOLD_EPOCHS = 200


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
    """
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
