"""The LN-position order under other optimisers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from grokinterp.audit import own_rules
from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results, each_seed
from grokinterp.reproduction.outcomes import grouped_outcomes
from grokinterp.reproduction.positions import LN_POSITIONS
from grokinterp.reproduction.recipe import FRESH_SEEDS, PAPER_RECIPE, UNTIL_GENERALISED

_BARE = replace(UNTIL_GENERALISED, probes={})
OTHERS: dict[str, TrainConfig] = {
    # Its steps are sized for AdamW's learning rate and decay.
    "Muon": replace(_BARE, optimizer="muon"),
    # On another seed rates of 0.3 and more diverged.
    "SGD": replace(_BARE, optimizer="sgd", lr=0.1, weight_decay=1e-4),
}
RECIPES = {"AdamW": PAPER_RECIPE, **OTHERS}


def plan(seeds: Sequence[int]) -> list[Planned]:
    configs = {
        f"{placement}, {name}": RunConfig(model=ModelConfig(placement), train=recipe)
        for name, recipe in RECIPES.items()
        for placement in LN_POSITIONS
    }
    return each_seed(configs, seeds)


def results(done: Done) -> Results:
    groups = {name: {one: f"{one}, {name}" for one in LN_POSITIONS} for name in RECIPES}
    return grouped_outcomes(done, groups, "LN position and optimiser")


OPTIMIZERS = Experiment(
    title="Optimisers",
    question="Does the order of the LN positions hold with Muon and with SGD?",
    plan=plan,
    results=results,
    seeds=FRESH_SEEDS,
    claims=(own_rules.optimizer_order([*OTHERS]),),
)
