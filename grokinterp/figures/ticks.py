"""Ticks whose labels stand apart, however narrow the axis turns out to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import (
    FixedLocator,
    Locator,
    LogFormatterSciNotation,
    LogLocator,
    MaxNLocator,
    NullFormatter,
)

from grokinterp.figures.style import TICK_SIZE, text_width

GAP = 5.0
"""Points between two labels, at least."""

# From dense to sparse, within a decade.
_SUBDIVISIONS = (range(1, 10), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))


class Apart(Locator):
    """The first of several choices, from dense to sparse, whose labels stand apart.

    It is asked at each drawing, when the axis has its size.
    """

    def __init__(self, choices: Sequence[Locator]) -> None:
        self._choices = choices

    def set_axis(self, axis: Any) -> None:
        """Told by matplotlib which axis the ticks are of."""
        super().set_axis(axis)
        for one in self._choices:
            one.set_axis(axis)

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """The ticks of the first choice between these two values, room or not."""
        return self._choices[0].tick_values(vmin, vmax)

    def __call__(self) -> np.ndarray:  # type: ignore[override]  # As its own choices do.
        """The ticks of the axis as it is."""
        axis: Any = self.axis
        low, high = sorted(axis.get_view_interval())
        last: list[float] = []
        for choice in self._choices:
            ticks = [tick for tick in choice() if low <= tick <= high]
            if len(ticks) > 1 and self._stand_apart(ticks):
                return np.array(ticks)
            last = ticks[-1:] or last
        # No two have room: one has.
        return np.array(last)

    def _stand_apart(self, ticks: list[float]) -> bool:
        axis: Any = self.axis
        axes = axis.axes
        low, high, *places = axis.get_transform().transform(
            np.array([*axis.get_view_interval(), *ticks])
        )
        lies = axis.axis_name == "x"
        length = axes.bbox.width if lies else axes.bbox.height
        points = length * 72 / axes.get_figure(root=True).dpi
        middles = (np.array(places) - low) / abs(high - low) * points
        sizes = [
            text_width(text, TICK_SIZE) if lies else TICK_SIZE
            for text in axis.major.formatter.format_ticks(ticks)
        ]
        room = np.add(sizes[:-1], sizes[1:]) / 2 + GAP
        return bool(np.all(np.abs(np.diff(middles)) >= room))


def linear_ticks(axes: Axes, whole: bool = True) -> None:
    """Numbers with thousands separators, whole ones unless asked, as many as have room."""
    axes.xaxis.set_major_formatter(_number)
    axes.xaxis.set_major_locator(Apart(_linear(whole)))


def log_ticks(axes: Axes) -> None:
    """Numbers with thousands separators on a log scale, as many as have room."""
    axes.xaxis.set_major_formatter(_number)
    axes.xaxis.set_minor_formatter(NullFormatter())
    # Less than a decade may hold no number of a sparse choice, and a linear one then.
    axes.xaxis.set_major_locator(Apart([*map(_log, _SUBDIVISIONS), *_linear(whole=False)]))


def symlog_ticks(axes: Axes, linear_below: float, last: float) -> None:
    """0, and numbers from where a scale is no longer linear on, as many as have room."""
    axes.xaxis.set_major_formatter(_number)
    axes.xaxis.set_minor_formatter(NullFormatter())
    decades = 10.0 ** np.arange(np.floor(np.log10(linear_below)), np.ceil(np.log10(last)) + 1)
    choices = []
    for subdivisions in _SUBDIVISIONS[2:]:
        ticks = np.outer(decades, subdivisions).ravel()
        choices.append(FixedLocator([0, *ticks[(ticks >= linear_below) & (ticks <= last)]]))
    axes.xaxis.set_major_locator(Apart([*choices, FixedLocator([0, last])]))


def log_values(axes: Axes) -> None:
    """Values on a log scale: a label per decade, and between them where there are few."""
    # Masked: a line to what has no place, as a distance of 0, would be upright.
    axes.set_yscale("log", nonpositive="mask")
    axes.yaxis.set_major_formatter(
        LogFormatterSciNotation(minor_thresholds=(np.inf, np.inf))  # All that it is given.
    )
    axes.yaxis.set_minor_formatter(NullFormatter())
    between = [_log(subdivisions) for subdivisions in ((1, 3), (1, 2, 5))]
    axes.yaxis.set_major_locator(Apart([LogLocator(), *between, *_linear(whole=False)]))


def _number(value: float, _: float | int | None = None) -> str:
    return f"{value:,.10g}"


def _linear(whole: bool) -> list[Locator]:
    return [MaxNLocator(n, steps=[1, 2, 5, 10], integer=whole) for n in range(7, 0, -1)]


def _log(subdivisions: Sequence[int]) -> Locator:
    return LogLocator(subs=tuple(map(float, subdivisions)))
