"""A finding: one number for each seed, and what they say together of a claim.

*Supported* where the 95 % interval of the median lies on the claim's side of the null, and of the
size where the claim asks for one. *Contradicted* where it lies wholly on the other side of the
null: short of the size is no contradiction. *Undecided* otherwise, and always with fewer than six
seeds, whose range does not hold the median with 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from grokinterp.confidence_interval import (
    FEWEST_SEEDS,
    LEVEL,
    at_least,
    coverage,
    median_interval,
    rank,
    share_interval,
)

Verdict = Literal["supported", "contradicted", "undecided"]
Direction = Literal["above", "below", "all"]
Group = Literal["exploratory", "confirmatory", "all"]
Convention = Literal["", "paper", "isolated", "shuffled", "per head"]


class Bounds(NamedTuple):
    """A value that is only known to lie between two, because an event was not seen."""

    low: float
    high: float


Value = float | Bounds

UNKNOWN = Bounds(-math.inf, math.inf)


@dataclass(frozen=True)
class Estimand:
    """What is measured in each seed, and what the claim says of its median over seeds."""

    what: str
    unit: str
    """Empty for pure numbers."""
    direction: Direction
    """The claim's side of the null; `all`: it happens (1, and not 0) in every seed."""
    null: float
    """Where nothing is there: 0 of a difference or a rank correlation, 1 of a ratio."""
    size: float | None = None
    """How far beyond the null the claim asks for, where it does: twice as early."""
    convention: Convention = ""
    published: str = ""
    """The paper's value, where it has one."""

    @property
    def bar(self) -> float:
        """What a value must be beyond to be as the claim says."""
        return self.null if self.size is None else self.size

    @property
    def asks(self) -> str:
        """In words: `> 1`, `> 1, by size > 2`, `in every seed`."""
        if self.direction == "all":
            return "in every seed"
        sign = ">" if self.direction == "above" else "<"
        size = "" if self.size is None else f", by size {sign} {self.size:g}"
        return f"{sign} {self.null:g}{size}"


def above(
    what: str, null: float, size: float | None = None, unit: str = "", **more: str
) -> Estimand:
    """The claim that a median is larger."""
    return Estimand(what, unit, "above", null, size, **more)  # type: ignore[arg-type]


def below(
    what: str, null: float, size: float | None = None, unit: str = "", **more: str
) -> Estimand:
    """The claim that a median is smaller."""
    return Estimand(what, unit, "below", null, size, **more)  # type: ignore[arg-type]


