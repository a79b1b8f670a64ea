"""The paper's training recipe, which is TrainConfig's defaults, and what its figures record."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from grokinterp.config import RunConfig, TrainConfig

SEEDS = (456, 789, 111, 222, 333)
"""The paper's, which the rules of the claims were written in sight of."""
FRESH_SEEDS = (444, 555, 666, 777, 888, 999)
"""Those that confirm: fixed before any run of them was there."""

FRESH_INIT: Literal["lecun-icdf"] = "lecun-icdf"
"""How they draw what `lecun` draws. Most of their runs were trained on a GPU under PyTorch 2.11,
and what is compared by seed must begin with the same weights."""


def seeded(config: RunConfig, seed: int) -> RunConfig:
    """A config of an experiment under a seed."""
    if seed in FRESH_SEEDS and config.model.init == "lecun":
        config = replace(config, model=replace(config.model, init=FRESH_INIT))
    return replace(config, seed=seed)


def first_seeds(count: int) -> tuple[int, ...]:
    """So many of the paper's seeds.

    >>> first_seeds(2)
    (456, 789)
    """
    if not 1 <= count <= len(SEEDS):
        raise ValueError(f"seeds must be a number from 1 to {len(SEEDS)}; got {count}")
    return SEEDS[:count]


PAPER_RECIPE = TrainConfig(
    checkpoint_every=500,
    # Close together while the model memorises.
    checkpoint_ratio=1.25,
    probes={
        "fourier_concentration": 10,
        "attention_entropy": 50,
        "attention_entropy:convention=paper": 50,
        "compressibility": 50,
        "shortcut:split=train": 50,
        "shortcut:convention=paper,split=train": 100,
    },
)
"""TrainConfig's own recipe, with what the paper's figures need recorded."""

GENERALISED = "test_accuracy >= 0.995 for 200"

# Where only the epoch of generalising is asked for: the same steps, ended once it is known.
UNTIL_GENERALISED = replace(
    PAPER_RECIPE,
    stop_when=GENERALISED,
    checkpoint_every=1000,
    checkpoint_ratio=None,
    probes={"fourier_concentration": 10},
)
