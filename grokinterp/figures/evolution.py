"""Any scalar over epochs, for several placements and their seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from grokinterp.confidence_interval import interval_name, median_interval
from grokinterp.figures import ticks
from grokinterp.figures.epochs import epoch_axis, marker_places
from grokinterp.figures.event_rows import ROW, event_rows, events_of, reached
from grokinterp.figures.seed_curves import Curve, curves_of, joint, running_median
from grokinterp.figures.style import (
    WIDTH,
    Look,
    add_caption,
    add_title,
    axis_name,
    caption,
    legend_above,
    looks,
    stacked,
    styled,
)
from grokinterp.placement import both_names, names_key

MAIN, PANEL = "main", "panel"
"""Of a figure's axes: those of the medians, and those of the seeds."""

BANDS = 4
"""So many at most lie over each other; those of more labels are drawn with their seeds."""


def over_epochs(
    series: Mapping[str, Sequence[pd.DataFrame | Curve]],
    quantity: str,
    unit: str = "",
    *,
    column: str | None = None,
    generalised: Mapping[str, Sequence[int | None]] | None = None,
    log_epochs: bool = False,
    log_values: bool = False,
    window: float | int | None = None,
    title: str = "",
) -> Figure:
    """Per label the median over seeds and its interval, and every seed as a thin line.

    The interval is that of the median from order statistics, 95 % or more of six seeds and more,
    and the range of fewer; the figure says which. Seeds are drawn as they are: nothing is smoothed,
    nor clipped, and NaN leaves a gap. Where their spikes would cover the medians, give a window:
    then the median is that of the seeds' running medians, and the seeds themselves get panels of
    their own below.

    Medians and intervals exist at epochs that all seeds of a label share. A seed whose values end
    before another's is marked there by an open circle and counts with its last value from there on;
    the median is thinner then.

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
        window: Epochs that the running medians of the seeds reach over.
        title: Above the figure.
    """
    runs = {label: curves_of(label, seeds, column or quantity) for label, seeds in series.items()}
    if not runs:
        raise ValueError("series must hold at least one label; got none")
    if window is not None and not window > 0:
        raise ValueError(f"window must be a number of epochs above 0; got {window:g}")
    events = events_of({label: len(seeds) for label, seeds in runs.items()}, generalised or {})
    look = looks(runs)
    every = np.unique(np.concatenate([epochs for seeds in runs.values() for epochs, _ in seeds]))
    bold = {
        label: [(at, running_median(at, y, window) if window else y) for at, y in seeds]
        for label, seeds in runs.items()
    }
    bands = not window or len(runs) <= BANDS
    lines = caption(_caption(runs, events, window))
    with styled():
        figure, above, axes, below = stacked(
            ROW * len(events),
            2.4,
            len(runs) if window else 0,
            extra=0.75 + 0.15 * (lines.count("\n") + 1 + len(runs) / 2) + 0.25 * bool(title),
        )
        epoch_axis(axes, every, log_epochs)
        if log_values:
            ticks.log_values(axes)
        axes.set_ylabel(axis_name(quantity, unit, log_values))
        for index, (label, seeds) in enumerate(bold.items()):
            if not window:
                _draw_seeds(axes, seeds, look[label], every[-1])
            _draw_median(axes, _name(label, seeds, events), seeds, look[label], (index, len(runs)))
            if bands:
                _draw_band(axes, seeds, look[label])
        if above is not None:
            event_rows(above, axes, events, look)
        legend_above(above or axes, of=axes)
        for panel, (label, seeds) in zip(below, runs.items(), strict=False):
            epoch_axis(panel, every, log_epochs)
            if log_values:
                ticks.log_values(panel)
            panel.set_xlabel("")
            _draw_seeds(panel, seeds, look[label], every[-1])
            _draw_panel(panel, label, bold[label], look[label])
            if not bands:
                _draw_band(panel, bold[label], look[label])
        axes.set_gid(MAIN)
        for panel in below:
            panel.set_gid(PANEL)
        add_title(figure, title)
        add_caption(figure, lines)
        return figure


def same_values(*figures: Figure | None) -> None:
    """Give figures that are to be compared the same axis of values; None is no figure."""
    for kind in (MAIN, PANEL):
        every = [axes for one in figures if one for axes in one.axes if axes.get_gid() == kind]
        if every:
            low, high = zip(*(axes.get_ylim() for axes in every), strict=True)
            for axes in every:
                axes.set_ylim(min(low), max(high))


