"""How features evolve: the NTK's way from its start."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from grokinterp.audit.claim import Claim, Finding, above
from grokinterp.audit.statistics import (
    by_seed,
    probed,
)
from grokinterp.experiments.curves import probe_figure
from grokinterp.experiments.experiment import Afterwards, Done, Experiment, Planned, Results
from grokinterp.experiments.positions import LN_POSITIONS, placements
from grokinterp.experiments.recipe import SEEDS
from grokinterp.runs import Run

NTK = "ntk"
SPECTRA = "weight_spectra"
NEAR = (0, 10, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
# "Early on", and "orders of magnitude".
EARLY = 1000
ORDERS = 10.0


def plan(seeds: Sequence[int]) -> list[Planned]:
    return placements(LN_POSITIONS, seeds, afterwards=Afterwards((NTK, SPECTRA), NEAR))


def no_lazy_phase(done: Done) -> list[Finding]:
    runs = by_seed(done).values()
    findings = []
    for label in LN_POSITIONS:
        of_label = [labels[label] for labels in runs if label in labels]
        findings.append(
            above(
                f"{label}: ‖K_t - K_0‖/‖K_0‖, largest by epoch {EARLY:,}",
                [_distance(run, 0, EARLY) for run in of_label],
                ORDERS,
            )
        )
        findings.append(
            above(
                f"{label}: the same, after over before epoch {EARLY:,}",
                [_distance(run, EARLY + 1, 10_000) / _distance(run, 0, EARLY) for run in of_label],
                1.0,
            )
        )
    return findings


def _distance(run: Run, first: int, last: int) -> float:
    values = probed(run, NTK, "relative_distance")
    return float(values[(values.index >= first) & (values.index <= last)].max())


def results(done: Done) -> Results:
    figures = {
        "ntk_distance": probe_figure(
            done,
            NTK,
            "relative_distance",
            "‖K_t - K_0‖ / ‖K_0‖",
            title="The NTK's distance from its start (sum of logits)",
            log_epochs=True,
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
        distances = probed(run, NTK, "relative_distance")
        named = {f"epoch {epoch:,}": value for epoch, value in distances.items()}
        rows.append({"placement": planned.label, "seed": run.config.seed} | named)
    return pd.DataFrame(rows)


FEATURE_EVOLUTION = Experiment(
    title="Feature evolution",
    question="Do features move from the start, and all along?",
    plan=plan,
    results=results,
    seeds=SEEDS[:3],
    claims=(
        Claim(
            "continuous_feature_evolution",
            "the NTK moves by orders of magnitude from its start early on and keeps moving: no "
            "lazy phase",
            no_lazy_phase,
        ),
    ),
)
