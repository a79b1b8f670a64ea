"""A plan: which runs an experiment asks for, and which of them are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from grokinterp.experiments.experiment import Done, Experiment, Planned, Results
from grokinterp.experiments.kept import Kept
from grokinterp.files import NoStoreError
from grokinterp.results import shipped
from grokinterp.runs import Run, open_store


@dataclass(frozen=True)
class Plan:
    """An experiment's runs for some seeds: those that are there as a whole, and the others."""

    experiment: Experiment
    planned: tuple[Planned, ...]
    found: dict[str, Run]
    """By run id: over, and probed as the plan asks; in the store or shipped with the package."""

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
    read: dict[str, Run] | None = None,
) -> Plan:
    """What the experiment asks for, and what of it a store or the package holds.

    Args:
        experiment: One of EXPERIMENTS.
        store: The folder that holds the runs; it need not exist.
        seeds: In place of the experiment's own.
        epochs: Train no longer than this, in place of the experiment's own epochs.
        read: Runs by path that other plans found; those of this plan are added.
    """
    planned = experiment.plan(experiment.seeds if seeds is None else seeds)
    if epochs is not None:
        planned = [_shortened(one, epochs) for one in planned]
    read = {} if read is None else read
    found = {}
    for one in planned:
        id = one.config.id
        run = find(one, store)
        if run is not None:
            found[id] = read.setdefault(str(run.path), Kept(run.path))
    return Plan(experiment, tuple(planned), found)


def find(planned: Planned, store: str) -> Run | None:
    """The run, if the store or the package holds it to its end, with its probes."""
    for run in (in_store(planned.config.id, store), shipped(planned.config.id)):
        if run is not None and run.is_over and not _unprobed(planned, run):
            return run
    return None


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


def _unprobed(planned: Planned, run: Run) -> bool:
    """Whether a run that is over misses a probe that the plan asks for."""
    if planned.afterwards is None:
        return False
    recorded, wanted = run.records.probes(), set(planned.afterwards.probes)
    return any(not wanted <= recorded.get(e, set()) for e in planned.afterwards.epochs(run))


def _shortened(planned: Planned, epochs: int) -> Planned:
    config = planned.config
    train_config = replace(config.train, epochs=min(epochs, config.train.epochs))
    return replace(planned, config=replace(config, train=train_config))
