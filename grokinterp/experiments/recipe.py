"""The paper's training recipe, with what its figures need recorded on the way."""

from __future__ import annotations

from dataclasses import replace

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

GENERALISED = "test_accuracy >= 0.995 for 200"

# Where only the epoch of generalising is asked for: the same steps, ended once it is known.
UNTIL_GENERALISED = replace(
    PAPER,
    stop_when=GENERALISED,
    checkpoint_every=1000,
    checkpoint_ratio=None,
    probes={"fourier_concentration": 10},
)
