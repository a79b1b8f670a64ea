"""How features evolve: the NTK's way from its start."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from grokinterp.audit import rules
from grokinterp.audit.statistics import movement, probed
from grokinterp.reproduction.curves import probe_figure, series_figure
from grokinterp.reproduction.experiment import Afterwards, Done, Experiment, Planned, Results
from grokinterp.reproduction.positions import LN_POSITIONS, placements
from grokinterp.reproduction.recipe import FRESH_SEEDS, SEEDS

SPECTRA = "weight_spectra"
NEAR = (0, 10, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


MOVEMENT = (1000, 1500, 2000, 3000, 5000, 7500, 10_000)
"""Where the NTK is held against that of rules.STEP epochs before."""


def plan(seeds: Sequence[int]) -> list[Planned]:
    since_before = [
        Afterwards((rules.moved(epoch),), at=epoch, drawn_without=True) for epoch in MOVEMENT
    ]
    afterwards = [Afterwards((rules.NTK, SPECTRA), NEAR), *since_before]
    return placements(LN_POSITIONS, seeds, afterwards=afterwards)


def results(done: Done) -> Results:
    figures = {
        "ntk_distance": probe_figure(
            done,
            rules.NTK,
            "relative_distance",
            r"$\Vert K_t - K_0\Vert\,/\,\Vert K_0\Vert$",
            title="The NTK's distance from its start (sum of logits)",
            log_epochs=True,
            log_values=True,
        ),
        "ntk_movement": series_figure(
            done,
            lambda run: movement(run, rules.STEP),
            r"$\Vert K_t - K_s\Vert\,/\,\Vert K_s\Vert$",
            title=f"How far the NTK moved in the last {rules.STEP} epochs, $s = t - {rules.STEP}$",
            log_values=True,
        ),
        "weight_alpha": probe_figure(
            done,
            SPECTRA,
            "mean.alpha",
            "power-law α",
            title="Power-law exponent of the weight spectra, mean over matrices",
            log_epochs=True,
        ),
    }
    return Results(figures, {"ntk": _table(done)})


def _table(done: Done) -> pd.DataFrame:
    rows = []
    for planned, run in done:
        distances = probed(run, rules.NTK, "relative_distance")
        named = {f"epoch {epoch:,}": value for epoch, value in distances.items()}
        rows.append({"placement": planned.label, "seed": run.config.seed} | named)
    return pd.DataFrame(rows)


FEATURE_EVOLUTION = Experiment(
    title="Feature evolution",
    question="Do features move from the start, and all along?",
    plan=plan,
    results=results,
    seeds=SEEDS[:3] + FRESH_SEEDS,
    claims=(rules.continuous_feature_evolution(LN_POSITIONS),),
)
