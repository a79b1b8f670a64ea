"""One number for each run, label by label: every seed a mark, and the median over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from grokinterp.figures.style import GREY, Look, add_title, legend_beside, looks, panels, styled
from grokinterp.interval import interval_name, median_interval

ROW = 0.3
"""Inches between labels, for each series."""


class Beyond(NamedTuple):
    """A value that is only known to be larger: an event that was not seen within so many epochs."""

    least: float


Number = float | int | Beyond


def strip(
    series: Mapping[str, Mapping[str, Sequence[Number]]],
    quantity: str,
    unit: str = "",
    *,
    log: bool = False,
    reference: Mapping[str, float | int] | None = None,
    reference_name: str = "paper",
    title: str = "",
) -> Figure:
    """A row for each label; a mark for each seed, an upright bar at the median over seeds.

    The thin line is the interval of the median from order statistics, 95 % or more of six seeds
    and more, and the range of fewer. A value that is only known to be beyond a bound is an open
    arrow at the bound; where the median or an end of the interval is one, it is not drawn.

    Args:
        series: Values of the seeds, by series and label; a series is drawn in one colour.
        quantity: What the values are, for the axis.
        unit: Their unit; empty for pure numbers.
        log: Values on a log scale.
        reference: A value to compare with, by label, drawn as an open circle; other labels are
            left out.
        reference_name: What it is, for the legend.
        title: Above the figure.
    """
    labels = list(dict.fromkeys(label for values in series.values() for label in values))
    if not labels:
        raise ValueError("series must hold at least one label with values; got none")
    look = looks(series)
    with styled():
        # A label of several series has a line for each of them.
        of = {
            label: [name for name, values in series.items() if label in values] for label in labels
        }
        rows = len(labels) * max(map(len, of.values()))
        figure, grid = panels(height=1.1 + ROW * max(rows, 3) + 0.2 * bool(title))
        axes = grid[0, 0]
        for name, values in series.items():
            for label, seeds in values.items():
                shift = (of[label].index(name) - (len(of[label]) - 1) / 2) * 0.8 / len(of[label])
                _draw(axes, labels.index(label) + shift, seeds, look[name])
            axes.plot([], [], look[name].marker, color=look[name].color, label=name)
        reference = {k: v for k, v in (reference or {}).items() if k in labels}
        for label, value in reference.items():
            axes.plot(value, labels.index(label), "o", mfc="none", mec=GREY, ms=8, zorder=1)
        if reference:
            axes.plot([], [], "o", mfc="none", mec=GREY, ms=8, label=reference_name)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axes.set_xlabel(f"{quantity} ({unit})" if unit else quantity)
        if len(series) > 1 or reference:
            legend_beside(axes)
        add_title(figure, title)
        caption = fill(_caption(series), 88)
        figure.supxlabel(caption, x=0.01, ha="left", fontsize=8, color=GREY)
        return figure


def _draw(axes: Axes, y: float, seeds: Sequence[Number], look: Look) -> None:
    values = np.array([np.inf if isinstance(one, Beyond) else float(one) for one in seeds])
    seen = values[np.isfinite(values)]
    axes.plot(seen, np.full(len(seen), y), look.marker, color=look.color, alpha=0.55, ms=5)
    bounds = [one.least for one in seeds if isinstance(one, Beyond)]
    if bounds:
        axes.plot(bounds, np.full(len(bounds), y), ">", mfc="none", mec=look.color, ms=7)
    if not len(values) or np.isnan(values).any():
        return
    # Half of an infinite value and a finite one is infinite, as it should be.
    median = np.median(values)
    if np.isfinite(median):
        axes.plot(median, y, "|", color=look.color, ms=14, mew=2.2)
    low, high = (bound.item() for bound in median_interval(values[:, None]))
    if np.isfinite([low, high]).all() and low < high:
        axes.plot([low, high], [y, y], color=look.color, linewidth=1)


def _caption(series: Mapping[str, Mapping[str, Sequence[Number]]]) -> str:
    groups = [seeds for values in series.values() for seeds in values.values()]
    counts = sorted({len(seeds) for seeds in groups})
    many = " to ".join(map(str, sorted({counts[0], counts[-1]})))
    parts = [f"{many} seed{'s' if counts[-1] > 1 else ''} for each label; bar: median"]
    if counts[-1] > 1:
        parts.append(f"line: {interval_name(counts)}")
    if any(isinstance(one, Beyond) for seeds in groups for one in seeds):
        parts.append("open arrow: not within so many epochs")
    return "; ".join(parts)
