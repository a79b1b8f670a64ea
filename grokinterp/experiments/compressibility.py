"""When features become compressible, beside when the model generalises."""

from __future__ import annotations

from collections.abc import Sequence

from grokinterp.audit import rules
from grokinterp.audit.statistics import generalised, kendall, memorised, probed, rule_met
from grokinterp.reproduction.against_paper import Comparison, near_minimum, of_mean
from grokinterp.reproduction.against_paper import compare as compare_with
from grokinterp.reproduction.crossings import crossing_figure, crossing_table
from grokinterp.reproduction.curves import SMOOTHED, by_label, probe_figure
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results
from grokinterp.reproduction.positions import LN_POSITIONS, placements
from grokinterp.reproduction.published import epochs_near_minimum, generalisation_epochs
from grokinterp.reproduction.recipe import FRESH_SEEDS, SEEDS

EFFECTIVE_RANK = rule_met("compressibility", "effective_rank")
ALPHA = rule_met("compressibility", "alpha")


def plan(seeds: Sequence[int]) -> list[Planned]:
    return placements(LN_POSITIONS, seeds)


VALUES = {"effective_rank": "effective rank", "alpha": "power-law α"}


def published() -> dict[str, float]:
    """Kendall's τ of the epochs that the paper reports, by value."""
    reported = {value: (epochs_near_minimum(value), generalisation_epochs()) for value in VALUES}
    taus = {
        value: kendall(*([float(of[one]) for one in LN_POSITIONS] for of in both))
        for value, both in reported.items()
    }
    # Bounds would be of epochs that are not known, and the paper reports each.
    return {value: tau for value, tau in taus.items() if isinstance(tau, float)}


def compare(done: Done) -> list[Comparison]:
    """When the mean curves come within 10 % of their minimum, as the paper reports it."""
    found = []
    for name, runs in by_label(done).items():
        for value, said in VALUES.items():
            what = f"{name}: epoch of mean {said} within 10 % of its minimum"
            curves = [probed(run, "compressibility", value) for run in runs]
            near = epochs_near_minimum(value)[name]
            found.append(compare_with(CLAIM.name, what, near, curves, of_mean(near_minimum)))
    return found


CLAIM = rules.compressibility(LN_POSITIONS, published())


def results(done: Done) -> Results:
    figures = {
        "effective_rank": probe_figure(
            done,
            "compressibility",
            "effective_rank",
            "effective rank",
            title="Effective rank of the last residual, train inputs",
            window=SMOOTHED,
        ),
        "alpha": probe_figure(
            done,
            "compressibility",
            "alpha",
            "power-law α",
            title="Power-law exponent of the last residual's spectrum, train inputs",
            window=SMOOTHED,
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
    seeds=SEEDS + FRESH_SEEDS,
    claims=(CLAIM,),
    compare=compare,
)
