"""The shortcut through the norm of the MLP's input, in the paper's convention and isolated.

The paper probes every epoch; here it is every 50th (isolated) and every 100th (its convention).
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from grokinterp.audit.claim import Claim, Convention, Finding, above
from grokinterp.audit.statistics import by_seed, generalised, mean_while, memorised, probed
from grokinterp.experiments.curves import probe_figure
from grokinterp.experiments.direction_or_norm import SHUFFLED, UNIT_NORM
from grokinterp.experiments.direction_or_norm import plan as memorised_plan
from grokinterp.experiments.experiment import Done, Experiment, Planned, Results
from grokinterp.experiments.positions import placements
from grokinterp.experiments.recipe import SEEDS
from grokinterp.runs import Run

PLACEMENTS = ("off", "mlp-pre", "attn-pre-v", "attn-pre", "pre")
PROBES: dict[Convention, str] = {
    "paper": "shortcut:convention=paper,split=train",
    "isolated": UNIT_NORM,
}
RISE = "train_loss_rise"
# In nats: a smaller rise of the train loss is no dependence.
MEANINGFUL = 0.1
MEMORISED = " when memorised"


def plan(seeds: Sequence[int]) -> list[Planned]:
    short = [
        Planned(f"{one.label}{MEMORISED}", one.config, afterwards=one.afterwards)
        for one in memorised_plan(seeds)
        if one.label in PLACEMENTS
    ]
    return placements(PLACEMENTS, seeds) + short


def dependence(done: Done) -> list[Finding]:
    """Of the model without LN: with x/‖x‖, in the paper's convention and isolated.

    And, by a rule that was added when its outcome on one seed was known, what the norm says of
    the example is told from the scale that the MLP reads: each takes another's norm (shuffled).
    """
    runs = by_seed(done).values()
    plain = [labels["off"] for labels in runs if "off" in labels]
    short = [labels[f"off{MEMORISED}"] for labels in runs if f"off{MEMORISED}" in labels]
    findings = []
    for convention, probe in PROBES.items():
        before = [mean_while(run, probe, RISE, memorised(run), generalised(run)) for run in plain]
        after = [
            mean_while(run, probe, RISE, generalised(run)) if generalised(run).by else float("nan")
            for run in plain
        ]
        findings += [
            above(
                "rise of the train loss with x/‖x‖, memorised and not yet general (nats)",
                before,
                MEANINGFUL,
                convention,
            ),
            above(
                "the same less that after generalising (nats)",
                [b - a for b, a in zip(before, after, strict=True)],
                0.0,
                convention,
            ),
        ]
    findings.append(
        above(
            "rise of the train loss with another example's norm, when memorised (nats)",
            [float(probed(run, SHUFFLED, RISE).iloc[-1]) for run in short],
            MEANINGFUL,
            "shuffled",
        )
    )
    return findings


def _curves(done: Done) -> Done:
    return [one for one in done if not one[0].label.endswith(MEMORISED)]


def results(done: Done) -> Results:
    curves = _curves(done)
    figures = {
        f"rise_{convention}": probe_figure(
            curves,
            probe,
            RISE,
            "rise of the train loss",
            "nats",
            f"The MLP reads x/‖x‖, {name}",
            log_epochs=True,
        )
        for (convention, probe), name in zip(
            PROBES.items(),
            ("the paper's convention: attention LN removed too", "all else intact"),
            strict=True,
        )
    }
    phases = pd.DataFrame([_phases(planned.label, run) for planned, run in curves])
    return Results(figures, {"phases": phases} if curves else {})


def _phases(label: str, run: Run) -> dict[str, object]:
    row: dict[str, object] = {"placement": label, "seed": run.config.seed}
    for convention, probe in PROBES.items():
        row[f"{convention}: memorised"] = mean_while(
            run, probe, RISE, memorised(run), generalised(run)
        )
        row[f"{convention}: generalised"] = mean_while(run, probe, RISE, generalised(run))
    return row


SHORTCUT = Experiment(
    title="Shortcut",
    question="Does the memorised solution depend on the norm of the MLP's input?",
    plan=plan,
    results=results,
    seeds=SEEDS[:3],
    claims=(
        Claim(
            "norm_shortcut",
            "without LN the memorised solution depends on the norm of the MLP's input: removing "
            "it raises the train loss, most before generalising",
            dependence,
        ),
    ),
)
