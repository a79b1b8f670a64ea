"""All 16 pre-norm placements: every subset of the q, k, v and mlp inputs normalised."""

from __future__ import annotations

from collections.abc import Sequence

from grokinterp.experiments.curves import generalising_epochs
from grokinterp.experiments.experiment import Done, Experiment, Planned, Results
from grokinterp.experiments.positions import PATHWAYS, placements
from grokinterp.experiments.recipe import SEEDS, UNTIL_GENERALISED
from grokinterp.experiments.tables import runs_table, seeds_table
from grokinterp.figures.strip import strip
from grokinterp.placement import pre_norm_lattice


def plan(seeds: Sequence[int]) -> list[Planned]:
    every = [placement.name for placement in pre_norm_lattice()]
    return placements(PATHWAYS, seeds) + placements(
        [name for name in every if name not in PATHWAYS], seeds, UNTIL_GENERALISED
    )


def results(done: Done) -> Results:
    epochs = generalising_epochs(done)
    halves = {
        "MLP input as it is": {k: v for k, v in epochs.items() if not _mlp(k)},
        "MLP input normalised": {k: v for k, v in epochs.items() if _mlp(k)},
    }
    figure = strip(
        {name: half for name, half in halves.items() if half},
        "generalisation epoch",
        log=True,
        title="Every pre-norm placement: when each seed generalised",
    )
    return Results({"overview": figure}, {"seeds": seeds_table(done), "runs": runs_table(done)})


def _mlp(name: str) -> bool:
    return any(one.name == name and one.mlp for one in pre_norm_lattice())


LATTICE = Experiment(
    title="Lattice",
    question="What does each subset of normalised inputs do to the epoch of generalising?",
    plan=plan,
    results=results,
    seeds=SEEDS[:2],
)
