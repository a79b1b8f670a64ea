"""All 16 pre-norm placements: every subset of the q, k, v and mlp inputs normalised."""

from __future__ import annotations

from collections.abc import Sequence

from grokinterp.placement import pre_norm_lattice
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results
from grokinterp.reproduction.outcomes import grouped_outcomes
from grokinterp.reproduction.positions import PATHWAYS, placements
from grokinterp.reproduction.recipe import SEEDS, UNTIL_GENERALISED


def plan(seeds: Sequence[int]) -> list[Planned]:
    every = [placement.name for placement in pre_norm_lattice()]
    return placements(PATHWAYS, seeds) + placements(
        [name for name in every if name not in PATHWAYS], seeds, UNTIL_GENERALISED
    )


def results(done: Done) -> Results:
    groups: dict[str, dict[str, str]] = {"MLP input as it is": {}, "MLP input normalised": {}}
    for placement in pre_norm_lattice():
        group = "MLP input normalised" if placement.mlp else "MLP input as it is"
        groups[group][placement.name] = placement.name
    return grouped_outcomes(done, groups, "Every pre-norm placement")


LATTICE = Experiment(
    title="Lattice",
    question="What does each subset of normalised inputs do to the epoch of generalising?",
    plan=plan,
    results=results,
    seeds=SEEDS[:2],
)
