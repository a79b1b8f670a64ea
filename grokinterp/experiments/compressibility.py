"""When features become compressible, beside when the model generalises."""

from __future__ import annotations

from collections.abc import Sequence

from grokinterp.audit.claim import CLEAR, Claim, Finding, above
from grokinterp.audit.statistics import (
    agreements,
    by_seed,
    generalised,
    kendall,
    memorised,
    rule_met,
)
from grokinterp.experiments.crossings import crossing_figure, crossing_table
from grokinterp.experiments.curves import probe_figure
from grokinterp.experiments.experiment import Done, Experiment, Planned, Results
from grokinterp.experiments.positions import LN_POSITIONS, placements
from grokinterp.experiments.published import epochs_near_minimum, generalisation_epochs

EFFECTIVE_RANK = rule_met("compressibility", "effective_rank")
ALPHA = rule_met("compressibility", "alpha")


def plan(seeds: Sequence[int]) -> list[Planned]:
    return placements(LN_POSITIONS, seeds)


def compressible(done: Done) -> list[Finding]:
    runs = by_seed(done)
    return [
        above(
            f"Kendall's τ over placements, epoch near the least {name} and generalisation epoch",
            agreements(runs, LN_POSITIONS, when),
            CLEAR,
            published=f"{_published(value):.2g}",
        )
        for name, value, when in (
            ("effective rank", "effective_rank", EFFECTIVE_RANK),
            ("power-law α", "alpha", ALPHA),
        )
    ]


def _published(value: str) -> float:
    """The same of the epochs that the paper reports."""
    near, general = epochs_near_minimum(value), generalisation_epochs()
    return kendall(*([float(epochs[one]) for one in LN_POSITIONS] for epochs in (near, general)))


def results(done: Done) -> Results:
    figures = {
        "effective_rank": probe_figure(
            done,
            "compressibility",
            "effective_rank",
            "effective rank",
            title="Effective rank of the last residual, train inputs",
        ),
        "alpha": probe_figure(
            done,
            "compressibility",
            "alpha",
            "power-law α",
            title="Power-law exponent of the last residual's spectrum, train inputs",
        ),
        "crossings": crossing_figure(
            done,
            {
                "effective rank": EFFECTIVE_RANK,
                "power-law α": ALPHA,
            },
            "epoch within 10 % of the minimum",
            title="Compressible, and general: a mark for each run",
        ),
    }
    events = {
        "memorised": memorised,
        "generalised": generalised,
        "effective rank within 10 % of its minimum": EFFECTIVE_RANK,
        "power-law α within 10 % of its minimum": ALPHA,
    }
    return Results(figures, {"crossings": crossing_table(done, events)})


COMPRESSIBILITY = Experiment(
    title="Compressibility",
    question="Does the epoch at which features become compressible tell when it generalises?",
    plan=plan,
    results=results,
    claims=(
        Claim(
            "compressibility_predicts_generalisation",
            "the epoch at which effective rank and power-law alpha come within 10 percent of "
            "their minimum orders like the generalisation epoch",
            compressible,
        ),
    ),
)
