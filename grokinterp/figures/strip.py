"""One number for each run, label by label: every seed a mark, and the median over seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokinterp.confidence_interval import interval_name, median_interval
from grokinterp.figures.style import (
    GREY,
    PLACEMENT_LOOKS,
    Look,
    add_caption,
    add_title,
    axis_name,
    caption,
    legend_above,
    looks,
    panels,
    styled,
)
from grokinterp.figures.ticks import linear_ticks, log_ticks
from grokinterp.placement import both_names, names_key

ROW = 0.22
"""Inches for each series of a label."""


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
    arrow at the bound, with their number where they are several; where the median or an end of the
    interval is one, it is not drawn.

    Args:
        series: Values of the seeds, by series and label. A series is drawn in one colour; of a
            single one, placements are drawn in their own.
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
    # A label of several series has a line for each of them.
    of = {label: [name for name, values in series.items() if label in values] for label in labels}
    middle, heights = _rows([len(of[label]) for label in labels])
    lines = caption(_caption(series))
    with styled():
        figure, grid = panels(
            height=0.7
            + ROW * max(sum(heights), 3)
            + 0.15 * (lines.count("\n") + 1 + (len(series) + 1) // 2 * (len(series) > 1))
            + 0.2 * bool(title)
        )
        axes = grid[0, 0]
        for row in range(1, len(labels), 2):
            ends = (middle[row] - heights[row] / 2, middle[row] + heights[row] / 2)
            axes.axhspan(*ends, color="#f4f4f4", linewidth=0, zorder=-2)
        for name, values in series.items():
            for label, seeds in values.items():
                shift = of[label].index(name) - (len(of[label]) - 1) / 2
                own = PLACEMENT_LOOKS.get(label) if len(series) == 1 else None
                _draw(axes, middle[labels.index(label)] + shift, seeds, own or look[name])
            if len(series) > 1:
                drawn = {"color": look[name].color, "label": both_names(name), "linestyle": "none"}
                axes.plot([], [], marker=look[name].marker, **drawn)
        reference = {k: v for k, v in (reference or {}).items() if k in labels}
        for label, value in reference.items():
            y = middle[labels.index(label)]
            axes.plot(value, y, "o", mfc="none", mec=GREY, ms=8, zorder=1)
        if reference:
            axes.plot([], [], "o", mfc="none", mec=GREY, ms=8, label=reference_name)
        axes.set_yticks(middle, [both_names(label) for label in labels])
        axes.set_ylim(sum(heights), 0)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        if log:
            axes.set_xscale("log")
            log_ticks(axes)
        else:
            linear_ticks(axes, whole=False)
        axes.set_xlabel(axis_name(quantity, unit, log))
        if axes.get_legend_handles_labels()[0]:
            legend_above(axes)
        add_title(figure, title)
        add_caption(figure, lines)
        return figure


def _rows(lines: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The middles of rows one below the other, and their heights: of so many lines, and a gap."""
    heights = np.array(lines) + 0.4
    return np.cumsum(heights) - heights / 2, heights


def _draw(axes: Axes, y: float, seeds: Sequence[Number], look: Look) -> None:
    values = np.array([np.inf if isinstance(one, Beyond) else float(one) for one in seeds])
    seen = values[np.isfinite(values)]
    axes.plot(seen, np.full(len(seen), y), look.marker, color=look.color, alpha=0.55, ms=5)
    bounds = [one.least for one in seeds if isinstance(one, Beyond)]
    if bounds:
        axes.plot(bounds, np.full(len(bounds), y), ">", mfc="none", mec=look.color, ms=7)
        for bound, number in Counter(bounds).items():
            if number > 1:
                axes.annotate(
                    f"×{number}",
                    (bound, y),
                    (6, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize="small",
                )
    if not len(values) or np.isnan(values).any():
        return
    # Half of an infinite value and a finite one is infinite, as it should be.
    median = np.median(values)
    if np.isfinite(median):
        axes.plot(median, y, "|", color=look.color, ms=12, mew=2.2)
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
        parts.append(
            "open arrow: not within so many epochs, ×n: in n seeds (and a line that would end "
            "beyond is left out)"
        )
    key = names_key(dict.fromkeys([*series, *(label for one in series.values() for label in one)]))
    return f"{'; '.join(parts)}. {key}".strip()
