"""Uniform attention, forced while LN on the query and key inputs trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from grokinterp.config import ModelConfig, RunConfig
from grokinterp.experiments.experiment import Experiment, Planned, Results, accuracy_figure
from grokinterp.experiments.recipe import PAPER
from grokinterp.hooks import UniformAttention
from grokinterp.runs import Run

FORCED = "A^qk, attention uniform"


def plan(seeds: Sequence[int]) -> list[Planned]:
    planned = []
    for seed in seeds:
        config = RunConfig(model=ModelConfig("attn-pre-qk"), train=PAPER, seed=seed)
        uniform = replace(PAPER, interventions=(UniformAttention(),))
        planned.append(Planned("A^qk", config))
        planned.append(Planned(FORCED, replace(config, train=uniform)))
        planned.append(
            Planned(
                "No LN, attention uniform",
                replace(config, model=ModelConfig("off"), train=uniform),
            )
        )
    return planned


def results(done: list[tuple[Planned, Run]]) -> Results:
    rows = []
    for planned, run in done:
        times, last = run.grokking, run.metrics.iloc[-1]
        rows.append(
            {
                "training": planned.label,
                "seed": run.config.seed,
                "memorised": str(times.memorised),
                "generalised": str(times.generalised),
                "for good": str(times.generalised_for_good),
                "test accuracy at the end": last["test_accuracy"],
            }
        )
    figure = accuracy_figure(done, "Attention forced to be uniform while training")
    return Results({"test_accuracy": figure}, {"uniform_attention": pd.DataFrame(rows)})


UNIFORM_ATTENTION = Experiment(
    title="Uniform attention",
    question=(
        "LN on the query and key inputs alone does not generalise within 10,000 epochs, and has "
        "the lowest attention entropy. Does it generalise early if its attention is kept uniform?"
    ),
    plan=plan,
    results=results,
)
