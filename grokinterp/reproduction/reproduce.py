"""Experiments from plan to figures: draw what is there, train what is missing, draw that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from grokinterp.reproduction.cost import hours_and_minutes
from grokinterp.reproduction.experiment import Experiment, Planned
from grokinterp.reproduction.output import plan_table, save
from grokinterp.reproduction.plan import Plan, make_plan

MOST_ROWS = 25
"""Of a table that is told; what is longer hides what stands before it, and is saved like all."""


def reproduce(
    experiments: Mapping[str, Experiment],
    store: str,
    results: Path,
    train: Callable[[Sequence[Planned]], None] | None,
    approve: Callable[[str], bool],
    tell: Callable[[str], None],
    left_out: Callable[[Mapping[str, str]], None],
    seeds: Sequence[int] | None = None,
    epochs: int | None = None,
    as_text: Callable[[pd.DataFrame], str] | None = None,
) -> int:
    """Figures and tables of experiments, from runs that are there and from those trained for them.

    Args:
        experiments: By name.
        store: The folder that holds the runs, beside those that ship with the package.
        results: Figures (PNG, PDF) and tables (CSV) go to a folder of the experiment's name here.
        train: Trains and probes what is missing, into the store; None draws what is there.
        approve: Asked before training, with a question that says how much there is to train.
        tell: Takes what is found and drawn, as text.
        left_out: Takes, by folder, why a run of the store cannot be read.
        seeds: In place of each experiment's own.
        epochs: Train no longer than this, in place of each experiment's own.
        as_text: A table, for a person; of its full width when not given.

    Returns:
        How many runs, or their probes, that were to be trained did not come to their ends.
    """
    told: set[str] = set()
    write = as_text or _of_full_width

    def draw(name: str) -> Plan:
        plan = make_plan(experiments[name], store, seeds, epochs)
        left_out({one: why for one, why in plan.problems.items() if one not in told})
        told.update(plan.problems)
        for one, run in plan.diverged_at_once:
            tell(f"\nnot drawn: {one.label}, seed {run.config.seed} {run.message}")
        title = plan.experiment.title
        if not plan.done:
            tell(f"\n{title}: none of its runs is there, so nothing is drawn")
            return plan
        found = plan.experiment.results(plan.done)
        save(found, results / name)
        tell(f"\n{title}. {plan.experiment.question}")
        tell(f"{len(plan.found)} of {len(plan.planned)} runs: {(results / name).resolve()}")
        for file, table in found.tables.items():
            if len(table) <= MOST_ROWS:
                tell(write(table))
            else:
                tell(f"Table of {len(table)} rows: {file}.csv")
        if found.drawn:
            tell(f"Figures: {', '.join(found.drawn)}")
        if claims := [f"grokinterp audit --claim {one.name}" for one in plan.experiment.claims]:
            tell(f"What is claimed of it is judged by {'; '.join(claims)}")
        return plan

    plans = {name: draw(name) for name in experiments}
    lacking = {name: plan for name, plan in plans.items() if plan.missing}
    if train is None or not lacking:
        return 0
    tell("\nNot everything is there. Measuring what an epoch costs on this machine.")
    table, runs, seconds = plan_table(plans)
    tell(write(table))
    time = hours_and_minutes(seconds)
    if not approve(f"Train or probe {runs} runs, about {time} one after the other?"):
        return 0
    train([one for plan in lacking.values() for one in plan.missing])
    return sum(len(draw(name).missing) for name in lacking)


def _of_full_width(table: pd.DataFrame) -> str:
    return table.to_string(index=False, float_format="{:.4g}".format)
