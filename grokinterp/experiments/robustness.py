"""Whether the order of the LN positions holds with RMSNorm, and with three layers."""

from __future__ import annotations

from collections.abc import Sequence

from grokinterp.config import ModelConfig, RunConfig
from grokinterp.experiments.claim import Claim
from grokinterp.experiments.curves import accuracy_figure, overview_figure
from grokinterp.experiments.experiment import Done, Experiment, Planned, Results
from grokinterp.experiments.positions import LN_POSITIONS, position_order
from grokinterp.experiments.recipe import PAPER, SEEDS, UNTIL_GENERALISED
from grokinterp.experiments.tables import runs_table, seeds_table

STATEMENT = "the LN-position order holds with RMSNorm and with 3 layers"


def depth_plan(seeds: Sequence[int]) -> list[Planned]:
    return [
        Planned(
            placement,
            RunConfig(
                model=ModelConfig(placement, n_layers=3, d_model=64),
                train=UNTIL_GENERALISED,
                seed=seed,
            ),
        )
        for placement in LN_POSITIONS
        for seed in seeds
    ]


def rmsnorm_plan(seeds: Sequence[int]) -> list[Planned]:
    # Without a norm it makes no difference which one.
    plain = [
        Planned("off", RunConfig(model=ModelConfig("off"), train=PAPER, seed=seed))
        for seed in seeds
    ]
    return plain + [
        Planned(
            placement,
            RunConfig(model=ModelConfig(placement, norm="rms"), train=UNTIL_GENERALISED, seed=seed),
        )
        for placement in LN_POSITIONS[1:]
        for seed in seeds
    ]


def results(done: Done) -> Results:
    figures = {
        "accuracy": accuracy_figure(done, "LN position: test accuracy"),
        "overview": overview_figure(done, "LN position: when each seed generalised"),
    }
    return Results(figures, {"seeds": seeds_table(done), "runs": runs_table(done)})


DEPTH = Experiment(
    title="Depth",
    question="Does the order of the LN positions hold with three layers of width 64?",
    plan=depth_plan,
    results=results,
    seeds=SEEDS[:2],
    claims=(Claim("robustness", STATEMENT, lambda done: position_order(done, "3 layers: ")),),
)
RMSNORM = Experiment(
    title="RMSNorm",
    question="Does the order of the LN positions hold with RMSNorm in place of LayerNorm?",
    plan=rmsnorm_plan,
    results=results,
    seeds=SEEDS[:2],
    claims=(Claim("robustness", STATEMENT, lambda done: position_order(done, "RMSNorm: ")),),
)
