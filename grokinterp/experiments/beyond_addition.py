"""LN before the MLP against none, on tasks other than addition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from grokinterp.audit import own_rules
from grokinterp.config import ModelConfig, RunConfig
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results, each_seed
from grokinterp.reproduction.outcomes import grouped_outcomes
from grokinterp.reproduction.recipe import FRESH_SEEDS, UNTIL_GENERALISED
from grokinterp.task import GroupTask, ModularTask, Task

PLACEMENTS = ("off", "mlp-pre")
TASKS: dict[str, Task] = {
    # With half of the table to test, a run on another seed was at 0.03 by epoch 1,500.
    "S5": GroupTask("S5", test_fraction=0.2),
    "a / b": ModularTask(operation="div"),
    "a² + ab + b²": ModularTask(operation="a2+ab+b2", test_fraction=0.5),
}


def plan(seeds: Sequence[int]) -> list[Planned]:
    recipe = replace(UNTIL_GENERALISED, probes={})
    configs = {
        f"{placement}, {name}": RunConfig(task, ModelConfig(placement), recipe)
        for name, task in TASKS.items()
        for placement in PLACEMENTS
    }
    return each_seed(configs, seeds)


def results(done: Done) -> Results:
    groups = {name: {one: f"{one}, {name}" for one in PLACEMENTS} for name in TASKS}
    return grouped_outcomes(done, groups, "Beyond addition")


BEYOND_ADDITION = Experiment(
    title="Beyond addition",
    question="Does LN before the MLP make other tasks generalise earlier too?",
    plan=plan,
    results=results,
    seeds=FRESH_SEEDS,
    claims=(own_rules.beyond_addition([*TASKS], *PLACEMENTS),),
)
