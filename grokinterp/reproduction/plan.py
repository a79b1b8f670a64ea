"""A plan: which runs an experiment asks for, and which of them are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from grokinterp.checks import check_kind
from grokinterp.reproduction.cached_run import CachedRun
from grokinterp.reproduction.experiment import Afterwards, Done, Experiment, Planned, Results
from grokinterp.results import shipped_runs
from grokinterp.store.files import NoStoreError, StoreError
from grokinterp.store.run import Run
from grokinterp.store.store import open_store


@dataclass(frozen=True)
class Plan:
    """An experiment's runs for some seeds: those that are there, and those that are missing."""

    experiment: Experiment
    planned: tuple[Planned, ...]
    runs: tuple[Run | None, ...]
    """Of each planned one: over, recorded and probed as it asks, but for what it is drawn without;
    in the store or shipped with the package."""
    whole: tuple[bool, ...]
    """Of each planned one, whether it is there with that too."""
    problems: dict[str, str]
    """Why what the store holds of its runs is left out where it cannot be read, by folder."""

    @property
    def found(self) -> dict[str, Run]:
        """The runs that are there, by id."""
        return {run.id: run for run in self.runs if run is not None}

    @property
    def missing(self) -> list[Planned]:
        """What is to be trained, or only to be probed."""
        return [one for one, whole in zip(self.planned, self.whole, strict=True) if not whole]

    @property
    def done(self) -> Done:
        """The runs that are there, in the plan's order; not those that diverged at once."""
        return [(one, run) for one, run in self._there() if len(run.metrics)]

    @property
    def diverged_at_once(self) -> Done:
        """The runs without a number to draw, in the plan's order: their messages say why."""
        return [(one, run) for one, run in self._there() if not len(run.metrics)]

    def _there(self) -> Done:
        pairs = zip(self.planned, self.runs, strict=True)
        return [(one, run) for one, run in pairs if run is not None]


def make_plan(
    experiment: Experiment,
    store: str,
    seeds: Sequence[int] | None = None,
    epochs: int | None = None,
    read: dict[str, CachedRun] | None = None,
) -> Plan:
    """What the experiment asks for, and what of it a store or the package holds.

    Args:
        experiment: One of EXPERIMENTS.
        store: The folder that holds the runs; it need not exist.
        seeds: In place of the experiment's own.
        epochs: Train no longer than this, in place of the experiment's own epochs.
        read: Runs by path that other plans looked at; those of this plan are added.
    """
    planned = experiment.plan(experiment.seeds if seeds is None else seeds)
    if epochs is not None:
        planned = [_shortened(one, epochs) for one in planned]
    read = {} if read is None else read
    runs: list[Run | None] = []
    wholes: list[bool] = []
    problems: dict[str, str] = {}
    for one in planned:
        stored = in_store(one.config.id, store)
        run, whole = None, False
        for place in (*stored, *shipped_runs().recordings(one.config.id)):
            looked_at = read.setdefault(str(place.path), CachedRun(place.path))
            try:
                if not _is_drawn(one, looked_at):
                    continue
                if whole := all(_is_probed(looked_at, wanted) for wanted in one.afterwards):
                    run = looked_at
                    break
                run = run or looked_at
            except StoreError as error:
                problems[place.path.name] = str(error)
        if run is None or run.path not in [place.path for place in stored]:
            problems |= _problems(one.config.id, store)
        runs.append(run)
        wholes.append(whole)
    return Plan(experiment, tuple(planned), tuple(runs), tuple(wholes), problems)


def results_of(experiment: Experiment, store: str = "runs") -> Results:
    """Figures and tables of an experiment, from the runs that are there; nothing is trained.

    Args:
        experiment: One of EXPERIMENTS.
        store: The folder that holds runs, beside those that ship with the package.

    Raises:
        ValueError: It is no experiment, or none of its runs is there.
    """
    check_kind("experiment", experiment, Experiment, "EXPERIMENTS['ln-position']")
    plan = make_plan(experiment, store)
    if not plan.done:
        raise ValueError(
            f"no run of {experiment.title} is in {store}, and none ships; grokinterp reproduce, "
            "with the experiment's name, trains them"
        )
    return experiment.results(plan.done)


def in_store(id: str, store: str) -> list[Run]:
    """The recordings of a run that a store holds, however far they are."""
    try:
        return open_store(store).recordings(id)
    except NoStoreError:
        return []


def _problems(id: str, store: str) -> dict[str, str]:
    """Why a folder of this run cannot be read."""
    try:
        return open_store(store).problems(id=id)
    except NoStoreError:
        return {}


def _is_drawn(planned: Planned, run: CachedRun) -> bool:
    """Whether a run is over, recorded and probed as figures and claims need, with the probes as
    they are defined now. StoreError if the files that results are made of cannot be read."""
    if not run.has_all(planned.config):
        return False
    run.read()
    return all(_is_probed(run, one) for one in planned.afterwards if not one.drawn_without)


def _is_probed(run: CachedRun, wanted: Afterwards) -> bool:
    recorded = run.records.probes()
    return all(set(wanted.probes) <= recorded.get(epoch, set()) for epoch in wanted.epochs(run))


def _shortened(planned: Planned, epochs: int) -> Planned:
    config = planned.config
    train_config = replace(config.train, epochs=min(epochs, config.train.epochs))
    return replace(planned, config=replace(config, train=train_config))
