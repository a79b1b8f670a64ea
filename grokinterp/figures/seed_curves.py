"""Curves of a label's seeds, and what is drawn of all of them: running medians, a joint grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Real

from grokinterp.figures.arrays import ascending, shaped

Curve = tuple[np.ndarray, np.ndarray]


class Joint(NamedTuple):
    """The seeds' values at the epochs that are known of all of them."""

    epochs: Real[np.ndarray, " epoch"]
    values: Real[np.ndarray, "seed epoch"]
    first_stop: float
    """Where the first seed stops. From there on it counts with its last value."""


def curves_of(label: str, seeds: Sequence[pd.DataFrame | Curve], column: str) -> list[Curve]:
    """The runs of a label, each as ascending epochs and as many values."""
    curves = []
    for seed in seeds:
        if isinstance(seed, pd.DataFrame):
            if missing := {"epoch", column} - set(seed.columns):
                raise ValueError(
                    f"the tables of {label!r} must have the columns epoch and {column}; "
                    f"one lacks {', '.join(sorted(missing))}"
                )
            seed = (seed["epoch"].to_numpy(), seed[column].to_numpy())
        epochs = ascending(seed[0], f"the epochs of {label!r}")
        curves.append(
            (epochs, shaped(f"the values of {label!r}", seed[1], "epoch", epoch=len(epochs)))
        )
    if not curves:
        raise ValueError(f"{label!r} must have at least one run; got none")
    return curves


def joint(seeds: Sequence[Curve]) -> Joint:
    """The seeds together, to the end of the one that ends last.

    An epoch counts where every seed has it or has stopped before; one that has stopped counts with
    its last value.

    >>> joint([(np.array([0, 10, 20]), np.ones(3)), (np.array([0, 10]), np.array([4.0, 5.0]))])
    Joint(epochs=array([ 0, 10, 20]), values=array([[1., 1., 1.],
           [4., 5., 5.]]), first_stop=10.0)
    """
    every = reduce(np.union1d, [epochs for epochs, _ in seeds])
    known = [np.isin(every, epochs) | (every > epochs[-1]) for epochs, _ in seeds]
    shared = every[np.all(known, axis=0)]
    values = [
        values[np.minimum(np.searchsorted(epochs, shared), len(epochs) - 1)]
        for epochs, values in seeds
    ]
    return Joint(shared, np.stack(values), float(min(epochs[-1] for epochs, _ in seeds)))


def running_median(
    epochs: Real[np.ndarray, " epoch"], values: Real[np.ndarray, " epoch"], window: float | int
) -> Float[np.ndarray, " epoch"]:
    """At each epoch the median of the values within half a window before and after it.

    Near an end the window is narrower, and reaches as far before as after. So what only rises or
    only falls stays exactly as it is, and what lasts less than half a window is gone. NaN stays
    NaN, and counts in no other epoch's median.

    Args:
        epochs: Ascending.
        values: As many.
        window: Its whole width, in epochs.

    Examples:
        >>> running_median(np.arange(6), np.array([0, 1, 9, 3, 4, 5]), window=2)
        array([0., 1., 3., 4., 4., 5.])
    """
    reach = np.minimum(window / 2, np.minimum(epochs - epochs[0], epochs[-1] - epochs))
    first = np.searchsorted(epochs, epochs - reach, side="left")
    counts = np.searchsorted(epochs, epochs + reach, side="right") - first
    values = np.asarray(values, dtype=float)
    found = np.full(len(values), np.nan)
    for count in np.unique(counts):
        at = np.flatnonzero((counts == count) & ~np.isnan(values))
        near = values[first[at][:, None] + np.arange(count)]
        # The same where there is no NaN, and many times as fast.
        median = np.nanmedian if np.isnan(near).any() else np.median
        found[at] = median(near, axis=1)
    return found
