"""The epoch axis of a figure, and the epochs marked on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from grokinterp.figures.style import DARK_GREEN, GREEN, GREY
from grokinterp.figures.ticks import linear_ticks, log_ticks, symlog_ticks


def epoch_axis(axes: Axes, epochs: np.ndarray, log: bool = False) -> None:
    """Give the axes these epochs, with thousands separators; on a log scale where asked.

    A log scale that must show epoch 0 is linear up to the first epoch after it, and says so.
    """
    first, last = float(np.min(epochs)), float(np.max(epochs))
    axes.set_xlabel("epoch")
    if not log or last <= 0:
        linear_ticks(axes)
    elif first > 0:
        # Masked: a curve that also has epoch 0 begins at the first epoch with a place.
        axes.set_xscale("log", nonpositive="mask")
        axes.set_xlabel("epoch (log scale)")
        log_ticks(axes)
    else:
        smallest = float(np.min(epochs[epochs > 0]))
        axes.set_xscale("symlog", linthresh=smallest, linscale=0.4)
        axes.set_xlabel(f"epoch (log scale, linear below {smallest:,.0f})")
        symlog_ticks(axes, smallest, last)
    if first < last:
        axes.set_xlim(first, last)


def edges(axes: Axes, epochs: np.ndarray) -> np.ndarray:
    """The borders between epochs, halfway on the axis's own scale, and the first and the last."""
    scale = axes.xaxis.get_transform()
    places = scale.transform(epochs.astype(float))
    between = (places[1:] + places[:-1]) / 2
    return np.concatenate([epochs[:1], scale.inverted().transform(between), epochs[-1:]])


def mark_epochs(
    panels: Sequence[Axes], memorised: int | None, generalised: int | None, on_image: bool = False
) -> None:
    """A dashed line through all panels per marked epoch, named above the first of them."""
    marks = [
        (epoch, what, color)
        for epoch, what, color in (
            (memorised, "memorised", GREY),
            (generalised, "generalised", GREEN),
        )
        if epoch is not None
    ]
    first, last = sorted(panels[0].get_xlim())
    for epoch, what, _ in marks:
        if not first <= epoch <= last:
            raise ValueError(
                f"the epoch marked as {what} must be among those drawn, {first:,.0f} to "
                f"{last:,.0f}; got {epoch:,}"
            )
    sides = _sides(panels[0], [epoch for epoch, _, _ in marks])
    for (epoch, what, color), side in zip(marks, sides, strict=True):
        for axes in panels:
            line = axes.axvline(epoch, color=color, linestyle="--", linewidth=1.2, zorder=1)
            line.set_gid(what)
            if on_image:
                line.set(color="white", zorder=3)
                line.set_path_effects([withStroke(linewidth=2.4, foreground="black")])
        panels[0].annotate(
            f"{what}\nepoch {epoch:,}",
            xy=(epoch, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha=side,
            va="bottom",
            # Of the line's colour, and dark enough for text.
            color={GREEN: DARK_GREEN}.get(color, color),
            fontsize=8,
        )


def _sides(axes: Axes, epochs: list[int]) -> list[str]:
    """How to align the marks' names, so that those of two near epochs stand apart."""
    if len(epochs) < 2:
        return ["center"] * len(epochs)
    points = axes.transData.transform([(epoch, 1.0) for epoch in epochs])
    one, other = axes.transAxes.inverted().transform(points)[:, 0]
    if abs(one - other) > 0.28:
        return ["center", "center"]
    return ["right", "left"] if one <= other else ["left", "right"]


def marker_places(axes: Axes, epochs: np.ndarray, which: int, of: int) -> list[int]:
    """A few points of a curve to put markers on, evenly over the axis, other ones per curve."""
    places = axes.xaxis.get_transform().transform(epochs.astype(float))
    first, last = axes.xaxis.get_transform().transform(np.array(axes.get_xlim(), dtype=float))
    targets = first + (last - first) * (np.arange(6) + (which + 0.5) / of) / 6
    return sorted({int(np.nanargmin(np.abs(places - target))) for target in targets})
