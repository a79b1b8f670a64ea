"""One page of everything: the overview, experiments, runs and circuits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from grokinterp.circuits.document import document, render
from grokinterp.experiments import EXPERIMENTS, verdicts
from grokinterp.report.circuits_section import choose_subjects, circuits_section
from grokinterp.report.claims_section import claims_section
from grokinterp.report.experiments_section import (
    Gathered,
    experiments_section,
    gather,
    overview_section,
    planned_ids,
)
from grokinterp.report.runs_section import list_runs, runs_section
from grokinterp.reproduction.cached_run import CachedRun
from grokinterp.reproduction.verdicts import Judged
from grokinterp.store.files import StoreError, check_output, write_whole
from grokinterp.store.run import Run
from grokinterp.store.store import open_store


def build_report(
    store: str = "runs",
    circuits: Sequence[str] | None = None,
    tell: Callable[[str], object] = lambda stage: None,
) -> str:
    """The page as HTML: it holds its data, pictures, scripts and styles, and loads nothing.

    Nothing is trained. What cannot be read stands in the page as a sentence.

    Args:
        store: The folder that holds the runs; where there is none, the runs that ship are shown.
        circuits: Whose circuits are drawn: placements that ship trained, and beginnings of ids of
            the store's runs; a choice of both when not given.
        tell: Called with the name of each stage as it begins.

    Raises:
        StoreError: The folder is there, and is no run store.
        ValueError: No model fits one of `circuits`.
    """
    in_store: list[Run] = []
    unreadable: list[Run] = []
    if Path(store).exists():
        opened = open_store(store)
        in_store = opened.select()
        unreadable = [Run(opened.path / folder) for folder in opened.problems()]
    # First, because a name that fits nothing should be told at once.
    subjects = choose_subjects(in_store, circuits, planned_ids() if circuits is None else ())
    read: dict[str, CachedRun] = {}
    gathered = []
    for name, experiment in EXPERIMENTS.items():
        tell(f"runs and figures of {name}")
        gathered.append(gather(name, experiment, store, read))
    tell("verdicts")
    listed = list_runs(gathered, in_store, unreadable)
    judged = _judged(store, read)
    circuits_drawn, kinds = circuits_section(subjects, tell)
    tell("the page")
    body = render(
        "report/report_page.html",
        about=_about(gathered, len(listed), len(in_store), len(unreadable)),
        sections=[
            overview_section(gathered),
            claims_section(judged, {one.name: one.experiment.title for one in gathered}),
            experiments_section(gathered, judged if isinstance(judged, list) else []),
            runs_section(listed, [subject.id for subject in subjects]),
            circuits_drawn,
        ],
    )
    return document("Grokking and layer normalization: report", body, kinds)


def save_report(
    store: str = "runs",
    path: str | Path = "report.html",
    circuits: Sequence[str] | None = None,
    tell: Callable[[str], object] = lambda stage: None,
) -> Path:
    """Write the page of `build_report` to a file, whole or not at all."""
    path = Path(path)
    check_output(path)
    page = build_report(store, circuits, tell)
    write_whole(path, lambda target: target.write_text(page, encoding="utf-8"))
    return path


def _judged(store: str, read: dict[str, CachedRun]) -> list[Judged] | str:
    try:
        return verdicts(store, read)
    except StoreError as error:
        return str(error)


def _about(gathered: Sequence[Gathered], listed: int, in_store: int, unreadable: int) -> str:
    """How many runs and experiments there are."""
    found = sum(1 for one in gathered if one.done)
    others = listed - in_store - unreadable
    places = [f"{in_store:,} in the store"] if in_store else []
    places += [f"{unreadable:,} there that cannot be read"] if unreadable else []
    places += [f"{others:,} shipped with grokinterp"] if others else []
    return (
        f"{listed:,} runs: {', '.join(places)}. {found} of {len(gathered)} experiments have "
        "runs to show."
    )
