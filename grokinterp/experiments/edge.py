"""How little data still generalises: three moduli, over the share of pairs that are trained on."""

from __future__ import annotations

from collections.abc import Sequence

from grokinterp.config import ModelConfig, RunConfig
from grokinterp.experiments.curves import generalising_epochs
from grokinterp.experiments.experiment import Done, Experiment, Planned, Results
from grokinterp.experiments.recipe import PAPER, SEEDS, UNTIL_GENERALISED
from grokinterp.experiments.tables import runs_table, seeds_table
from grokinterp.figures.strip import Number, strip
from grokinterp.task import ModularTask

MODULI = (59, 97, 113)
TRAIN_FRACTIONS = (0.2, 0.3, 0.4, 0.5)
PLACEMENTS = ("off", "mlp-pre")


def label(placement: str, p: int, fraction: float) -> str:
    return f"{placement}, p = {p}, {fraction:.0%}"


def plan(seeds: Sequence[int]) -> list[Planned]:
    return [
        Planned(
            label(placement, p, fraction),
            RunConfig(
                # Rounded: 1 - 0.3 is not 0.7 in binary, and the split is int(0.7 · p²).
                task=ModularTask(p=p, test_fraction=round(1 - fraction, 6)),
                model=ModelConfig(placement),
                # The paper's own runs, where this is what they are.
                train=PAPER if (p, fraction) == (113, 0.3) else UNTIL_GENERALISED,
                seed=seed,
            ),
        )
        for placement in PLACEMENTS
        for p in MODULI
        for fraction in TRAIN_FRACTIONS
        for seed in seeds
    ]


def results(done: Done) -> Results:
    epochs = generalising_epochs(done)
    series: dict[str, dict[str, list[Number]]] = {}
    for placement in PLACEMENTS:
        for p in MODULI:
            for fraction in TRAIN_FRACTIONS:
                seeds = epochs.get(label(placement, p, fraction))
                if seeds:
                    row = f"p = {p}, {fraction:.0%} trained on"
                    series.setdefault(placement, {})[row] = seeds
    figure = strip(
        series,
        "generalisation epoch",
        log=True,
        title="The edge of generalising: modulus and share of pairs trained on",
    )
    return Results({"overview": figure}, {"seeds": seeds_table(done), "runs": runs_table(done)})


EDGE = Experiment(
    title="Edge",
    question="How small may the train set be, with LN before the MLP and without LN?",
    plan=plan,
    results=results,
    seeds=SEEDS[:2],
)
