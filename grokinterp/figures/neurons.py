"""Which frequency each MLP neuron follows, and how many follow each."""

from __future__ import annotations

import numpy as np
from jaxtyping import Real
from matplotlib.figure import Figure

from grokinterp.figures.arrays import shaped
from grokinterp.figures.fourier import FREQUENCY, frequency_bars
from grokinterp.figures.style import add_title, colorbar, panels, styled


def neuron_clusters(
    fve: Real[np.ndarray, "d_mlp freq"], threshold: float = 0.85, *, title: str = ""
) -> Figure:
    """Above, every neuron's variance explained by each frequency; below, the clusters' sizes.

    Neurons are sorted by their best frequency, then by how well it explains them; those that
    no frequency explains by more than the threshold come last, behind the white line. NaN (a
    neuron that never varies) belongs to no cluster.

    Args:
        fve: Fraction of variance explained, 0 to 1, for k = 1..p//2.
        threshold: A neuron is clustered above this.
        title: Above the figure.
    """
    fve = shaped("fve", fve, "d_mlp freq")
    if np.nanmin(fve, initial=0.0) < -1e-3 or np.nanmax(fve, initial=0.0) > 1 + 1e-3:
        raise ValueError("fve must hold fractions of variance, from 0 to 1")
    known = np.where(np.isnan(fve), -1.0, fve)
    best, frequency = known.max(axis=1), known.argmax(axis=1)
    clustered = best > threshold
    order = np.lexsort((-best, frequency, best < 0, ~clustered))
    sizes = np.bincount(frequency[clustered], minlength=fve.shape[1])
    neurons, count = len(fve), int(clustered.sum())
    with styled():
        figure, grid = panels(2, height=4.2, gridspec_kw={"height_ratios": [1.5, 1]})
        image_axes, bars = grid[:, 0]
        image = image_axes.pcolormesh(
            np.arange(neurons + 1),
            np.arange(fve.shape[1] + 1) + 0.5,
            np.ma.masked_invalid(fve[order].T),
            cmap="viridis",
            vmin=0,
            vmax=1,
            rasterized=True,
        )
        image_axes.grid(False)
        if 0 < count < neurons:
            image_axes.axvline(count, color="white", linewidth=1.2)
        for what, first, last in (
            ("clustered", 0, count),
            ("not clustered", count, neurons),
        ):
            if last > first:
                # From the outer ends inwards, so that the two never meet.
                outer = first == 0
                image_axes.annotate(
                    f"{last - first:,} {what}",
                    xy=(0.0 if outer else 1.0, 1.0),
                    xycoords="axes fraction",
                    xytext=(0, 3),
                    textcoords="offset points",
                    ha="left" if outer else "right",
                    fontsize=8,
                )
        image_axes.set(xlabel="neuron, sorted by cluster", ylabel=FREQUENCY)
        colorbar(figure, image, image_axes, "variance explained")
        frequency_bars(bars, sizes.astype(float), [int(k) + 1 for k in np.flatnonzero(sizes)])
        bars.set(xlabel=FREQUENCY, ylabel=f"neurons with\nFVE > {threshold:g}")
        bars.yaxis.get_major_locator().set_params(integer=True)
        if not count:
            bars.set_ylim(0, 1)
            bars.text(
                0.5,
                0.5,
                "no neuron",
                transform=bars.transAxes,
                ha="center",
                va="center",
                fontsize=8,
            )
        add_title(figure, title)
        return figure
