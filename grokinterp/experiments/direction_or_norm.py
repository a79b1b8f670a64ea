"""Which of direction or norm of the MLP's input carries the memorised solution."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from grokinterp.ablation import ablate, scalars
from grokinterp.config import ModelConfig, RunConfig
from grokinterp.experiments.experiment import Experiment, Planned, Results
from grokinterp.experiments.recipe import PAPER
from grokinterp.hooks import ShuffleNorm, UnitNorm
from grokinterp.placement import PLACEMENTS
from grokinterp.probes.norm_readout import norm_readout
from grokinterp.runs import Run

ABLATIONS = {
    "x/‖x‖": (UnitNorm("mlp"),),
    "norm of another": (ShuffleNorm("mlp"),),
}


def plan(seeds: Sequence[int]) -> list[Planned]:
    return [
        Planned(placement, RunConfig(model=ModelConfig(placement), train=PAPER, seed=seed))
        for placement in PLACEMENTS
        for seed in seeds
    ]


def results(done: list[tuple[Planned, Run]]) -> Results:
    rows = []
    for planned, run in done:
        memorised = run.grokking.memorised.by
        if memorised is None:
            continue
        epoch = min(e for e in run.checkpoint_epochs if e >= memorised)
        snapshot = run.snapshot(epoch)
        row = {"placement": planned.label, "seed": run.config.seed, "epoch": epoch}
        for name, interventions in ABLATIONS.items():
            found = scalars(ablate(snapshot, interventions))
            row["train loss"] = found["intact.train_loss"]
            row[f"{name}: train loss"] = found["ablated.train_loss"]
            row[f"{name}: train accuracy"] = found["ablated.train_accuracy"]
        row["label from the norm, above shuffled"] = norm_readout(snapshot)["rise"]
        rows.append(row)
    return Results({}, {"direction_or_norm": pd.DataFrame(rows)})


DIRECTION_OR_NORM = Experiment(
    title="Direction or norm",
    question=(
        "When a model has memorised, what of the MLP's input carries the solution: its direction, "
        "or what its norm says about the example?"
    ),
    plan=plan,
    results=results,
)