def _draw_seeds(axes: Axes, seeds: list[Curve], look: Look, end: float) -> None:
    for epochs, values in seeds:
        [line] = axes.plot(epochs, values, color=look.color, linewidth=0.6, alpha=0.45)
        line.set_gid("seed")
        if epochs[-1] < end:
            [stop] = axes.plot(
                epochs[-1:], values[-1:], "o", mfc="white", mec=look.color, ms=3.5, mew=0.9
            )
            stop.set(gid="stop", zorder=4, clip_on=False)


def _draw_median(
    axes: Axes, name: str, seeds: list[Curve], look: Look, turn: tuple[int, int]
) -> None:
    epochs, values, first_stop = joint(seeds)
    median = np.median(values, axis=0)
    whole = int(np.searchsorted(epochs, first_stop, side="right"))
    # The parts meet at the last epoch that all seeds have.
    for gid, part, width in (
        ("median", slice(whole), 1.8),
        ("median carried on", slice(max(whole - 1, 0), None), 0.9),
    ):
        at = epochs[part]
        if gid != "median" and len(at) < 2:
            continue
        [line] = axes.plot(at, median[part], color=look.color, linewidth=width, zorder=3)
        line.set(linestyle=look.linestyle, gid=gid)
        if gid == "median":
            line.set(marker=look.marker, label=name)
            line.set_markevery(marker_places(axes, at, *turn) if len(at) else None)


def _draw_band(axes: Axes, seeds: list[Curve], look: Look) -> None:
    epochs, values, _ = joint(seeds)
    if len(seeds) > 1 and len(epochs):
        bounds = median_interval(values)
        band = axes.fill_between(epochs, *bounds, color=look.color, alpha=0.18, linewidth=0)
        band.set_gid("interval")


def _draw_panel(axes: Axes, label: str, bold: list[Curve], look: Look) -> None:
    """The median of the main axes over a label's seeds."""
    # A letter of 8 points is about 5 wide.
    letters = int(72 * WIDTH / axes.get_gridspec().ncols / 5)  # type: ignore[union-attr]
    axes.set_title(fill(both_names(label), letters), fontsize=8)
    epochs, values, _ = joint(bold)
    [line] = axes.plot(epochs, np.median(values, axis=0), color=look.color, linewidth=1.2, zorder=3)
    line.set_path_effects([withStroke(linewidth=2.6, foreground="white")])


def _name(label: str, seeds: list[Curve], events: Mapping[str, Sequence[float]]) -> str:
    """A label in the legend: how many seeds it has, and how many of them generalised."""
    said = [reached(events[label])] if label in events else []
    if not said and len(seeds) > 1:
        said = [f"{len(seeds)} seeds"]
    return ": ".join([both_names(label), *said])


def _caption(
    runs: Mapping[str, list[Curve]],
    events: Mapping[str, Sequence[float]],
    window: float | int | None,
) -> str:
    counts = [len(seeds) for seeds in runs.values()]
    single = max(counts) == 1
    smooth = f"running median over {window:,.10g} epochs" if window else ""
    parts = []
    if single:
        parts.append("one seed of each" if len(runs) > 1 else "one seed")
        parts += [f"bold: its {smooth}"] if window else []
    else:
        parts.append(f"bold: median over seeds{f' of the {smooth} of each' if window else ''}")
        parts.append(f"band: {interval_name(counts)}")
        parts += [] if window else ["thin: each seed"]
    if window:
        parts.append("small panels: each seed as it is")
    joints = {label: joint(seeds) for label, seeds in runs.items()}
    if any(
        np.setdiff1d(epochs, joints[label].epochs).size
        for label, seeds in runs.items()
        for epochs, _ in seeds
    ):
        parts.append("medians and bands only at epochs that all seeds of a label share")
    end = max(epochs[-1] for seeds in runs.values() for epochs, _ in seeds)
    if any(epochs[-1] < end for seeds in runs.values() for epochs, _ in seeds):
        parts.append("open circle: where a seed's values end")
    if any(one.first_stop < one.epochs[-1] for one in joints.values() if len(one.epochs)):
        parts.append("from there on it counts with its last value, and the median is drawn thinner")
    if events:
        one = "ticks above and vertical dashes: when it generalised"
        several = (
            "ticks above: when each seed generalised, beside the names how many did; "
            "vertical dashes: their median"
        )
        parts.append(one if single else several)
    said = "; ".join(parts)
    return f"{said[0].upper()}{said[1:]}. {names_key(runs)}".strip()
