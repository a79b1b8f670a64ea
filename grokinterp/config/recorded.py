"""What is recorded of a run while it trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grokinterp.custom_loss import Loss
from grokinterp.gradient_filter import GradientFilter

if TYPE_CHECKING:
    AnyLoss = str | Loss
    Filters = tuple[GradientFilter, ...]
else:  # The command line gives the text.
    AnyLoss, Filters = str, tuple[str, ...]


METRICS = (
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "weight_norm",
    "grad_norm",
    "update_norm",
)


RECORDED = frozenset(
    {
        "eval_every",
        "checkpoint_every",
        "checkpoint_epochs",
        "checkpoint_ratio",
        "keep_optimizer",
        "probes",
    }
)
"""Fields of TrainConfig that say what is recorded, and change nothing of how a run trains."""
