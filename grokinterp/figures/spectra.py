"""Eigenvalue spectra and the power laws fitted to them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Real
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from grokinterp.figures.arrays import shaped
from grokinterp.figures.style import (
    add_title,
    axis_name,
    legend_beside,
    looks,
    panels,
    styled,
)
from grokinterp.placement import both_names


def eigenvalue_spectrum(
    spectra: Mapping[str, Real[np.ndarray, " eigenvalue"]],
    alpha: Mapping[str, float] | None = None,
    xmin: Mapping[str, float] | None = None,
    *,
    quantity: str = "eigenvalue λ",
    title: str = "",
) -> Figure:
    """Per label the fraction of eigenvalues that are at least λ, on log-log axes, and its fit.

    A power law of exponent α is the line fraction ~ λ^(1 - α), through the data at the smallest
    eigenvalue it was fitted to and up to the largest. Eigenvalues that are not positive count in
    the fraction but have no place on the axes; the legend says how many.

    Args:
        spectra: Descending eigenvalues per label.
        alpha: Fitted exponents; a label without one, or with NaN, gets no line.
        xmin: The smallest eigenvalue of each fit; by default the smallest positive one.
        quantity: What the eigenvalues are of, for the axis.
        title: Above the figure.
    """
    alpha, xmin = alpha or {}, xmin or {}
    for what, given in (("alpha", alpha), ("xmin", xmin)):
        if strangers := [label for label in given if label not in spectra]:
            raise ValueError(
                f"{what} names {', '.join(strangers)}; the spectra are {', '.join(spectra)}"
            )
    with styled():
        figure, grid = panels(height=3.0)
        axes = grid[0, 0]
        axes.set(xscale="log", yscale="log", xlabel=axis_name(quantity, log=True))
        axes.set_ylabel("fraction of eigenvalues ≥ λ (log scale)")
        handles, texts = [], []
        for label, look in looks(spectra).items():
            eigenvalues = _descending(label, spectra[label])
            values = eigenvalues[eigenvalues > 0]
            fraction = np.arange(1, len(values) + 1) / len(eigenvalues)
            [points] = axes.plot(
                values,
                fraction,
                linestyle="none",
                marker=look.marker,
                markersize=3.5,
                markerfacecolor="none",
                markeredgewidth=0.8,
                color=look.color,
            )
            points.set_gid("spectrum")
            drawn: tuple[Line2D, ...] = (points,)
            exponent = alpha.get(label, np.nan)
            text = both_names(label)
            if np.isfinite(exponent) and len(values):
                ends, heights = _power_law(label, values, fraction, exponent, xmin.get(label))
                [line] = axes.plot(
                    ends, heights, color=look.color, linestyle=look.linestyle, linewidth=1.4
                )
                line.set_gid("power law")
                drawn += (line,)
                text += f", α = {exponent:.2f}"
            if missing := len(eigenvalues) - len(values):
                text += f"\n({missing:,} of {len(eigenvalues):,} not positive)"
            handles.append(drawn)
            texts.append(text)
        legend_beside(axes, handles=handles, labels=texts)
        add_title(figure, title)
        return figure


def _descending(label: str, given: np.ndarray) -> np.ndarray:
    eigenvalues = shaped(f"the spectrum of {label!r}", given, "eigenvalue")
    eigenvalues = eigenvalues[~np.isnan(eigenvalues)]
    if np.any(np.diff(eigenvalues) > 0):
        raise ValueError(f"the spectrum of {label!r} must be descending")
    return eigenvalues


def _power_law(
    label: str, values: np.ndarray, fraction: np.ndarray, exponent: float, xmin: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """The line's ends, from the fraction of eigenvalues that are at least xmin."""
    smallest = float(values[-1]) if xmin is None else xmin
    if not 0 < smallest <= values[0]:
        raise ValueError(
            f"xmin of {label!r} must be positive and at most its largest eigenvalue, "
            f"{values[0]:g}; got {smallest:g}"
        )
    ends = np.array([smallest, values[0]])
    start = fraction[values >= smallest][-1]
    return ends, start * (ends / smallest) ** (1 - exponent)
