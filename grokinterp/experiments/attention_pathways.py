"""LN on some of the attention's inputs: which of them matter, and the entropy of attention."""

from __future__ import annotations

from collections.abc import Sequence

from grokinterp.audit import rules
from grokinterp.figures.evolution import same_values
from grokinterp.reproduction.curves import (
    SMOOTHED,
    accuracy_figure,
    overview_figure,
    probe_figure,
)
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results
from grokinterp.reproduction.positions import PATHWAYS, placements
from grokinterp.reproduction.published import generalisation_epochs
from grokinterp.reproduction.recipe import FRESH_SEEDS, SEEDS
from grokinterp.reproduction.tables import runs_table, seeds_table

# The claimed order, and the one that must be lower than all of them.
ORDER = ("mlp-pre", "attn-pre-v", "attn-pre", "off")
LOWEST = "attn-pre-qk"


def plan(seeds: Sequence[int]) -> list[Planned]:
    return placements(PATHWAYS, seeds)


def results(done: Done) -> Results:
    figures = {
        "accuracy": accuracy_figure(done, "Attention pathways: test accuracy"),
        "entropy": probe_figure(
            done,
            rules.ENTROPIES["per head"],
            "mean",
            "attention entropy",
            "nats",
            "Attention entropy of the last query, mean over heads",
            log_epochs=True,
            window=SMOOTHED,
        ),
        "entropy_paper": probe_figure(
            done,
            rules.ENTROPIES["paper"],
            "mean",
            "attention entropy",
            "nats",
            "Attention entropy in the paper's convention: of the head average, all queries",
            log_epochs=True,
            window=SMOOTHED,
        ),
        "overview": overview_figure(
            done, "Attention pathways: when each seed generalised", generalisation_epochs()
        ),
    }
    same_values(figures["entropy"], figures["entropy_paper"])
    tables = {"seeds": seeds_table(done, generalisation_epochs()), "runs": runs_table(done)}
    return Results(figures, tables)


ATTENTION_PATHWAYS = Experiment(
    title="Attention pathways",
    question="Which of the attention's inputs must be normalised, and what does its entropy say?",
    plan=plan,
    results=results,
    seeds=SEEDS + FRESH_SEEDS,
    claims=(rules.attention_pathways(), rules.attention_entropy(ORDER, LOWEST, PATHWAYS)),
)
