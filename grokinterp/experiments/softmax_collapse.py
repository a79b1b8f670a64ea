"""Softmax collapse and its remedies, with LN before the MLP and without LN.

StableMax replaces the exponential and ⊥Grad the gradient along the weights (arXiv:2501.04697): each
is to make a memorised model generalise without weight decay. LN before the MLP bounds what the
logits can gain by scale. Does it do the same?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from grokinterp.audit import own_rules
from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.reproduction.curves import column_figure
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results, each_seed
from grokinterp.reproduction.outcomes import grouped_outcomes
from grokinterp.reproduction.recipe import FRESH_SEEDS, PAPER_RECIPE, SEEDS, UNTIL_GENERALISED

PLACEMENTS = ("off", "mlp-pre")
USUAL, STABLEMAX, ORTHOGONAL = "float64", "StableMax", "⊥Grad"
LOSSES: dict[str, dict[str, Any]] = {
    USUAL: {},
    "float32": {"loss_dtype": "float32"},
    "float32 by margins": {"loss_dtype": "float32", "loss_form": "margins"},
    STABLEMAX: {"loss": "stablemax"},
    ORTHOGONAL: {"gradient_filters": ("orthogonal",)},
}
DECAYS = {"": 1.0, ", no decay": 0.0}


def recipe(loss: str, weight_decay: float) -> TrainConfig:
    changes = LOSSES[loss]
    # Those of cross-entropy with decay are there from other experiments.
    known = weight_decay and loss not in (STABLEMAX, ORTHOGONAL)
    base = PAPER_RECIPE if known else replace(UNTIL_GENERALISED, probes={})
    return replace(base, weight_decay=weight_decay, **changes)


def plan(seeds: Sequence[int]) -> list[Planned]:
    configs = {
        f"{placement}, {loss}{suffix}": RunConfig(
            model=ModelConfig(placement), train=recipe(loss, decay)
        )
        for suffix, decay in DECAYS.items()
        for loss in LOSSES
        for placement in PLACEMENTS
    }
    return each_seed(configs, seeds)


def results(done: Done) -> Results:
    groups = {
        f"{placement}{suffix}": {loss: f"{placement}, {loss}{suffix}" for loss in LOSSES}
        for suffix in DECAYS
        for placement in PLACEMENTS
    }
    found = grouped_outcomes(done, groups, "Softmax collapse and its remedies")
    plain = [one for one in done if one[0].label in groups[PLACEMENTS[0]].values()]
    norms = column_figure(
        plain, "weight_norm", "weight norm", title="No LN: weight norm", log_epochs=True
    )
    return Results({**found.figures, "weight_norm": norms}, found.tables)


SOFTMAX_COLLAPSE = Experiment(
    title="Softmax collapse",
    question="Does LN before the MLP do what StableMax and ⊥Grad do?",
    plan=plan,
    results=results,
    seeds=SEEDS[:3] + FRESH_SEEDS,
    claims=(own_rules.softmax_collapse(USUAL, (STABLEMAX, ORTHOGONAL), *PLACEMENTS),),
)
