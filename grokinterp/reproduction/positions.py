"""LN positions, which several experiments share: their runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.reproduction.experiment import Afterwards, Planned, each_seed
from grokinterp.reproduction.recipe import PAPER_RECIPE

LN_POSITIONS = ("off", "attn-pre", "pre", "mlp-pre")
PATHWAYS = (*LN_POSITIONS, "attn-pre-qk", "attn-pre-v", "pre-v")


def placements(
    names: Iterable[str],
    seeds: Sequence[int],
    train: TrainConfig = PAPER_RECIPE,
    afterwards: Sequence[Afterwards] = (),
) -> list[Planned]:
    """Runs of these placements, labelled by them."""
    configs = {name: RunConfig(model=ModelConfig(name), train=train) for name in names}
    return each_seed(configs, seeds, afterwards)
