"""One epoch against another, a mark for each run, on log scales, with the line of equality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from grokinterp.figures.style import (
    GREY,
    LIGHT_GREY,
    TEXT_SIZE,
    add_title,
    axis_name,
    looks,
    panels,
    styled,
)
from grokinterp.figures.ticks import log_ticks
from grokinterp.placement import both_names, names_key


class Point(NamedTuple):
    """Two epochs of one run; `beyond` where one of them is only known to be later."""

    x: float
    y: float
    beyond: bool = False


def scatter(
    series: Mapping[str, Mapping[str, Sequence[Point]]],
    x_quantity: str,
    y_quantity: str,
    title: str = "",
) -> Figure:
    """A panel for each series; labels (placements) by colour and mark, open where beyond a bound.

    Args:
        series: Points of the runs, by panel and label.
        x_quantity: What is across, for the axis.
        y_quantity: What is upwards, for the axis.
        title: Above the figure.
    """
    if not series:
        raise ValueError("series must hold at least one panel; got none")
    labels = list(dict.fromkeys(label for points in series.values() for label in points))
    look = looks(labels)
    every = [one for points in series.values() for some in points.values() for one in some]
    low = min((min(one.x, one.y) for one in every if one.x > 0 and one.y > 0), default=1) * 0.8
    high = max(max(one.x, one.y) for one in every) * 1.25
    with styled():
        figure, grid = panels(
            1, len(series), height=3.2 + 0.4 * bool(title), sharex=True, sharey=True
        )
        for axes, (name, points) in zip(grid[0], series.items(), strict=True):
            axes.plot([low, high], [low, high], color=LIGHT_GREY, linewidth=1, zorder=0)
            for label, some in points.items():
                color, _, marker = look[label]
                for one in some:
                    face = "none" if one.beyond else color
                    axes.plot(one.x, one.y, marker, mfc=face, mec=color, alpha=0.8, ms=6)
            axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), title=name)
            axes.set_aspect("equal")
            axes.set_xlabel(axis_name(x_quantity, log=True))
            log_ticks(axes)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        grid[0, 0].set_ylabel(f"{fill(y_quantity, 28)}\n(log scale)")
        for label in labels:
            drawn = {"color": look[label].color, "label": both_names(label)}
            grid[0, -1].plot([], [], look[label].marker, **drawn)
        grid[0, -1].plot([], [], "o", mfc="none", mec=GREY, label="not within its epochs")
        figure.legend(
            *grid[0, -1].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=3,
            # A caption would lie below a legend of the whole figure, and over it.
            title=names_key(labels),
            title_fontsize=TEXT_SIZE,
        )
        add_title(figure, title)
        return figure
