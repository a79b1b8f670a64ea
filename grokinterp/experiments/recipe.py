"""The paper's training recipe, with what its figures need recorded on the way."""

from __future__ import annotations

from grokinterp.config import TrainConfig

SEEDS = (456, 789, 111, 222, 333)

PAPER = TrainConfig(
    epochs=10_000,
    checkpoint_every=500,
    # Close together while the model memorises.
    checkpoint_ratio=1.25,
    probes={
        "fourier_concentration": 10,
        "cheap": 50,
        "attention_entropy:convention=paper": 50,
        "shortcut:convention=paper,split=train": 100,
    },
)
