"""Each run as a row that opens: its curves, what its config changes, where else it is."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from markupsafe import Markup

from grokinterp.circuits.document import render
from grokinterp.config import RunConfig
from grokinterp.config.recorded import RECORDED
from grokinterp.grokking import grokking_times
from grokinterp.report.experiments_section import Gathered
from grokinterp.report.packed_curves import pack_curves
from grokinterp.report.table_cells import text_table
from grokinterp.results import shipped_runs
from grokinterp.store.files import StoreError
from grokinterp.store.run import Run
from grokinterp.store.run_names import cell

MOST_ROWS = 1000
CURVES_BYTES = 4_000_000
"""What the curves of all runs may take of the page together."""


@dataclass(frozen=True)
class ListedRun:
    """A run, and the experiments that it belongs to, by name and by its label there."""

    run: Run
    experiments: tuple[tuple[str, str], ...] = ()


def list_runs(
    gathered: Iterable[Gathered], in_store: Sequence[Run], unreadable: Sequence[Run] = ()
) -> list[ListedRun]:
    """The runs of experiments, in their order; then the store's other ones; then what ships; then
    those of the store whose configs cannot be read."""
    runs: dict[str, Run] = {}
    where: dict[str, list[tuple[str, str]]] = {}
    for one in gathered:
        for planned, run in one.done:
            runs.setdefault(run.id, run)
            where.setdefault(run.id, []).append((one.name, planned.label))
    for run in (*in_store, *shipped_runs()):
        runs.setdefault(run.id, run)
    read = [ListedRun(run, tuple(where.get(id, ()))) for id, run in runs.items()]
    return read + [ListedRun(run) for run in unreadable]


def runs_section(listed: Sequence[ListedRun], drawn: Container[str]) -> Markup:
    """A row for each run; `drawn` are the ids of those whose circuits are in the page."""
    rows, left, without = [], CURVES_BYTES, 0
    for one in listed[:MOST_ROWS]:
        try:
            row, size = _row(one, one.run.id in drawn, left)
        except StoreError as error:
            folder = one.run.path.name
            row, size = render("report/unreadable_row.html", folder=folder, trouble=error), 0
        left -= size
        without += size == 0
        rows.append(row)
    return render(
        "report/runs_section.html",
        rows=rows,
        count=len(listed),
        without=without,
        megabytes=f"{CURVES_BYTES / 1e6:.0f}",
        defaults=text_table(("config", "default"), [(k, repr(v)) for k, v in _default().items()]),
    )


# What a row has a place of its own for, and what changes nothing of how a run trains.
_ELSEWHERE = RECORDED | {"placement", "seed"}


def _row(listed: ListedRun, drawn: bool, left: int) -> tuple[Markup, int]:
    """The row, and how many bytes of it are curves."""
    run = listed.run
    config, metrics = run.config, run.metrics
    times = grokking_times(metrics)
    curves = pack_curves(metrics, times) if len(metrics) else ""
    if len(curves) > left:
        curves = ""
    message = f" ({run.message})" if run.message else ""
    default = _default()
    flat = config.flat()
    # What the default's kind of task has not is as it was chosen.
    changed = {name: value for name, value in flat.items() if value != default.get(name)}
    cells = [
        (name, repr(value), repr(default[name]) if name in default else cell(None))
        for name, value in changed.items()
    ]
    row = render(
        "report/run_row.html",
        id=run.id,
        placement=config.model.placement,
        # In a few words, what tells it apart from the paper's of its placement.
        distinct=", ".join(f"{k} {v}" for k, v in changed.items() if k not in _ELSEWHERE),
        seed=config.seed,
        times=times,
        accuracy=f"{metrics['test_accuracy'].iloc[-1]:.1%}" if len(metrics) else "–",
        state=f"Run {run.id}, {config.task}: {run.status} at epoch {run.epoch:,}{message}",
        experiments=list(dict.fromkeys(listed.experiments)),
        drawn=drawn,
        curves=curves,
        changed=text_table(("config", "here", "default"), cells) if cells else "",
    )
    return row, len(curves)


@cache
def _default() -> dict[str, Any]:
    return RunConfig().flat()
