"""The paper's runs, that several experiments share: a placement, its seeds, its own recipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.experiments.experiment import Afterwards, Planned
from grokinterp.experiments.recipe import PAPER

LN_POSITIONS = ("off", "attn-pre", "pre", "mlp-pre")
PATHWAYS = (*LN_POSITIONS, "attn-pre-qk", "attn-pre-v", "pre-v")


def placements(
    names: Iterable[str],
    seeds: Sequence[int],
    train: TrainConfig = PAPER,
    afterwards: Afterwards | None = None,
) -> list[Planned]:
    """Runs of these placements, labelled by them."""
    return [
        Planned(
            name,
            RunConfig(model=ModelConfig(name), train=train, seed=seed),
            afterwards=afterwards,
        )
        for name in names
        for seed in seeds
    ]
