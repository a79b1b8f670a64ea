"""What an experiment is: the runs that it needs, and what it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from grokinterp.config import RunConfig
from grokinterp.figures.evolution import over_epochs
from grokinterp.progress import Observer
from grokinterp.runs import Run
from grokinterp.snapshot import Snapshot
from grokinterp.training import train


@dataclass(frozen=True)
class Fork:
    """A start from another run's checkpoint, its weights changed."""

    parent: RunConfig
    epoch: int
    change: Callable[[Snapshot], dict[str, Tensor]]


@dataclass(frozen=True)
class Planned:
    """A run of an experiment, under the name that its figures and tables give it."""

    label: str
    config: RunConfig
    fork: Fork | None = None


@dataclass(frozen=True)
class Results:
    """What an experiment found: figures and tables, by name."""

    figures: dict[str, Figure] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """A question, the runs that answer it for some seeds, and what is made of them."""

    title: str
    question: str
    plan: Callable[[Sequence[int]], list[Planned]]
    results: Callable[[list[tuple[Planned, Run]]], Results]


def carry_out(
    experiment: Experiment, seeds: Sequence[int], store: str, observer: Observer | None = None
) -> Results:
    """Train what the store misses of an experiment, parents of forks first, and draw."""
    planned = experiment.plan(seeds)
    parents = {p.fork.parent.id: p.fork.parent for p in planned if p.fork is not None}
    plain = [p.config for p in planned if p.fork is None]
    trained = {
        run.config.id: run
        for run in train([*parents.values(), *plain], store=store, observer=observer)
    }
    done: list[tuple[Planned, Run]] = []
    for one in planned:
        if one.fork is None:
            done.append((one, trained[one.config.id]))
            continue
        weights = one.fork.change(trained[one.fork.parent.id].snapshot(one.fork.epoch))
        [run] = train([one.config], store=store, init=weights, observer=observer)
        done.append((one, run))
    return experiment.results(done)


def accuracy_figure(done: Sequence[tuple[Planned, Run]], title: str) -> Figure:
    """Test accuracy over epochs, and when each run generalised, by label."""
    by_label: dict[str, list[Run]] = {}
    for planned, run in done:
        by_label.setdefault(planned.label, []).append(run)
    return over_epochs(
        {label: [run.metrics for run in runs] for label, runs in by_label.items()},
        "test accuracy",
        column="test_accuracy",
        generalised={
            label: [run.grokking.generalised.by for run in runs] for label, runs in by_label.items()
        },
        title=title,
    )
