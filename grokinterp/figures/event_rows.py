"""When each seed of each label reached an event: a row of ticks per label, above curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from grokinterp.figures.style import Look

ROW = 0.13
"""Inches for each label."""


def events_of(
    seeds: Mapping[str, int], generalised: Mapping[str, Sequence[int | None]]
) -> dict[str, list[float]]:
    """Per label the seeds' generalising epochs, infinite for those that never did."""
    for label, epochs in generalised.items():
        if label not in seeds:
            raise ValueError(f"generalised names {label!r}; the series are {', '.join(seeds)}")
        if len(epochs) != seeds[label]:
            raise ValueError(
                f"generalised must have an epoch, or None, per seed of {label!r}: "
                f"{seeds[label]} of them; got {len(epochs)}"
            )
    return {
        label: [np.inf if epoch is None else float(epoch) for epoch in generalised[label]]
        for label in seeds
        if label in generalised
    }


def reached(epochs: Sequence[float]) -> str:
    """How many of the seeds reached the event, for the legend."""
    count = int(np.isfinite(epochs).sum())
    if len(epochs) == 1:
        return "generalised" if count else "did not generalise"
    return f"{count} of {len(epochs)}"


def event_rows(
    rows: Axes, axes: Axes, events: Mapping[str, Sequence[float]], look: Mapping[str, Look]
) -> None:
    """Ticks at the events, a row per label behind its mark; the medians in the main axes."""
    for row, (label, epochs) in enumerate(events.items()):
        color, _, marker = look[label]
        ticks = rows.vlines(
            [epoch for epoch in epochs if np.isfinite(epoch)],
            row - 0.38,
            row + 0.38,
            linewidth=1.4,
            color=color,
        )
        ticks.set_gid("generalised")
        rows.plot(
            -0.02,
            row,
            marker,
            color=color,
            transform=rows.get_yaxis_transform(),
            clip_on=False,
        )
        # A seed that never did counts as infinitely late: no median where it falls among those.
        median = float(np.median(epochs))
        if np.isfinite(median):
            line = axes.axvline(median, color=color, linestyle=(0, (4, 3)), linewidth=0.8, zorder=1)
            line.set_gid("median generalised")
    rows.set_yticks([])
    rows.set_ylim(len(events) - 0.5, -0.5)
    rows.tick_params(axis="both", which="both", length=0, labelbottom=False)
    rows.spines[["left", "bottom"]].set_visible(False)
    rows.grid(False)
