"""LN on some of the attention's inputs: which of them matter, and the entropy of attention."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from scipy.stats import spearmanr

from grokinterp.audit.claim import CLEAR, Claim, Convention, Finding, above, below, every
from grokinterp.audit.statistics import (
    by_seed,
    generalised,
    mean_between,
    not_within,
    places,
    ratios,
    while_memorising,
)
from grokinterp.experiments.curves import accuracy_figure, overview_figure, probe_figure
from grokinterp.experiments.experiment import Done, Experiment, Planned, Results
from grokinterp.experiments.positions import PATHWAYS, placements
from grokinterp.experiments.published import generalisation_epochs
from grokinterp.experiments.tables import runs_table, seeds_table
from grokinterp.runs import Run

# "Far earlier": at least twice as early.
FAR = 2.0
ENTROPIES: dict[Convention, str] = {
    "paper": "attention_entropy:convention=paper",
    "per head": "attention_entropy",
}
# The claimed order, and the one that must be lower than all of them.
ORDER = ("mlp-pre", "attn-pre-v", "attn-pre", "off")
LOWEST = "attn-pre-qk"


def plan(seeds: Sequence[int]) -> list[Planned]:
    return placements(PATHWAYS, seeds)


def pathways(done: Done) -> list[Finding]:
    runs = by_seed(done)
    return [
        above("generalisation epoch, off / attn-pre-v", ratios(runs, "off", "attn-pre-v"), FAR),
        above(
            "generalisation epoch, attn-pre-v / mlp-pre", ratios(runs, "attn-pre-v", "mlp-pre"), 1.0
        ),
        every("attn-pre-qk not within 10,000 epochs", not_within(runs, "attn-pre-qk", 10_000)),
    ]


def entropy(done: Done) -> list[Finding]:
    """Of each seed that has all that are compared, while none of these has generalised."""
    runs = [of for of in by_seed(done).values() if all(name in of for name in (*ORDER, LOWEST))]
    findings = []
    for convention, probe in ENTROPIES.items():
        entropies = [_entropies(of_label, probe) for of_label in runs]
        findings += [
            above(
                f"entropy while memorising, {higher} - {lower} (nats)",
                [one[higher] - one[lower] for one in entropies],
                convention=convention,
            )
            for higher, lower in itertools.pairwise(ORDER)
        ]
        findings += [
            above(
                f"entropy while memorising, least of these - {LOWEST} (nats)",
                [min(one[name] for name in ORDER) - one[LOWEST] for one in entropies],
                convention=convention,
            ),
            below(
                "Spearman's ρ over placements, entropy and generalisation epoch",
                [_correlation(*pair) for pair in zip(runs, entropies, strict=True)],
                -CLEAR,
                convention=convention,
            ),
        ]
    return findings


def _entropies(of_label: Mapping[str, Run], probe: str) -> dict[str, float]:
    """By placement, over the same epochs: from when all know the train pairs until one is general.

    NaN where there are no such epochs.
    """
    epochs = while_memorising(of_label[name] for name in (*ORDER, LOWEST))
    return {
        name: math.nan if epochs is None else mean_between(run, probe, "mean", *epochs)
        for name, run in of_label.items()
    }


def _correlation(of_label: Mapping[str, Run], entropies: Mapping[str, float]) -> float:
    if not all(name in of_label for name in PATHWAYS):
        return math.nan
    epochs = places([generalised(of_label[name]) for name in PATHWAYS])
    return float(spearmanr([entropies[name] for name in PATHWAYS], epochs).statistic)


def results(done: Done) -> Results:
    figures = {
        "accuracy": accuracy_figure(done, "Attention pathways: test accuracy"),
        "entropy": probe_figure(
            done,
            ENTROPIES["per head"],
            "mean",
            "attention entropy",
            "nats",
            "Attention entropy of the last query, mean over heads",
            log_epochs=True,
        ),
        "entropy_paper": probe_figure(
            done,
            ENTROPIES["paper"],
            "mean",
            "attention entropy",
            "nats",
            "Attention entropy in the paper's convention: of the head average, all queries",
            log_epochs=True,
        ),
        "overview": overview_figure(
            done, "Attention pathways: when each seed generalised", generalisation_epochs()
        ),
    }
    tables = {"seeds": seeds_table(done, generalisation_epochs()), "runs": runs_table(done)}
    return Results(figures, tables)


ATTENTION_PATHWAYS = Experiment(
    title="Attention pathways",
    question="Which of the attention's inputs must be normalised, and what does its entropy say?",
    plan=plan,
    results=results,
    claims=(
        Claim(
            "attention_pathways",
            "A^v generalises far earlier than No LN, M earlier still; A^qk does not generalise "
            "within 10,000 epochs",
            pathways,
        ),
        Claim(
            "attention_entropy",
            "while memorising, entropy orders M > A^v > A* > No LN and A^qk stays lowest; low "
            "entropy goes with late generalisation",
            entropy,
        ),
    ),
)
