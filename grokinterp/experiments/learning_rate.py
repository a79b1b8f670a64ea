"""The learning rate, at a constant product with the weight decay, without LN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from grokinterp.audit import rules
from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.placement import both_names
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results, each_seed
from grokinterp.reproduction.outcomes import outcomes
from grokinterp.reproduction.recipe import FRESH_SEEDS, PAPER_RECIPE, SEEDS, UNTIL_GENERALISED

RATES = {f"lr {rate:g}": rate for rate in (1e-3, 3e-3, 5e-3, 1e-2)}


def plan(seeds: Sequence[int]) -> list[Planned]:
    return each_seed(configs(), seeds)


def configs() -> dict[str, RunConfig]:
    """By label."""
    model = ModelConfig("off")
    return {label: RunConfig(model=model, train=_recipe(rate)) for label, rate in RATES.items()}


def _recipe(rate: float) -> TrainConfig:
    if rate == PAPER_RECIPE.lr:
        return PAPER_RECIPE
    return replace(UNTIL_GENERALISED, lr=rate, couple_decay_to_lr=True)


def results(done: Done) -> Results:
    return outcomes(done, f"Learning rate, lr × decay constant, {both_names('off')}")


LEARNING_RATE = Experiment(
    title="Learning rate",
    question="With lr · weight decay fixed, does a larger learning rate generalise earlier?",
    plan=plan,
    results=results,
    seeds=SEEDS[:2] + FRESH_SEEDS,
    claims=(rules.learning_rate(RATES),),
)
