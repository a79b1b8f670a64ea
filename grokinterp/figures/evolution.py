"""Any scalar over epochs, for several placements and their seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokinterp.figures.arrays import ascending, shaped
from grokinterp.figures.epochs import epoch_axis, marker_places
from grokinterp.figures.style import (
    GREY,
    Look,
    add_title,
    legend_beside,
    looks,
    panels,
    styled,
)
from grokinterp.interval import interval_name, median_interval

Curve = tuple[np.ndarray, np.ndarray]


def over_epochs(
    series: Mapping[str, Sequence[pd.DataFrame | Curve]],
    quantity: str,
    unit: str = "",
    *,
    column: str | None = None,
    generalised: Mapping[str, Sequence[int | None]] | None = None,
    log_epochs: bool = False,
    log_values: bool = False,
    title: str = "",
) -> Figure:
    """Every seed as a thin line, and per label the median over seeds and its interval.

    The interval is that of the median from order statistics, 95 % or more of six seeds and more,
    and the range of fewer; the figure says which. Medians and intervals exist only at epochs that
    all seeds of a label share. Values are drawn as they are: nothing is smoothed, nor
    clipped, and NaN leaves a gap.

    Args:
        series: A list of runs (seeds) per label (placement). A run is a table with `epoch` and
            the column, or its epochs and values.
        quantity: What the values are, for the axis.
        unit: Their unit, for the axis; empty for pure numbers.
        column: The tables' column, if it is not called as the quantity is.
        generalised: Per label the epoch at which each seed generalised, None where it did not:
            ticks above, and a dashed line at the label's median epoch if it has one.
        log_epochs: Epochs on a log scale.
        log_values: Values on a log scale.
        title: Above the figure.
    """
    runs = {label: _curves(label, seeds, column or quantity) for label, seeds in series.items()}
    if not runs:
        raise ValueError("series must hold at least one label; got none")
    marks = _marks(runs, generalised or {})
    look = looks(runs)
    every = np.unique(np.concatenate([epochs for seeds in runs.values() for epochs, _ in seeds]))
    caption = fill(_caption(runs, marks), 88)
    with styled():
        strip = 0.17 * len(marks)
        figure, grid = panels(
            2 if marks else 1,
            height=2.9 + strip + 0.13 * caption.count("\n") + 0.2 * bool(title),
            sharex=True,
            gridspec_kw={"height_ratios": [strip, 2.3]} if marks else None,
        )
        axes = grid[-1, 0]
        epoch_axis(axes, every, log_epochs)
        for index, (label, seeds) in enumerate(runs.items()):
            name = label if _single(runs) else _counted(label, len(seeds))
            _draw(axes, name, seeds, look[label], (index, len(runs)))
        if log_values:
            axes.set_yscale("log")
        axes.set_ylabel(f"{quantity} ({unit})" if unit else quantity)
        if marks:
            _strip(grid[0, 0], axes, marks, look)
        legend_beside(axes)
        add_title(figure, title)
        figure.supxlabel(caption, x=0.01, ha="left", fontsize=8, color=GREY)
        return figure


def _curves(label: str, seeds: Sequence[pd.DataFrame | Curve], column: str) -> list[Curve]:
    """The runs of a label, each as ascending epochs and as many values."""
    curves = []
    for seed in seeds:
        if isinstance(seed, pd.DataFrame):
            if missing := {"epoch", column} - set(seed.columns):
                raise ValueError(
                    f"the tables of {label!r} must have the columns epoch and {column}; "
                    f"one lacks {', '.join(sorted(missing))}"
                )
            seed = (seed["epoch"].to_numpy(), seed[column].to_numpy())
        epochs = ascending(seed[0], f"the epochs of {label!r}")
        curves.append(
            (epochs, shaped(f"the values of {label!r}", seed[1], "epoch", epoch=len(epochs)))
        )
    if not curves:
        raise ValueError(f"{label!r} must have at least one run; got none")
    return curves


def _combined(seeds: list[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """The epochs that all seeds have, and the values there, [seed, epoch]."""
    shared = reduce(np.intersect1d, [epochs for epochs, _ in seeds])
    return shared, np.stack([values[np.isin(epochs, shared)] for epochs, values in seeds])


def _draw(axes: Axes, name: str, seeds: list[Curve], look: Look, turn: tuple[int, int]) -> None:
    for epochs, values in seeds:
        [line] = axes.plot(epochs, values, color=look.color, linewidth=0.6, alpha=0.45)
        line.set_gid("seed")
    shared, values = _combined(seeds)
    [line] = axes.plot(
        shared,
        np.median(values, axis=0),
        color=look.color,
        linestyle=look.linestyle,
        marker=look.marker,
        markevery=marker_places(axes, shared, *turn) if len(shared) else None,
        linewidth=1.8,
        zorder=3,
        label=name,
    )
    line.set_gid("median")
    if len(seeds) > 1 and len(shared):
        bounds = median_interval(values)
        band = axes.fill_between(shared, *bounds, color=look.color, alpha=0.18, linewidth=0)
        band.set_gid("interval")


def _single(runs: dict[str, list[Curve]]) -> bool:
    return all(len(seeds) == 1 for seeds in runs.values())


def _counted(label: str, seeds: int) -> str:
    return f"{label}, {seeds} seed{'s' if seeds > 1 else ''}"


def _caption(runs: dict[str, list[Curve]], marks: dict[str, list[float]]) -> str:
    single = _single(runs)
    parts = ["thin: each seed", "bold: median over seeds"]
    if single:
        parts = ["one seed of each"] if len(runs) > 1 else ["one seed"]
    if not single:
        parts.append(f"band: {interval_name([len(seeds) for seeds in runs.values()])}")
    shared = {label: _combined(seeds)[0] for label, seeds in runs.items()}
    if any(
        len(epochs) != len(shared[label]) for label, seeds in runs.items() for epochs, _ in seeds
    ):
        parts.append("medians and bands only at epochs that all seeds of a label share")
    if marks:
        ticks = "ticks above and vertical dashes: when it generalised"
        several = "ticks above: when each seed generalised; vertical dashes: their median"
        parts.append(ticks if single else several)
    return f"{'; '.join(parts)}.".capitalize()


def _marks(
    runs: dict[str, list[Curve]], generalised: Mapping[str, Sequence[int | None]]
) -> dict[str, list[float]]:
    """Per label the seeds' generalising epochs, infinite for those that never did."""
    for label, epochs in generalised.items():
        if label not in runs:
            raise ValueError(f"generalised names {label!r}; the series are {', '.join(runs)}")
        if len(epochs) != len(runs[label]):
            raise ValueError(
                f"generalised must have an epoch, or None, per seed of {label!r}: "
                f"{len(runs[label])} of them; got {len(epochs)}"
            )
    return {
        label: [np.inf if epoch is None else float(epoch) for epoch in generalised[label]]
        for label in runs
        if label in generalised
    }


