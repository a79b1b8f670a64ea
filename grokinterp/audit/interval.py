"""How sure a median over seeds is: the bootstrap's percentile interval, exactly."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from jaxtyping import Float

RANGE_UP_TO = 5
"""Of so few seeds the interval of their median, at 95 %, is the range of the seeds."""


def interval_name(seeds: Collection[int]) -> str:
    """What `median_interval` is, for labels of so many seeds each; those of one have none.

    >>> interval_name([3, 1]), interval_name([6])
    ('range of the seeds', '95 % bootstrap interval of the median')
    """
    if max(seeds) <= RANGE_UP_TO:
        return "range of the seeds"
    name = "95 % bootstrap interval of the median"
    few = any(1 < count <= RANGE_UP_TO for count in seeds)
    return f"{name} (up to {RANGE_UP_TO} seeds: their range)" if few else name


def median_interval(
    values: Float[np.ndarray, "run epoch"], level: float = 0.95
) -> tuple[Float[np.ndarray, " epoch"], Float[np.ndarray, " epoch"]]:
    """The percentile bootstrap's interval of the median over runs, at each epoch.

    Resampled n of n with replacement, the median is one of the values, or the mean of two, with
    known probabilities: the interval is that of infinitely many resamples, and needs no random
    numbers. NaN where a run has no value.

    >>> low, high = median_interval(np.arange(9.0)[:, None])
    >>> float(low[0]), float(high[0])
    (1.0, 7.0)
    """
    runs = len(values)
    lower, upper, chance = _medians(runs)
    ordered = np.sort(values, axis=0)
    medians = (ordered[lower] + ordered[upper]) / 2
    order = np.argsort(medians, axis=0)
    reached = np.cumsum(chance[order], axis=0)
    bounds = []
    for quantile in ((1 - level) / 2, (1 + level) / 2):
        first = np.argmax(reached >= quantile - 1e-12, axis=0)
        bound = np.take_along_axis(medians, np.take_along_axis(order, first[None], 0), 0)[0]
        bounds.append(np.where(np.isnan(values).any(axis=0), np.nan, bound))
    return bounds[0], bounds[1]


def _medians(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which two ordered values (the same one twice where n is odd) are averaged, how probably."""
    from scipy.special import comb
    from scipy.stats import binom

    ranks = np.arange(1, n + 1)
    middle = (n + 1) // 2
    # The middle-th of n draws is at most rank i if at least that many draws are.
    single = np.diff(binom.sf(middle - 1, n, np.arange(n + 1) / n))
    if n % 2:
        return ranks - 1, ranks - 1, single
    # Half of the draws have their maximum at rank i, the others their minimum at rank j > i.
    maximum = (ranks / n) ** middle - ((ranks - 1) / n) ** middle
    joint = np.triu(comb(n, middle) * np.outer(maximum, maximum[::-1]), k=1)
    joint += np.diag(single - joint.sum(axis=1))
    lower, upper = np.triu_indices(n)
    return lower, upper, joint[lower, upper]
