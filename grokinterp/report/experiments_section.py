"""Each experiment: its question, what its runs that are there show, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from grokinterp.circuits.document import render
from grokinterp.experiments import planned_runs
from grokinterp.report.charts import chart
from grokinterp.report.claims_section import anchor
from grokinterp.report.table_cells import table
from grokinterp.reproduction.cached_run import CachedRun
from grokinterp.reproduction.experiment import Done, Experiment, Results
from grokinterp.reproduction.plan import make_plan
from grokinterp.reproduction.verdicts import Judged
from grokinterp.store.files import StoreError

FIRST = "ln-position"
"""Its overview is the page's."""


@dataclass(frozen=True)
class Gathered:
    """An experiment with what is there of it, and why some of it could not be read."""

    name: str
    experiment: Experiment
    done: Done
    planned: int
    """How many runs it plans."""
    results: Results
    troubles: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        return f"grokinterp reproduce {self.name}"

    @property
    def here(self) -> int:
        """How many of them are there."""
        return len({run.id for _, run in self.done})

    @property
    def counts(self) -> str:
        if self.troubles and not self.done:
            return "could not be read"
        return f"{self.here} of {self.planned}"


def gather(name: str, experiment: Experiment, store: str, read: dict[str, CachedRun]) -> Gathered:
    """Make what can be made of the runs that are there; `read` keeps them for the next ones."""
    done: Done = []
    troubles: tuple[str, ...] = ()
    results, planned = Results(), experiment.plan(experiment.seeds)
    ids = {one.config.id for one in planned}
    try:
        plan = make_plan(experiment, store, read=read)
        done = plan.done
        troubles = tuple(f"{one} is left out: {why}" for one, why in plan.problems.items())
        results = experiment.results(done) if done else results
    except StoreError as error:
        troubles += (str(error),)
    return Gathered(name, experiment, done, len(ids), results, troubles)


def planned_ids() -> set[str]:
    """Of the runs of every experiment, and of those that they start from, here or not."""
    planned = planned_runs()
    parents = {one.fork.parent.id for one in planned if one.fork is not None}
    return parents | {one.config.id for one in planned}


def overview_section(gathered: Sequence[Gathered]) -> Markup:
    """When each seed generalised, by where LN sits."""
    [first] = [one for one in gathered if one.name == FIRST]
    figure, seeds = first.results.drawn.get("overview"), first.results.tables.get("seeds")
    return render(
        "report/overview_section.html",
        gathered=first,
        chart=None if figure is None else chart(figure, first.experiment.title),
        seeds=None if seeds is None else table(seeds),
    )


def experiments_section(gathered: Sequence[Gathered], judged: Sequence[Judged]) -> Markup:
    """A table of all experiments, and what each shows."""
    experiments = [
        (one, [claim for claim in judged if one.name in claim.experiments]) for one in gathered
    ]
    parts = [_experiment(one, claims) for one, claims in experiments]
    return render("report/experiments_section.html", experiments=experiments, parts=parts)


def _experiment(one: Gathered, claims: Sequence[Judged]) -> Markup:
    title, results = one.experiment.title, one.results
    return render(
        "report/experiment.html",
        gathered=one,
        claims=[(anchor(claim), claim) for claim in claims],
        charts=[chart(each, f"{title}: {_words(name)}") for name, each in results.drawn.items()],
        tables=[(_words(name), table(data)) for name, data in results.tables.items()],
    )


def _words(name: str) -> str:
    return name.replace("_", " ")
