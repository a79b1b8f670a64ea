"""Uniform attention, forced while LN on the query and key inputs trains.

Queries and keys then have no effect, so the model without LN is the same function, trained alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from grokinterp.config import ModelConfig, RunConfig
from grokinterp.grokking import HOLD_EPOCHS
from grokinterp.hooks import UniformAttention
from grokinterp.reproduction.curves import accuracy_figure
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results, each_seed
from grokinterp.reproduction.recipe import PAPER_RECIPE, SEEDS, UNTIL_GENERALISED

UNIFORM = replace(UNTIL_GENERALISED, probes={}, interventions=(UniformAttention(),))


def plan(seeds: Sequence[int]) -> list[Planned]:
    normed, plain = ModelConfig("attn-pre-qk"), ModelConfig("off")
    configs = {
        "A^qk": RunConfig(model=normed, train=PAPER_RECIPE),
        "A^qk, attention uniform": RunConfig(model=normed, train=UNIFORM),
        "No LN": RunConfig(model=plain, train=PAPER_RECIPE),
    }
    return each_seed(configs, seeds)


def results(done: Done) -> Results:
    rows = []
    for planned, run in done:
        times, last = run.grokking, run.metrics.iloc[-1]
        rows.append(
            {
                "training": planned.label,
                "seed": run.config.seed,
                "memorised": str(times.memorised),
                "generalised": str(times.generalised),
                f"held {HOLD_EPOCHS} epochs": str(times.generalised_for_good),
                "epochs": int(last["epoch"]),
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
    seeds=SEEDS[:3],
)