def _reached(reached: int, seeds: int) -> str:
    if seeds == 1:
        return "generalised" if reached else "did not generalise"
    return f"{reached} of {seeds} generalised"


def _strip(strip: Axes, axes: Axes, marks: dict[str, list[float]], look: dict[str, Look]) -> None:
    """Ticks at the generalising epochs, a row per label, and the medians in the main axes."""
    for row, (label, epochs) in enumerate(marks.items()):
        reached = [epoch for epoch in epochs if np.isfinite(epoch)]
        ticks = strip.vlines(
            reached, row - 0.38, row + 0.38, linewidth=1.4, color=look[label].color
        )
        ticks.set_gid("generalised")
        strip.text(
            1.01,
            row,
            _reached(len(reached), len(epochs)),
            transform=strip.get_yaxis_transform(),
            va="center",
            fontsize=8,
            color=look[label].color,
        )
        # A seed that never did counts as infinitely late: no median where it falls among those.
        median = float(np.median(epochs))
        if np.isfinite(median):
            line = axes.axvline(
                median, color=look[label].color, linestyle=(0, (4, 3)), linewidth=0.8, zorder=1
            )
            line.set_gid("median generalised")
    strip.set_yticks(range(len(marks)), labels=list(marks))
    strip.set_ylim(len(marks) - 0.5, -0.5)
    strip.tick_params(axis="both", which="both", length=0, labelbottom=False)
    strip.spines[["left", "bottom"]].set_visible(False)
    strip.grid(False)
