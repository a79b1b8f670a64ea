"""LN on some of the attention's inputs: which of them matter, and the entropy of attention."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from scipy.stats import spearmanr

from grokinterp.experiments.claim import Claim, Convention, Finding, above, below, every
from grokinterp.experiments.curves import accuracy_figure, overview_figure, probe_figure
from grokinterp.experiments.epochs import (
    Runs,
    by_seed,
    generalised,
    mean_while,
    memorised,
    not_within,
    places,
    ratios,
)
from grokinterp.experiments.experiment import Done, Experiment, Planned, Results
from grokinterp.experiments.positions import PATHWAYS, placements
from grokinterp.experiments.published import generalisation_epochs
from grokinterp.experiments.tables import runs_table, seeds_table
from grokinterp.runs import Run

# "Far earlier": at least twice as early.
FAR = 2.0
ENTROPIES: dict[Convention, str] = {
    "paper": "attention_entropy:convention=paper",
    "isolated": "attention_entropy",
}
# The claimed order, and the one that must be lower than all of them.
BY_ENTROPY = ("mlp-pre", "attn-pre-v", "attn-pre", "off")
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
    """While memorising: recorded from knowing the train pairs to generalising, or to the end."""
    runs, findings = by_seed(done), []
    for convention, probe in ENTROPIES.items():
        pairs = [*itertools.pairwise(BY_ENTROPY), (BY_ENTROPY[-1], LOWEST)]
        findings += [
            above(
                f"entropy while memorising, {higher} - {lower} (nats)",
                _differences(runs, probe, higher, lower),
                convention=convention,
            )
            for higher, lower in pairs
        ]
        findings.append(
            below(
                "Spearman's ρ over placements, entropy and generalisation epoch",
                _correlations(runs, probe),
                convention=convention,
            )
        )
    return findings


def _entropy(run: Run, probe: str) -> float:
    return mean_while(run, probe, "mean", memorised(run), generalised(run))


def _differences(runs: Runs, probe: str, higher: str, lower: str) -> list[float]:
    return [
        _entropy(labels[higher], probe) - _entropy(labels[lower], probe)
        for labels in runs.values()
        if higher in labels and lower in labels
    ]


def _correlations(runs: Runs, probe: str) -> list[float]:
    found = []
    for labels in runs.values():
        if all(name in labels for name in PATHWAYS):
            entropies = [_entropy(labels[name], probe) for name in PATHWAYS]
            epochs = places([generalised(labels[name]) for name in PATHWAYS])
            found.append(float(spearmanr(entropies, epochs).statistic))
    return found


def results(done: Done) -> Results:
    figures = {
        "accuracy": accuracy_figure(done, "Attention pathways: test accuracy"),
        "entropy": probe_figure(
            done,
            ENTROPIES["isolated"],
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
