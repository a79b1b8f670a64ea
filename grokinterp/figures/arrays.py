"""Refusing arrays that a figure cannot draw, with a sentence that says why."""

from __future__ import annotations

from typing import Any

import numpy as np


def shaped(what: str, value: Any, shape: str, **sizes: int) -> np.ndarray:
    """The values as a float array of that shape, such as `epoch freq`; NaN is a missing value.

    >>> shaped("norms", [1, 2], "freq")
    array([1., 2.])
    >>> shaped("norms", [1, 2], "epoch freq", epoch=3)
    Traceback (most recent call last):
    ValueError: norms must have shape [epoch = 3, freq]; got (2,)
    """
    array = np.asarray(value, dtype=float)
    names = shape.split()
    fits = array.ndim == len(names) and all(
        size == sizes.get(name, size) for name, size in zip(names, array.shape, strict=True)
    )
    if not fits or not array.size:
        wanted = [f"{name} = {sizes[name]}" if name in sizes else name for name in names]
        nothing = " with nothing in it" if fits else ""
        raise ValueError(
            f"{what} must have shape [{', '.join(wanted)}]; got {array.shape}{nothing}"
        )
    return array


def ascending(value: Any, what: str = "epochs") -> np.ndarray:
    """Epochs: from 0 up, each after the one before."""
    epochs = shaped(what, value, "epoch")
    if not (epochs[0] >= 0 and np.all(np.diff(epochs) > 0) and np.isfinite(epochs).all()):
        raise ValueError(f"{what} must be 0 or more, each greater than the one before")
    return epochs
