"""The signature of grokking, arXiv:2301.05217: the Fourier solution forms before it generalises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from grokinterp.audit.statistics import probed
from grokinterp.figures.progress_measures import progress_measures
from grokinterp.placement import both_names
from grokinterp.reproduction.curves import by_label
from grokinterp.reproduction.experiment import Afterwards, Done, Experiment, Planned, Results
from grokinterp.reproduction.positions import placements
from grokinterp.reproduction.recipe import SEEDS, UNTIL_GENERALISED
from grokinterp.store.run import Run

EVERY = 50
"""Epochs between checkpoints: the measures need the key frequencies of the training's end."""

MEASURES = ("restricted_loss", "excluded_loss")


def plan(seeds: Sequence[int]) -> list[Planned]:
    recipe = replace(UNTIL_GENERALISED, checkpoint_every=EVERY, probes={})
    near = tuple(range(0, recipe.epochs + 1, EVERY))
    measures = [Afterwards(MEASURES, near)]
    return placements(("off", "mlp-pre"), seeds, recipe, measures)


def results(done: Done) -> Results:
    figures: dict[str, Figure | None] = {}
    for label, runs in by_label(done).items():
        run = runs[0]
        restricted, excluded = (probed(run, one, "loss") for one in MEASURES)
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
            title=f"Progress measures: {both_names(label)}, seed {run.config.seed}",
        )
    return Results(figures, {"progress_measures": _table(done)})


def _table(done: Done) -> pd.DataFrame:
    """When the excluded loss turned and the restricted loss fell, beside the events."""
    rows = []
    for planned, run in done:
        times = run.grokking
        restricted, excluded = (_until(run, probed(run, one, "loss")) for one in MEASURES)
        test = _until(run, run.metrics.set_index("epoch")["test_loss"])
        rows.append(
            {
                "placement": planned.label,
                "seed": run.config.seed,
                "memorised": times.memorised.by,
                "excluded loss lowest": _lowest(excluded),
                "restricted loss halved": halved(restricted),
                "test loss halved": halved(test),
                "generalised": times.generalised.by,
            }
        )
    return pd.DataFrame(rows)


def _until(run: Run, values: pd.Series) -> pd.Series:
    """Until it generalised."""
    end = run.grokking.generalised.by
    return values if end is None else values[values.index <= end]


def _lowest(values: pd.Series) -> int | None:
    return None if values.empty else int(values.index.to_numpy()[values.argmin()])


def halved(values: pd.Series) -> int | None:
    """The first epoch, after that of the largest value, with less than half of it; None if none.

    >>> halved(pd.Series([4.0, 5.0, 2.6, 2.4, 3.0], index=[0, 50, 100, 150, 200]))
    150
    """
    if values.empty:
        return None
    after = values.iloc[int(values.argmax()) + 1 :]
    low = after[after < values.max() / 2]
    return None if low.empty else int(low.index.to_numpy()[0])


PROGRESS_MEASURES = Experiment(
    title="Progress measures",
    question="Does the Fourier solution form before a model generalises, with and without LN?",
    plan=plan,
    results=results,
    seeds=SEEDS[:3],
)
