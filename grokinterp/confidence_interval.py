"""How sure a median over seeds is: exactly, from order statistics (the interval of the sign test).

Whatever the values are distributed like, each seed lies above their median with a probability of
one half. So the k-th least and the k-th largest of n seeds hold it between them with a probability
of 1 - 2 P(Bin(n, 1/2) < k), or more where values are equal. Nothing is resampled or assumed, and
few seeds promise little: 75 % of three, 93.75 % of five.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

import numpy as np
from jaxtyping import Float

LEVEL = 0.95
FEWEST_SEEDS = 6
"""The fewest whose range holds the median with a probability of 95 %."""


@cache
def at_least(successes: int, seeds: int) -> float:
    """P(Bin(seeds, 1/2) ≥ successes): the one-sided P of the sign test.

    >>> at_least(5, 5), at_least(6, 6), at_least(0, 3)
    (0.03125, 0.015625, 1.0)
    """
    from scipy.stats import binom

    return float(binom.sf(successes - 1, seeds, 0.5))


@cache
def rank(seeds: int) -> int:
    """Which least and which largest value the interval lies between: 1 is the range.

    The largest that leaves 95 %; 1 where even the range does not.
    """
    k = 1
    while coverage(seeds, k + 1) >= LEVEL:
        k += 1
    return k


def coverage(seeds: int, k: int | None = None) -> float:
    """The probability with which the interval holds the median: 0 of one seed, or of none.

    >>> [coverage(n) for n in (1, 2, 3, 5, 6)]
    [0.0, 0.5, 0.75, 0.9375, 0.96875]
    """
    if seeds < 2:
        return 0.0
    k = rank(seeds) if k is None else k
    return max(0.0, 1 - 2 * at_least(seeds - k + 1, seeds))


def median_interval(
    values: Float[np.ndarray, "run epoch"],
) -> tuple[Float[np.ndarray, " epoch"], Float[np.ndarray, " epoch"]]:
    """The interval of the median over runs, at each epoch: 95 % or more of six runs and more, and
    the range of fewer. NaN where a run has no value.

    >>> low, high = median_interval(np.arange(9.0)[:, None])
    >>> float(low[0]), float(high[0])
    (1.0, 7.0)
    """
    k = rank(len(values))
    ordered = np.sort(values, axis=0)
    gap = np.isnan(values).any(axis=0)
    return np.where(gap, np.nan, ordered[k - 1]), np.where(gap, np.nan, ordered[-k])


def share_interval(least: int, most: int, seeds: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share, of which between `least` and `most` of the
    seeds are known to be.

    >>> [round(end, 3) for end in share_interval(6, 6, 6)]
    [0.541, 1.0]
    """
    from scipy.stats import beta

    tail = (1 - LEVEL) / 2
    low = beta.ppf(tail, least, seeds - least + 1) if least else 0.0
    high = beta.ppf(1 - tail, most + 1, seeds - most) if most < seeds else 1.0
    return float(low), float(high)


def interval_name(seeds: Collection[int]) -> str:
    """What `median_interval` is, for labels of so many seeds each; those of one have none.

    >>> interval_name([3, 1])
    'range of the seeds (holds the median with 75 %)'
    >>> interval_name([6, 11])
    'interval of the median from order statistics (95 % or more)'
    """
    counts = sorted({count for count in seeds if count > 1})
    name = "interval of the median from order statistics (95 % or more)"
    few = [count for count in counts if count < FEWEST_SEEDS]
    if not few:
        return name
    held = " to ".join(dict.fromkeys(percent(coverage(count)) for count in (few[0], few[-1])))
    of_few = f"range of the seeds (holds the median with {held} %)"
    return of_few if few == counts else f"{name}; of fewer than {FEWEST_SEEDS} seeds the {of_few}"


def percent(share: float) -> str:
    """
    >>> percent(0.75), percent(0.9375), percent(0.96875)
    ('75', '93.8', '96.9')
    """
    return f"{100 * share:.3g}"
