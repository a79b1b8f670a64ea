"""The learning rate, at a constant product with the weight decay, without LN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.experiments.claim import Claim, Finding, below
from grokinterp.experiments.curves import accuracy_figure, overview_figure
from grokinterp.experiments.epochs import by_seed, trends
from grokinterp.experiments.experiment import Done, Experiment, Planned, Results
from grokinterp.experiments.recipe import PAPER, SEEDS, UNTIL_GENERALISED
from grokinterp.experiments.tables import runs_table, seeds_table

RATES = {f"lr {rate:g}": rate for rate in (1e-3, 3e-3, 5e-3, 1e-2)}


def plan(seeds: Sequence[int]) -> list[Planned]:
    model = ModelConfig("off")
    return [
        Planned(label, RunConfig(model=model, train=_recipe(rate), seed=seed))
        for label, rate in RATES.items()
        for seed in seeds
    ]


def _recipe(rate: float) -> TrainConfig:
    if rate == PAPER.lr:
        return PAPER
    return replace(UNTIL_GENERALISED, lr=rate, couple_decay_to_lr=True)


def faster(done: Done) -> list[Finding]:
    values = trends(by_seed(done), RATES)
    return [below("Kendall's τ of lr and generalisation epoch", values)]


def results(done: Done) -> Results:
    title = "Learning rate, lr · decay constant, No LN"
    figures = {
        "accuracy": accuracy_figure(done, f"{title}: test accuracy"),
        "overview": overview_figure(done, title),
    }
    return Results(figures, {"seeds": seeds_table(done), "runs": runs_table(done)})


LEARNING_RATE = Experiment(
    title="Learning rate",
    question="With lr · weight decay fixed, does a larger learning rate generalise earlier?",
    plan=plan,
    results=results,
    seeds=SEEDS[:2],
    claims=(
        Claim(
            "learning_rate",
            "with lr*wd fixed, a larger learning rate generalises earlier",
            faster,
        ),
    ),
)
