"""Trackers: while runs train, their metrics go to Weights & Biases or TensorBoard too.

A tracker writes to STORE/tracking, and imports its package only when it is made.
"""

from __future__ import annotations

from collections.abc import Sequence

from grokinterp.checks import check_one_of
from grokinterp.store.progress import Observer, Several
from grokinterp.tracking.tensorboard import TensorBoardTracker
from grokinterp.tracking.tracker import Tracker
from grokinterp.tracking.wandb import WandbTracker

TRACKERS: dict[str, type[Tracker]] = {"wandb": WandbTracker, "tensorboard": TensorBoardTracker}


def observers(track: Sequence[str], *others: Observer) -> Observer:
    """The trackers of these names and the other observers, as one observer.

    Raises:
        ValueError: A name is unknown, or its package is not installed.
    """
    for name in track:
        check_one_of("tracker", name, [*TRACKERS])
    trackers = [TRACKERS[name]() for name in dict.fromkeys(track)]
    return Several([*trackers, *others])
