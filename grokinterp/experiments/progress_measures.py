"""The signature of grokking, arXiv:2301.05217: the Fourier solution forms before it generalises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from grokinterp.audit.statistics import probed
from grokinterp.figures.progress_measures import progress_measures
from grokinterp.reproduction.curves import by_label
from grokinterp.reproduction.experiment import Afterwards, Done, Experiment, Planned, Results
from grokinterp.reproduction.positions import placements
from grokinterp.reproduction.recipe import SEEDS, UNTIL_GENERALISED
from grokinterp.store.run import Run

EVERY = 50
"""Epochs between checkpoints: the measures need the key frequencies of the training's end."""

RESTRICTED, EXCLUDED = "restricted_loss", "excluded_loss"


def plan(seeds: Sequence[int]) -> list[Planned]:
    recipe = replace(UNTIL_GENERALISED, checkpoint_every=EVERY, probes={})
    near = tuple(range(0, recipe.epochs + 1, EVERY))
    measures = [Afterwards((RESTRICTED, EXCLUDED), near)]
    return placements(("off", "mlp-pre"), seeds, recipe, measures)


def results(done: Done) -> Results:
    figures: dict[str, Figure | None] = {}
    for label, runs in by_label(done).items():
        run = runs[0]
        restricted, excluded = (probed(run, one, "loss") for one in (RESTRICTED, EXCLUDED))
        both = restricted.index.intersection(excluded.index)
        if both.empty:
            continue
        figures[label] = progress_measures(
            run.metrics,
            both.to_numpy(),
            restricted[both].to_numpy(),
            excluded[both].to_numpy(),
            memorised=run.grokking.memorised.by,
            generalised=run.grokking.generalised.by,
            title=f"Progress measures: {run.config.name}",
        )
    return Results(figures, {"progress_measures": _table(done)})


def _table(done: Done) -> pd.DataFrame:
    rows = []
    for planned, run in done:
        times = run.grokking
        row = {"placement": planned.label, "seed": run.config.seed}
        row |= {"memorised": times.memorised.by, "generalised": times.generalised.by}
        for probe in (RESTRICTED, EXCLUDED):
            name = probe.replace("_", " ")
            row |= {
                f"{name} when memorised": _at(run, probe, times.memorised.by),
                f"{name} when generalised": _at(run, probe, times.generalised.by),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _at(run: Run, probe: str, epoch: int | None) -> float:
    """At the last checkpoint until then; NaN where there is none."""
    values = probed(run, probe, "loss")
    values = values[values.index <= epoch] if epoch is not None else values[:0]
    return float(values.iloc[-1]) if len(values) else float("nan")


PROGRESS_MEASURES = Experiment(
    title="Progress measures",
    question="Does the Fourier solution form before a model generalises, with and without LN?",
    plan=plan,
    results=results,
    seeds=SEEDS[:3],
)
