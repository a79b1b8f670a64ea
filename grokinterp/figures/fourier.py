"""The embedding's Fourier spectrum: of one checkpoint, and over training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Real
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokinterp.figures.arrays import ascending, shaped
from grokinterp.figures.epochs import edges, epoch_axis, mark_epochs
from grokinterp.figures.style import (
    BLUE,
    GREY,
    LIGHT_GREY,
    WIDTH,
    add_title,
    colorbar,
    panels,
    styled,
)

FREQUENCY = "frequency k"

NUMBERED = 15
"""So many bars at most carry their number."""


def embedding_spectrum(
    norms: Real[np.ndarray, " freq"],
    key_frequencies: Sequence[int] = (),
    *,
    quantity: str = "norm in $W_E$",
    title: str = "",
) -> Figure:
    """A bar per frequency k = 1..p//2, the key frequencies emphasised and numbered.

    Args:
        norms: From frequency 1 up.
        key_frequencies: To emphasise.
        quantity: What the norms are of, for the axis.
        title: Above the figure.
    """
    norms = shaped("norms", norms, "freq")
    with styled():
        figure, grid = panels(height=2.2)
        frequency_bars(grid[0, 0], norms, key_frequencies)
        grid[0, 0].set(xlabel=FREQUENCY, ylabel=quantity)
        add_title(figure, title)
        return figure


def spectrum_evolution(
    epochs: Real[np.ndarray, " epoch"],
    norms: Real[np.ndarray, "epoch freq"],
    key_frequencies: Sequence[int] = (),
    *,
    memorised: int | None = None,
    generalised: int | None = None,
    log_epochs: bool = False,
    quantity: str = "norm in $W_E$",
    title: str = "",
) -> Figure:
    """The spectrum at every epoch as an image: epoch to the right, frequency k = 1..p//2 up.

    Each epoch's column reaches halfway to its neighbours, on the axis's own scale, and the axis
    from the first epoch to the last. Arrows at the right point at the key frequencies; missing
    values are white.

    Args:
        epochs: Ascending, two or more.
        norms: From frequency 1 up, at each epoch.
        key_frequencies: To point at.
        memorised: Epoch to mark as memorised.
        generalised: Epoch to mark as generalised.
        log_epochs: Epochs on a log scale.
        quantity: What the norms are of, for the colours.
        title: Above the figure.
    """
    epochs = ascending(epochs)
    norms = shaped("norms", norms, "epoch freq", epoch=len(epochs))
    if len(epochs) < 2:
        raise ValueError("an evolution needs at least two epochs; got one")
    frequencies = norms.shape[1]
    _check_keys(key_frequencies, frequencies)
    with styled():
        figure, grid = panels(height=2.9)
        axes = grid[0, 0]
        epoch_axis(axes, epochs, log_epochs)
        borders = edges(axes, epochs)
        image = axes.pcolormesh(
            borders,
            np.arange(frequencies + 1) + 0.5,
            np.ma.masked_invalid(norms.T),
            cmap="viridis",
            vmin=np.nanmin(norms, initial=0.0),
            rasterized=True,
        )
        axes.grid(False)
        axes.set_ylabel(FREQUENCY)
        axes.plot(
            [1.012] * len(key_frequencies),
            key_frequencies,
            transform=axes.get_yaxis_transform(),
            linestyle="none",
            marker="<",
            markersize=3.5,
            color="black",
            clip_on=False,
        )
        colorbar(figure, image, axes, quantity)
        mark_epochs([axes], memorised, generalised, on_image=True)
        add_title(figure, title)
        return figure


def frequency_bars(
    axes: Axes, values: np.ndarray, emphasised: Sequence[int] = (), width: float = WIDTH - 0.7
) -> None:
    """A bar per frequency from 1 up, the emphasised ones coloured, the tallest of them numbered.

    `width` is about that of the axes in inches: it says how many bars a number is wide.
    """
    _check_keys(emphasised, len(values))
    frequencies = np.arange(1, len(values) + 1)
    emphasis = np.isin(frequencies, list(emphasised))
    plain = LIGHT_GREY if emphasis.any() else GREY
    axes.bar(frequencies, values, width=0.8, color=np.where(emphasis, BLUE, plain))
    axes.set_xlim(0.2, len(values) + 0.8)
    axes.grid(False, axis="x")
    axes.margins(y=0.12)
    pitch = 72 * width / (len(values) + 0.6)
    # Two digits at 8 points are 11 wide: numbers that have no gap then go one above the other.
    reach, step = int(np.ceil(6 / pitch)), int(np.ceil(14 / pitch))
    before, level, base = -len(values), 0, 0.0
    tallest = np.argsort(-np.nan_to_num(np.where(emphasis, values, -np.inf), neginf=-np.inf)) + 1
    for k in sorted(int(k) for k in tallest[: min(NUMBERED, int(emphasis.sum()))]):
        around = values[max(0, k - 1 - reach) : k + reach]
        here = float(np.nanmax(around)) if not np.isnan(around).all() else 0.0
        near = k - before < step
        level, base = ((level + 1) % max(2, step), max(base, here)) if near else (0, here)
        axes.annotate(
            str(k),
            xy=(k, base),
            xytext=(0, 2 + 9 * level),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
            color=BLUE,
        )
        before = k


def _check_keys(key_frequencies: Sequence[int], frequencies: int) -> None:
    wrong = [k for k in key_frequencies if not 1 <= k <= frequencies]
    if wrong:
        raise ValueError(
            f"key frequencies must be among 1 to {frequencies}; got {', '.join(map(str, wrong))}"
        )
