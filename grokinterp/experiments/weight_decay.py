"""The weight decay, without LN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from grokinterp.audit import rules
from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.placement import both_names
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results, each_seed
from grokinterp.reproduction.outcomes import outcomes
from grokinterp.reproduction.recipe import FRESH_SEEDS, PAPER_RECIPE, SEEDS, UNTIL_GENERALISED

DECAYS = {f"decay {decay:g}": decay for decay in (0.1, 0.2, 0.5, 0.75, 1.0, 1.5)}


def plan(seeds: Sequence[int]) -> list[Planned]:
    model = ModelConfig("off")
    configs = {label: RunConfig(model=model, train=_recipe(d)) for label, d in DECAYS.items()}
    return each_seed(configs, seeds)


def _recipe(decay: float) -> TrainConfig:
    if decay == PAPER_RECIPE.weight_decay:
        return PAPER_RECIPE
    return replace(UNTIL_GENERALISED, weight_decay=decay)


def results(done: Done) -> Results:
    return outcomes(done, f"Weight decay, {both_names('off')}")


WEIGHT_DECAY = Experiment(
    title="Weight decay",
    question="Does a larger weight decay generalise earlier, and is there one too small?",
    plan=plan,
    results=results,
    seeds=SEEDS[:2] + FRESH_SEEDS,
    claims=(rules.weight_decay(DECAYS),),
)