def in_every_seed(what: str, **more: str) -> Estimand:
    """The claim that something happens in every seed: 1 where it does, and 0 where not.

    It is contradicted where it happens in fewer than half of them, by the interval of the share.
    """
    return Estimand(what, "share of seeds", "all", 0.5, None, **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Finding:
    """The values of some seeds, and the verdict on them."""

    estimand: Estimand
    by_seed: Mapping[int, Value]
    """NaN: a seed without a value, which is left out."""
    group: Group = "all"
    absent: tuple[str, ...] = ()
    """The runs that it lacks, by label."""

    @cached_property
    def known(self) -> dict[int, Bounds]:
        """The values as bounds, which are equal where a value is known."""
        bounds = {seed: _bounds(value) for seed, value in self.by_seed.items()}
        return {seed: ends for seed, ends in bounds.items() if not any(map(math.isnan, ends))}

    @property
    def n(self) -> int:
        return len(self.known)

    @property
    def estimate(self) -> Bounds | None:
        """The median over seeds, or the share of them in which it happens; None of none."""
        if not self.n:
            return None
        average = np.mean if self.estimand.direction == "all" else np.median
        low, high = (float(average(ends)) for ends in self._ends())
        return Bounds(low, high)

    @property
    def interval(self) -> Bounds | None:
        """Of the median, from order statistics, None of fewer than two seeds; of a share, Clopper
        and Pearson's. Either lies beyond the null where the sign test rejects it."""
        if not self.n or (self.n < 2 and self.estimand.direction != "all"):
            return None
        if self.estimand.direction == "all":
            return Bounds(*share_interval(self.agreeing, self.n - self.opposed, self.n))
        lows, highs = (ends[:, None] for ends in self._ends())
        return Bounds(median_interval(lows)[0].item(), median_interval(highs)[1].item())

    @property
    def coverage(self) -> float | None:
        """The probability with which the interval holds the median, or the share, at the least;
        None where there is none."""
        if self.interval is None:
            return None
        return LEVEL if self.estimand.direction == "all" else coverage(self.n)

    @property
    def agreeing(self) -> int:
        """Seeds that are as the claim says, size included, wherever within its bounds each lies."""
        bar = self.estimand.bar
        if self.estimand.direction == "below":
            return sum(high < bar for _, high in self.known.values())
        return sum(low > bar for low, _ in self.known.values())

    @property
    def opposed(self) -> int:
        """Seeds on the other side of the null."""
        null = self.estimand.null
        if self.estimand.direction == "below":
            return sum(low > null for low, _ in self.known.values())
        return sum(high < null for _, high in self.known.values())

    @property
    def short(self) -> bool:
        """Whether most seeds are on the claim's side of the null, and short of the size."""
        first, last = sorted((self.estimand.null, self.estimand.bar))
        between = sum(first < low and high < last for low, high in self.known.values())
        return 2 * between > self.n

    @property
    def p_against(self) -> float:
        """Two-sided P of the sign test for the other side of the null."""
        return min(1.0, 2 * at_least(self.opposed, self.n)) if self.n else 1.0

    @property
    def verdict(self) -> Verdict:
        """By counts, which say the same as the interval: it lies beyond a bar where fewer than
        `rank` of the seeds do not."""
        if self.n < FEWEST_SEEDS:
            return "undecided"
        others = self.n - self.agreeing
        if others < (1 if self.estimand.direction == "all" else rank(self.n)):
            return "supported"
        return "contradicted" if self.n - self.opposed < rank(self.n) else "undecided"

    @property
    def leaning(self) -> Verdict:
        """Supported or contradicted where most seeds are on that side; undecided otherwise."""
        if self.estimand.direction == "all" and self.opposed and 2 * self.opposed <= self.n:
            return "undecided"
        if 2 * self.agreeing > self.n:
            return "supported"
        return "contradicted" if 2 * self.opposed > self.n else "undecided"

    @property
    def lean(self) -> str | None:
        """What an undecided one points to so far, with the one-sided P; None where to neither."""
        side = self.leaning
        if self.verdict != "undecided" or side == "undecided":
            return None
        count = self.agreeing if side == "supported" else self.opposed
        return f"{side}, {count} of {self.n} seeds, P = {at_least(count, self.n):.2g} one-sided"

    @property
    def unknown(self) -> tuple[int, ...]:
        """Seeds that may lie on either side of what is asked, because an event was not seen."""
        bar, direction = self.estimand.bar, self.estimand.direction
        if direction == "all":
            return tuple(seed for seed, ends in self.known.items() if ends.low != ends.high)
        return tuple(seed for seed, (low, high) in self.known.items() if low <= bar <= high != low)

    @property
    def missing(self) -> str | None:
        """What would decide an undecided one, alone; None where it is decided."""
        if self.verdict != "undecided":
            return None
        side = self.leaning
        if self.estimand.direction == "all" and side != "contradicted":
            if self.opposed:
                return f"nothing supports it any more: not so in {self.opposed} of {self.n} seeds"
            if self.unknown:
                return f"not known yet in seeds {', '.join(map(str, self.unknown))}"
        count = 1
        while self.with_more(count, side).verdict == "undecided":
            count += 1
        more = f"{count} more seed{'s' if count > 1 else ''} on that side"
        if side == "undecided":
            more = f"{count} more seed{'s' if count > 1 else ''} that agree{'s' * (count == 1)}"
        if not self.n:
            more = f"{count} seeds"
        return f"{more}; not run: {', '.join(self.absent)}" if self.absent else more

    def with_more(self, count: int, side: Verdict) -> Finding:
        """The same, with so many more seeds beyond the null (contradicted), or else as claimed."""
        estimand = self.estimand
        sign = -1 if estimand.direction == "below" else 1
        value = estimand.bar + sign if side != "contradicted" else estimand.null - sign
        if estimand.direction == "all":
            value = 0.0 if side == "contradicted" else 1.0
        made = {-1 - i: value for i in range(count)}
        return replace(self, by_seed={**self.by_seed, **made})

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        lows, highs = np.array([*self.known.values()], dtype=float).T
        return lows, highs


def _bounds(value: Value) -> Bounds:
    low, high = value if isinstance(value, Bounds) else (value, value)
    return Bounds(float(low), float(high))
