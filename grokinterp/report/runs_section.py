"""Each run as a row that opens: its curves, what its config changes, where else it is."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import Any

from grokinterp.config import RECORDED, RunConfig
from grokinterp.grokking import grokking_times
from grokinterp.report.experiments_section import Gathered
from grokinterp.report.packed_curves import pack_curves
from grokinterp.report.table_cells import folded, html_table
from grokinterp.results import shipped_runs
from grokinterp.store.files import StoreError
from grokinterp.store.runs import Run

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


def runs_section(listed: Sequence[ListedRun], drawn: Container[str]) -> str:
    """A row for each run; `drawn` are the ids of those whose circuits are in the page."""
    rows, left, without = [], CURVES_BYTES, 0
    for one in listed[:MOST_ROWS]:
        try:
            row, size = _row(one, one.run.id in drawn, left)
        except StoreError as error:
            row, size = _unreadable(one.run, error), 0
        left -= size
        without += size == 0
        rows.append(row)
    return (
        '<section id="runs"><h2>Runs</h2>'
        f"{_limits(len(listed), without)}"
        '<label class="filter">Show runs with <input type="search" id="filter" '
        'placeholder="mlp-pre 456" autocomplete="off"></label> <output id="shown"></output>'
        f'<div class="runs"><div class="run head" aria-hidden="true">{_HEAD}</div>{"".join(rows)}'
        f"</div>{_defaults()}</section>"
    )


_HEAD = "".join(
    f"<span>{name}</span>"
    for name in ("run", "placement", "seed", "memorised", "generalised", "test accuracy")
)


def _limits(count: int, without: int) -> str:
    """What of the runs the page leaves out."""
    said = "A run opens to its curves and its config."
    if without:
        said += (
            f" {without:,} of them show no curves: the page holds {CURVES_BYTES / 1e6:.0f} MB of "
            "them, and some runs have none yet."
        )
    if count > MOST_ROWS:
        said += (
            f" The first {MOST_ROWS:,} of {count:,} runs are here; "
            "<code>grokinterp runs</code> lists all."
        )
    return f"<p>{said}</p>"


def _row(listed: ListedRun, drawn: bool, left: int) -> tuple[str, int]:
    """The row, and how many bytes of it are curves."""
    run = listed.run
    config, metrics = run.config, run.metrics
    times = grokking_times(metrics)
    accuracy = f"{metrics['test_accuracy'].iloc[-1]:.1%}" if len(metrics) else "–"
    cells = (
        f"<code>{run.id[:8]}</code>",
        f"<b>{escape(str(config.model.placement))}</b> {_distinct(config)}",
        f"<i>seed</i> {config.seed}",
        f"<i>memorised</i> {times.memorised}",
        f"<i>generalised</i> {times.generalised}",
        f"<i>test accuracy</i> {accuracy}",
    )
    packed = pack_curves(metrics, times) if len(metrics) else ""
    if len(packed) > left:
        packed = ""
    curves = f'<script type="application/json">{packed}</script>' if packed else ""
    return (
        f'<details class="run" id="run-{run.id}"><summary>'
        f"{''.join(f'<span>{cell}</span>' for cell in cells)}</summary>"
        f'<div class="opened">{_about(listed, drawn)}<div class="curves">{curves}</div>'
        f"{_changed(config)}</div></details>",
        len(packed),
    )


def _about(listed: ListedRun, drawn: bool) -> str:
    run = listed.run
    said = [f"Run {run.id}, {run.config.task}: {run.status} at epoch {run.epoch:,}"]
    if run.message:
        said[0] += f" ({run.message})"
    parts = [
        f'<a href="#experiment-{name}">{name}</a> ({escape(label)})'
        for name, label in dict.fromkeys(listed.experiments)
    ]
    if parts:
        said.append(f"of {', '.join(parts)}")
    if drawn:
        said.append(f'<a href="#circuits-{run.id}">its circuits</a>')
    return f'<p class="note">{escape(said[0])}{"".join(f"; {part}" for part in said[1:])}.</p>'


# What a row has a place of its own for, and what changes nothing of how a run trains.
_ELSEWHERE = RECORDED | {"placement", "seed"}


def _distinct(config: RunConfig) -> str:
    """In a few words, what tells a run apart from the paper's of its placement."""
    default = _default()
    said = [
        f"{name} {value}"
        for name, value in config.flat().items()
        if value != default[name] and name not in _ELSEWHERE
    ]
    return f"<small>{escape(', '.join(said))}</small>" if said else ""


def _changed(config: RunConfig) -> str:
    """What the config changes of the defaults."""
    default = _default()
    rows = [
        [escape(name), escape(repr(value)), escape(repr(default[name]))]
        for name, value in config.flat().items()
        if value != default[name]
    ]
    return html_table(("config", "here", "default"), rows) if rows else ""


@cache
def _default() -> dict[str, Any]:
    return RunConfig().flat()


def _defaults() -> str:
    rows = [[escape(name), escape(repr(value))] for name, value in _default().items()]
    return folded(
        "Defaults: what a run's config holds where its row names nothing else",
        html_table(("config", "default"), rows),
    )


def _unreadable(run: Run, error: StoreError) -> str:
    # Its id may be that of a run that ships, which is in the page too.
    folder = escape(run.path.name)
    return (
        f'<details class="run" id="unreadable-{folder}" open><summary><span>'
        f"<code>{folder}</code></span><span>could not be read</span></summary>"
        f'<div class="opened"><p class="trouble">{escape(str(error))}.</p></div></details>'
    )
