"""How far the neural tangent kernel has moved from where it began."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Real
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokinterp.figures.arrays import ascending, shaped
from grokinterp.figures.epochs import epoch_axis, mark_epochs, marker_places
from grokinterp.figures.style import add_title, legend_above, looks, panels, styled
from grokinterp.figures.ticks import log_values
from grokinterp.placement import both_names

RELATIVE = "relative distance (log scale)\n" r"$\Vert K_t - K_0\Vert_F\,/\,\Vert K_0\Vert_F$"
KERNEL = "kernel distance (log scale)\n" r"$1 - \cos_F(K_t, K_0)$"


def ntk_distance(
    epochs: Real[np.ndarray, " epoch"],
    relative_distance: Real[np.ndarray, "*run epoch"],
    kernel_distance: Real[np.ndarray, "*run epoch"] | None = None,
    labels: Sequence[str] = ("NTK",),
    *,
    memorised: int | None = None,
    generalised: int | None = None,
    title: str = "",
) -> Figure:
    """The kernel's relative distance from its start, and its kernel distance below, log-log.

    Epoch 0, where both are 0, has no place on these axes. Runs of one label look alike.

    Args:
        epochs: Ascending.
        relative_distance: ‖K_t − K_0‖_F / ‖K_0‖_F, of one run or of several, [run, epoch].
        kernel_distance: 1 − cos_F(K_t, K_0), likewise.
        labels: A label per run; with a single run none need be given.
        memorised: Epoch to mark as memorised.
        generalised: Epoch to mark as generalised.
        title: Above the figure.
    """
    epochs = ascending(epochs)
    if not np.any(epochs > 0):
        raise ValueError("a distance from the start needs an epoch after 0")
    rows = [
        (label, _runs(what, values, epochs, labels))
        for label, what, values in (
            (RELATIVE, "relative_distance", relative_distance),
            (KERNEL, "kernel_distance", kernel_distance),
        )
        if values is not None
    ]
    with styled():
        figure, grid = panels(len(rows), height=0.9 + 1.7 * len(rows), sharex=True)
        for axes, (ylabel, values) in zip(grid[:, 0], rows, strict=True):
            _draw(axes, epochs, values, labels)
            axes.set_ylabel(ylabel)
        grid[-1, 0].set_xlabel("epoch (log scale)")
        mark_epochs(list(grid[:, 0]), memorised, generalised)
        if tuple(labels) != ("NTK",):
            legend_above(grid[0, 0])
        add_title(figure, title)
        return figure


def _runs(what: str, values: np.ndarray, epochs: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    values = np.asarray(values)
    return shaped(
        what,
        values[None] if values.ndim == 1 else values,
        "run epoch",
        run=len(labels),
        epoch=len(epochs),
    )


def _draw(axes: Axes, epochs: np.ndarray, values: np.ndarray, labels: Sequence[str]) -> None:
    epoch_axis(axes, epochs[epochs > 0], log=True)
    axes.set_xlabel("")
    log_values(axes)
    look = looks(labels)
    for index, (label, distance) in enumerate(zip(labels, values, strict=True)):
        axes.plot(
            epochs,
            distance,
            color=look[label].color,
            linestyle=look[label].linestyle,
            marker=look[label].marker,
            markevery=marker_places(axes, epochs, index, len(labels)),
            label=both_names(label) if label not in labels[:index] else None,
        )
