"""Ours against the paper: its own statistic of five seeds, over the sets of five of our seeds.

The paper reports epochs of the mean curve of five seeds, and of the best of five. One draw of five
seeds is one number, so ours is the distribution of that number over all sets of five, drawn with
replacement from our seeds: every such set once, with its probability, and no random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
from jaxtyping import Float

from grokinterp.confidence_interval import LEVEL
from grokinterp.grokking import GENERALISED_ACCURACY
from grokinterp.store.lead_times import CLOSE

SEEDS = 5
"""Of the paper."""
# Sets whose mean curves are held at once.
CHUNK = 2000

Weights = Float[np.ndarray, "draw seed"]
Curves = Float[np.ndarray, "seed epoch"]
Statistic = Callable[[Weights, Curves], Float[np.ndarray, " draw"]]
"""Of each draw of seeds, the index of an epoch; infinite where the event is not seen."""


@dataclass(frozen=True)
class Comparison:
    """A statistic of the paper, and what sets of five of our seeds give for it."""

    claim: str
    what: str
    published: int
    seeds: int
    """Ours."""
    estimate: float | None = None
    """The median over the sets; infinite: not seen. None of fewer than five seeds."""
    interval: tuple[float, float] | None = None
    """That holds 95 % of the sets."""

    @property
    def inside(self) -> bool | None:
        """Whether the paper's number lies in the interval; None where there is none."""
        if self.interval is None:
            return None
        return self.interval[0] <= self.published <= self.interval[1]

    @property
    def seen(self) -> bool | None:
        """Whether the event is seen in the median set; None where there is no estimate."""
        return None if self.estimate is None else math.isfinite(self.estimate)

    def __str__(self) -> str:
        said = f"{self.what}: paper {self.published:,.0f}"
        if self.estimate is None or self.interval is None:
            return f"{said}; ours has {self.seeds} of the {SEEDS} seeds of such a set"
        low, high = map(_epoch, self.interval)
        inside = "inside" if self.inside else "outside"
        return (
            f"{said}, {inside} 95 % of our sets of {SEEDS}, {low} to {high} (median "
            f"{_epoch(self.estimate)}, drawn with replacement from {self.seeds} seeds)"
        )


def compare(
    claim: str, what: str, published: int, curves: Sequence[pd.Series], statistic: Statistic
) -> Comparison:
    """The paper's number beside the distribution of the statistic.

    Args:
        claim: The claim that it belongs to.
        what: What the number is.
        published: The paper's.
        curves: A value by epoch for each of our seeds; those that ended early are left out, for
            their mean curve is not known beyond.
        statistic: Of the curves of a set.
    """
    end = max((curve.index[-1] for curve in curves if len(curve)), default=0)
    whole = [curve for curve in curves if len(curve) and curve.index[-1] == end]
    if len(whole) < SEEDS:
        return Comparison(claim, what, published, len(whole))
    table = pd.concat(whole, axis=1).dropna()
    weights, chance = sets_of(len(whole))
    places = np.concatenate(
        [
            statistic(weights[first : first + CHUNK], table.to_numpy().T)
            for first in range(0, len(weights), CHUNK)
        ]
    )
    seen = np.isfinite(places)
    epochs = np.full(len(places), np.inf)
    epochs[seen] = table.index.to_numpy()[places[seen].astype(int)]
    low, median, high = (
        quantile(epochs, chance, q) for q in ((1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2)
    )
    return Comparison(claim, what, published, len(whole), median, (low, high))


def of_mean(reached: Callable[[np.ndarray], np.ndarray]) -> Statistic:
    """When the mean curve of a set reaches something: [draw, epoch] of truths."""
    return lambda weights, curves: _first(reached(weights @ curves / SEEDS))


def of_best(threshold: float) -> Statistic:
    """When the first seed of a set reaches a value."""

    def best(weights: Weights, curves: Curves) -> Float[np.ndarray, " draw"]:
        each = _first(curves >= threshold)
        return np.where(weights > 0, each, np.inf).min(axis=1)

    return best


def accurate(mean: np.ndarray) -> np.ndarray:
    """Where a mean test accuracy counts as general."""
    return mean >= GENERALISED_ACCURACY


def near_minimum(mean: np.ndarray) -> np.ndarray:
    """Where a mean curve is within 10 % of the minimum of what follows its maximum."""
    after = np.arange(mean.shape[1]) >= mean.argmax(axis=1)[:, None]
    least = np.where(after, mean, np.inf).min(axis=1, keepdims=True)
    return after & (np.abs(mean - least) <= CLOSE * np.abs(least))


def sets_of(seeds: int) -> tuple[Weights, Float[np.ndarray, " draw"]]:
    """How often each of our seeds is in each set of five, and the set's probability."""
    drawn = np.array([*combinations_with_replacement(range(seeds), SEEDS)])
    weights = np.stack([np.bincount(one, minlength=seeds) for one in drawn])
    factorials = np.array([math.factorial(i) for i in range(SEEDS + 1)])
    ways = math.factorial(SEEDS) / factorials[weights].prod(axis=1)
    return weights.astype(float), ways / seeds**SEEDS


def quantile(values: np.ndarray, chance: np.ndarray, q: float) -> float:
    """The least value that is not exceeded with a probability of q."""
    order = np.argsort(values)
    return float(values[order][np.searchsorted(np.cumsum(chance[order]), q - 1e-12)])


def _first(reached: np.ndarray) -> np.ndarray:
    """Of each row, the first place that is true; infinite where none is."""
    return np.where(reached.any(axis=1), reached.argmax(axis=1), np.inf)


def _epoch(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else "not seen"
