"""What an experiment is: the runs that it needs, and what it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from grokinterp.config import RunConfig
from grokinterp.definition import definition_of
from grokinterp.reproduction.recipe import SEEDS, seeded
from grokinterp.store.run import Run

if TYPE_CHECKING:
    from grokinterp.audit.claim import Claim
    from grokinterp.reproduction.against_paper import Comparison
    from grokinterp.snapshot import Snapshot


@dataclass(frozen=True)
class Fork:
    """A start from another run's checkpoint, its weights changed."""

    parent: RunConfig
    epoch: int
    change: Callable[[Snapshot], dict[str, Tensor]]

    @property
    def name(self) -> str:
        """The start of the run, which is part of its identity: the change's definition too, once
        it is not the package's first."""
        definition = definition_of(self.change)
        told = "" if definition == "1" else f" {definition}"
        return f"{self.parent.id}@{self.epoch}, {self.change.__name__}{told}"


@dataclass(frozen=True)
class Afterwards:
    """Probes on a run's checkpoints, computed once it is over and kept in the store."""

    probes: tuple[str, ...]
    near: tuple[int, ...] = ()
    """On the checkpoint nearest to each of these epochs; on the last where none is given."""
    at: int | None = None
    """In place of that, on the checkpoint of this epoch, where the run has one."""
    drawn_without: bool = False
    """Whether a run without these is drawn and judged by what it has, and is missing only to them:
    so one that shipped before they were asked for."""

    def epochs(self, run: Run) -> list[int]:
        """The checkpoints of a run that is over, whether or not they are kept."""
        schedule = run.config.train.checkpoint_schedule()
        epochs = {epoch for epoch in schedule if epoch <= run.epoch}
        if run.status != "diverged":
            epochs.add(run.epoch)
        if self.at is not None:
            return sorted(epochs & {self.at})
        return nearest(sorted(epochs), self.near)


def nearest(epochs: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """The epoch nearest to each wanted one, each once; the last where none is wanted."""
    if not wanted:
        return [epochs[-1]]
    return sorted({min(epochs, key=lambda epoch: abs(epoch - one)) for one in wanted})


@dataclass(frozen=True)
class Planned:
    """A run of an experiment, under the name that its figures and tables give it."""

    label: str
    config: RunConfig
    fork: Fork | None = None
    afterwards: tuple[Afterwards, ...] = ()

    def __post_init__(self) -> None:
        if self.fork is not None:
            object.__setattr__(self, "config", replace(self.config, start=self.fork.name))


def on_device(experiment: Experiment, device: str) -> Experiment:
    """The same experiment, trained there: that is no part of what its runs are."""

    def moved(config: RunConfig) -> RunConfig:
        return replace(config, train=replace(config.train, device=device))

    def plan(seeds: Sequence[int]) -> list[Planned]:
        return [
            replace(
                one,
                config=moved(one.config),
                fork=one.fork and replace(one.fork, parent=moved(one.fork.parent)),
            )
            for one in experiment.plan(seeds)
        ]

    return replace(experiment, plan=plan)


def each_seed(
    configs: Mapping[str, RunConfig], seeds: Sequence[int], afterwards: Sequence[Afterwards] = ()
) -> list[Planned]:
    """Each of these configs, by its label, under each seed."""
    return [
        Planned(label, seeded(config, seed), afterwards=tuple(afterwards))
        for label, config in configs.items()
        for seed in seeds
    ]


Done = list[tuple[Planned, Run]]


def by_seed(done: Done) -> dict[int, dict[str, Run]]:
    """The runs of each seed, by label."""
    found: dict[int, dict[str, Run]] = {}
    for planned, run in done:
        found.setdefault(run.config.seed, {})[planned.label] = run
    return found


@dataclass(frozen=True)
class Results:
    """What an experiment found: figures and tables, by name; a figure of nothing is left out."""

    figures: dict[str, Figure | None] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def drawn(self) -> dict[str, Figure]:
        return {name: figure for name, figure in self.figures.items() if figure is not None}


@dataclass(frozen=True)
class Experiment:
    """A question, the runs that answer it for some seeds, and what is made of them.

    `results` reads the runs' metrics and probes alone, so that it works where their checkpoints
    are not kept.
    """

    title: str
    question: str
    plan: Callable[[Sequence[int]], list[Planned]]
    results: Callable[[Done], Results]
    seeds: tuple[int, ...] = SEEDS
    """The seeds that it is carried out for, unless others are asked for."""
    claims: tuple[Claim, ...] = ()
    """The claims that its runs test, the paper's or our own, with their rules."""
    compare: Callable[[Done], list[Comparison]] = lambda done: []
    """Its runs beside the numbers that the paper reports."""
