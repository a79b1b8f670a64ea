"""Each experiment: its question, what its runs that are there show, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from grokinterp.circuits.document import element
from grokinterp.experiments import Experiment, planned_runs
from grokinterp.report.charts import chart
from grokinterp.report.claims_section import badge, claim
from grokinterp.report.table_cells import folded, html_table, table
from grokinterp.reproduction.cached_run import CachedRun
from grokinterp.reproduction.experiment import Done, Results
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
    count: int
    """Of the runs that it plans."""
    results: Results
    troubles: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        return f"grokinterp reproduce {self.name}"


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


def overview(gathered: Sequence[Gathered]) -> str:
    """When each seed generalised, by where LN sits."""
    [first] = [one for one in gathered if one.name == FIRST]
    figure, seeds = first.results.drawn.get("overview"), first.results.tables.get("seeds")
    content = _trouble(first) + _none(first)
    if figure is not None and seeds is not None:
        content += f'<div class="charts one">{chart(figure, first.experiment.title)}</div>'
        content += table(seeds)
    question = element("p", first.experiment.question)
    return f'<section id="overview"><h2>Overview</h2>{question}{content}</section>'


def experiments_section(gathered: Sequence[Gathered], judged: Sequence[Judged]) -> str:
    rows = [
        [
            f'<a href="#experiment-{one.name}">{escape(one.experiment.title)}</a>',
            _counts(one),
            " ".join(badge(a.verdict) for a in judged if one.name in a.experiments),
        ]
        for one in gathered
    ]
    parts = "\n".join(_experiment(one, judged) for one in gathered)
    head = ("experiment", "runs here", "claims")
    return (
        f'<section id="experiments"><h2>Experiments</h2>{html_table(head, rows)}{parts}</section>'
    )


def _experiment(one: Gathered, judged: Sequence[Judged]) -> str:
    charts = "".join(
        chart(figure, f"{one.experiment.title}: {name.replace('_', ' ')}")
        for name, figure in one.results.drawn.items()
    )
    tables = "".join(
        folded(f"Table: {name.replace('_', ' ')}", table(data))
        for name, data in one.results.tables.items()
    )
    claims = "".join(claim(a, one.name) for a in judged if one.name in a.experiments)
    content = _trouble(one) + (_none(one) or _state(one))
    return (
        f'<section class="experiment" id="experiment-{one.name}">'
        f"<h3>{escape(one.experiment.title)}</h3>{element('p', one.experiment.question)}{content}"
        f"{claims}"
        + (f'<div class="charts">{charts}</div>' if charts else "")
        + f"{tables}</section>"
    )


def _counts(one: Gathered) -> str:
    if one.troubles and not one.done:
        return "could not be read"
    return f"{_here(one)} of {one.count}"


def _here(one: Gathered) -> int:
    return len({run.id for _, run in one.done})


def _trouble(one: Gathered) -> str:
    return "".join(f'<p class="trouble">{escape(trouble)}.</p>' for trouble in one.troubles)


def _none(one: Gathered) -> str:
    if one.done:
        return ""
    return f'<p class="note">None of its runs is here: <code>{one.command}</code> trains them.</p>'


def _state(one: Gathered) -> str:
    others = _here(one) < one.count
    command = f"; <code>{one.command}</code> trains the others" if others else ""
    return f'<p class="note">{_counts(one)} planned runs are here{command}.</p>'
