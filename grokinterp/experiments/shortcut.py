"""The shortcut through the norm of the MLP's input, in the paper's convention and isolated.

The paper probes every epoch; here it is every 50th (isolated) and every 100th (its convention).
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from grokinterp.audit import rules
from grokinterp.audit.statistics import generalised, mean_while, memorised
from grokinterp.experiments.direction_or_norm import plan as memorised_plan
from grokinterp.figures.evolution import same_values
from grokinterp.reproduction.curves import SMOOTHED, probe_figure
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results
from grokinterp.reproduction.positions import placements
from grokinterp.reproduction.recipe import FRESH_SEEDS, SEEDS
from grokinterp.store.run import Run

PLACEMENTS = ("off", "mlp-pre", "attn-pre-v", "attn-pre", "pre")
MEMORISED = " when memorised"


def plan(seeds: Sequence[int]) -> list[Planned]:
    short = [
        Planned(f"{one.label}{MEMORISED}", one.config, afterwards=one.afterwards)
        for one in memorised_plan(seeds)
        if one.label in PLACEMENTS
    ]
    return placements(PLACEMENTS, seeds) + short


def _curves(done: Done) -> Done:
    return [one for one in done if not one[0].label.endswith(MEMORISED)]


def results(done: Done) -> Results:
    curves = _curves(done)
    figures = {
        f"rise_{convention}": probe_figure(
            curves,
            probe,
            rules.RISE,
            "rise of the train loss",
            "nats",
            f"The MLP reads x/‖x‖, {name}",
            log_epochs=True,
            window=SMOOTHED,
        )
        for (convention, probe), name in zip(
            rules.SHORTCUTS.items(),
            ("the paper's convention: attention LN removed too", "all else intact"),
            strict=True,
        )
    }
    same_values(*figures.values())
    phases = pd.DataFrame([_phases(planned.label, run) for planned, run in curves])
    return Results(figures, {"phases": phases} if curves else {})


def _phases(label: str, run: Run) -> dict[str, object]:
    row: dict[str, object] = {"placement": label, "seed": run.config.seed}
    for convention, probe in rules.SHORTCUTS.items():
        row[f"{convention}: memorised"] = mean_while(
            run, probe, rules.RISE, memorised(run), generalised(run)
        )
        row[f"{convention}: generalised"] = mean_while(run, probe, rules.RISE, generalised(run))
    return row


SHORTCUT = Experiment(
    title="Shortcut",
    question="Does the memorised solution depend on the norm of the MLP's input?",
    plan=plan,
    results=results,
    seeds=SEEDS[:3] + FRESH_SEEDS,
    claims=(rules.norm_shortcut("off", f"off{MEMORISED}"),),
)
