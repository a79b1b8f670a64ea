"""What is recorded of a run while it trains."""

from __future__ import annotations

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
