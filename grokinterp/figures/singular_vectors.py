"""Singular values, and the leading singular vectors as functions of the token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Real
from matplotlib.figure import Figure

from grokinterp.figures.arrays import shaped
from grokinterp.figures.fourier import FREQUENCY, frequency_bars
from grokinterp.figures.style import BLUE, GREY, LIGHT_GREY, add_title, panels, styled


def singular_vectors(
    singular_values: Real[np.ndarray, " direction"],
    tokens: Real[np.ndarray, "direction token"],
    spectra: Real[np.ndarray, "direction freq"],
    key_frequencies: Sequence[int] = (),
    *,
    leading: int = 4,
    token: str = "token",
    title: str = "",
) -> Figure:
    """Above, all singular values; below, for each leading direction its values over the tokens, and
    the share of its energy at each frequency.

    Args:
        singular_values: Descending.
        tokens: A singular vector for each, over the tokens.
        spectra: Its shares, for k = 1..p//2.
        key_frequencies: Emphasised in the spectra.
        leading: So many directions are drawn.
        token: What the rows of the matrix are, for the axis.
        title: Above the figure.
    """
    values = shaped("singular_values", singular_values, "direction")
    tokens = shaped("tokens", tokens, "direction token", direction=len(values))
    spectra = shaped("spectra", spectra, "direction freq", direction=len(values))
    if not 1 <= leading <= len(values):
        raise ValueError(f"leading must be from 1 to {len(values)} directions; got {leading}")
    if np.any(np.diff(values) > 0):
        raise ValueError("singular_values must be descending")
    with styled():
        figure, grid = panels(leading + 1, 2, height=1.7 + 1.05 * leading)
        place = grid[0, 0].get_gridspec()
        for unused in grid[0]:
            unused.remove()
        axes = figure.add_subplot(place[0, :])
        numbers = np.arange(1, len(values) + 1)
        axes.bar(numbers, values, color=np.where(numbers <= leading, BLUE, LIGHT_GREY))
        axes.set(xlabel="direction", ylabel="singular\nvalue")
        axes.set_xlim(0.2, len(values) + 0.8)
        axes.grid(False, axis="x")
        # One scale for all, with a little room.
        height = 1.1 * float(np.nanmax(np.abs(tokens[:leading]))) or 1.0
        for index in range(leading):
            curve, bars = grid[index + 1]
            curve.plot(np.arange(tokens.shape[1]), tokens[index], color=BLUE, linewidth=1.0)
            curve.axhline(0, color=GREY, linewidth=0.6, zorder=1)
            curve.set(ylabel=f"direction {index + 1}", ylim=(-height, height))
            frequency_bars(bars, spectra[index], key_frequencies, width=2.2)
            bars.set_ylim(0, 1.25)
            bars.set_yticks([0, 0.5, 1])
            if index < leading - 1:
                curve.tick_params(labelbottom=False)
                bars.tick_params(labelbottom=False)
        grid[1, 1].set_title("share of its energy")
        grid[-1, 0].set_xlabel(token)
        grid[-1, 1].set_xlabel(FREQUENCY)
        add_title(figure, title)
        return figure
