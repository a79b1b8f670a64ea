"""The 2-D Fourier components of neurons or logits, as a heat map of frequencies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Real
from matplotlib.figure import Figure

from grokinterp.figures.arrays import shaped
from grokinterp.figures.style import add_title, colorbar, panels, styled


def fourier_plane(
    norms: Real[np.ndarray, "freq freq"],
    key_frequencies: Sequence[int] = (),
    *,
    quantity: str = "norm of the component",
    title: str = "",
) -> Figure:
    """A cell for each frequency in a (up) and in b (to the right), from 0, the constant.

    The cell of the constant in both is left white: it says nothing of a and b, and would set the
    scale. Triangles at the top and at the right point at the key frequencies.

    Args:
        norms: By the frequency of a and that of b.
        key_frequencies: To point at.
        quantity: What the norms are of, for the colours.
        title: Above the figure.
    """
    norms = shaped("norms", norms, "freq freq", freq=len(norms))
    if len(norms) < 2 or norms.shape[0] != norms.shape[1]:
        raise ValueError(f"norms must be square, of two frequencies or more; got {norms.shape}")
    wrong = [k for k in key_frequencies if not 1 <= k < len(norms)]
    if wrong:
        raise ValueError(
            f"key frequencies must be among 1 to {len(norms) - 1}; got {', '.join(map(str, wrong))}"
        )
    drawn = np.ma.masked_invalid(norms).copy()
    drawn[0, 0] = np.ma.masked
    borders = np.arange(len(norms) + 1) - 0.5
    with styled():
        figure, grid = panels(height=4.4)
        axes = grid[0, 0]
        image = axes.pcolormesh(borders, borders, drawn, cmap="viridis", vmin=0, rasterized=True)
        axes.grid(False)
        axes.set(aspect="equal", xlabel="frequency in b", ylabel="frequency in a")
        keys = list(key_frequencies)
        for x, y, marker, transform in (
            (keys, [1.012] * len(keys), "v", axes.get_xaxis_transform()),
            ([1.012] * len(keys), keys, "<", axes.get_yaxis_transform()),
        ):
            axes.plot(
                x,
                y,
                transform=transform,
                linestyle="none",
                marker=marker,
                markersize=3.5,
                color="black",
                clip_on=False,
            )
        colorbar(figure, image, axes, quantity)
        add_title(figure, title)
        return figure
