"""How little data still generalises: three moduli, over the share of pairs that are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from grokinterp.config import ModelConfig, RunConfig
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results, each_seed
from grokinterp.reproduction.outcomes import grouped_outcomes
from grokinterp.reproduction.recipe import PAPER_RECIPE, SEEDS, UNTIL_GENERALISED
from grokinterp.task import ModularTask

MODULI = (59, 97, 113)
TRAIN_FRACTIONS = (0.2, 0.3, 0.4, 0.5)
CELLS = tuple(product(MODULI, TRAIN_FRACTIONS))
PLACEMENTS = ("off", "mlp-pre")


def label(placement: str, p: int, fraction: float) -> str:
    return f"{placement}, p = {p}, {fraction:.0%}"


def plan(seeds: Sequence[int]) -> list[Planned]:
    configs = {
        label(placement, p, fraction): RunConfig(
            # Rounded: 1 - 0.3 is not 0.7 in binary, and the split is int(0.7 · p²).
            task=ModularTask(p=p, test_fraction=round(1 - fraction, 6)),
            model=ModelConfig(placement),
            # The paper's own runs, where this is what they are.
            train=PAPER_RECIPE if (p, fraction) == (113, 0.3) else UNTIL_GENERALISED,
        )
        for placement in PLACEMENTS
        for p, fraction in CELLS
    }
    return each_seed(configs, seeds)


def results(done: Done) -> Results:
    groups = {
        placement: {
            f"p = {p}, {fraction:.0%} trained on": label(placement, p, fraction)
            for p, fraction in CELLS
        }
        for placement in PLACEMENTS
    }
    return grouped_outcomes(done, groups, "Modulus and share of pairs trained on")


EDGE = Experiment(
    title="Edge",
    question="How small may the train set be, with LN before the MLP and without LN?",
    plan=plan,
    results=results,
    seeds=SEEDS[:2],
)
