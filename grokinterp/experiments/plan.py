"""A plan: which runs an experiment asks for, and which of them are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from grokinterp.experiments.experiment import Done, Experiment, Planned, Results
from grokinterp.experiments.kept import Kept
from grokinterp.files import NoStoreError, StoreError
from grokinterp.results import shipped
from grokinterp.runs import Run, open_store


@dataclass(frozen=True)
class Plan:
    """An experiment's runs for some seeds: those that are there as a whole, and the others."""

    experiment: Experiment
    planned: tuple[Planned, ...]
    found: dict[str, Run]
    """By run id: over, and probed as the plan asks; in the store or shipped with the package."""
    problems: dict[str, str]
    """Why what the store holds of its runs is left out where it cannot be read, by folder."""

    @property
    def missing(self) -> list[Planned]:
        return [one for one in self.planned if one.config.id not in self.found]

    @property
    def done(self) -> Done:
        """The runs that are there, in the plan's order; not those that diverged at once."""
        return [(one, run) for one, run in self._there() if len(run.metrics)]

    @property
    def diverged_at_once(self) -> Done:
        """The runs without a number to draw, in the plan's order: their messages say why."""
        return [(one, run) for one, run in self._there() if not len(run.metrics)]

    def _there(self) -> Done:
        ids = ((one, self.found.get(one.config.id)) for one in self.planned)
        return [(one, run) for one, run in ids if run is not None]


def make_plan(
    experiment: Experiment,
    store: str,
    seeds: Sequence[int] | None = None,
    epochs: int | None = None,
    read: dict[str, Kept] | None = None,
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
    found: dict[str, Run] = {}
    problems: dict[str, str] = {}
    for one in planned:
        id = one.config.id
        stored = in_store(id, store)
        if stored is None:
            problems |= _problems(id, store)
        for place in filter(None, (stored, shipped(id))):
            run = read.setdefault(str(place.path), Kept(place.path))
            try:
                whole = _is_whole(one, run)
            except StoreError as error:
                problems[run.path.name] = str(error)
                continue
            if whole:
                found[id] = run
                break
    return Plan(experiment, tuple(planned), found, problems)


def results_of(experiment: Experiment, store: str = "runs") -> Results:
    """Figures and tables of an experiment, from the runs that are there; nothing is trained.

    Args:
        experiment: One of EXPERIMENTS.
        store: The folder that holds runs, beside those that ship with the package.

    Raises:
        ValueError: None of its runs is there.
    """
    plan = make_plan(experiment, store)
    if not plan.done:
        raise ValueError(
            f"no run of {experiment.title} is in {store}, and none ships; grokinterp reproduce, "
            "with the experiment's name, trains them"
        )
    return experiment.results(plan.done)


def in_store(id: str, store: str) -> Run | None:
    """The run of this id that a store holds, however far it is."""
    try:
        found = open_store(store).select(id=id)
    except NoStoreError:
        return None
    return found[0] if found else None


def _problems(id: str, store: str) -> dict[str, str]:
    """Why a folder of this run cannot be read."""
    try:
        return open_store(store).problems(id=id)
    except NoStoreError:
        return {}


def _is_whole(planned: Planned, run: Kept) -> bool:
    """Whether a run is over, with the probes that the plan asks for. StoreError if the files that
    results are made of cannot be read."""
    if not run.is_over:
        return False
    run.read()
    if planned.afterwards is None:
        return True
    recorded, wanted = run.records.probes(), set(planned.afterwards.probes)
    return all(wanted <= recorded.get(e, set()) for e in planned.afterwards.epochs(run))


def _shortened(planned: Planned, epochs: int) -> Planned:
    config = planned.config
    train_config = replace(config.train, epochs=min(epochs, config.train.epochs))
    return replace(planned, config=replace(config, train=train_config))
