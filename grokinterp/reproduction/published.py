"""What the paper reports, to set beside what is measured."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from grokinterp.store.files import read_json


@cache
def published() -> dict[str, Any]:
    """Epochs by placement, as published.json names them, and their source."""
    return read_json(Path(__file__).with_suffix(".json"))


def generalisation_epochs() -> dict[str, int]:
    """The first epoch at which the mean over five seeds of the test accuracy is 0.995."""
    return published()["generalisation_epoch_of_mean_test_accuracy_0.995"]


def best_seed_epochs() -> dict[str, int]:
    """The first epoch at which the test accuracy of the best of five seeds is 1."""
    return published()["epoch_of_best_seed_test_accuracy_1.0"]


def epochs_near_minimum(name: str) -> dict[str, int]:
    """When effective_rank or alpha is first within 10 % of its minimum, in the paper's curves."""
    return published()["epoch_within_10_percent_of_minimum"][name]
