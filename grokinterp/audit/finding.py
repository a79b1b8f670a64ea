"""A finding: one number for each seed, and what they say together of a claim.

*Supported* where the 95 % interval of the median lies on the claim's side of the null, and of the
size where the claim asks for one. *Contradicted* where it lies wholly on the other side of the
null: short of the size is no contradiction. *Undecided* otherwise, and always with fewer than six
seeds, whose range does not hold the median with 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from grokinterp.audit.interval import FEWEST_SEEDS, at_least, coverage, median_interval, rank

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
    """The claim that something happens in every seed: it does in half of them by chance."""
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
        """The median over seeds; None of none."""
        if not self.n:
            return None
        lows, highs = self._ends()
        return Bounds(float(np.median(lows)), float(np.median(highs)))

    @property
    def interval(self) -> Bounds | None:
        """Of the median, from order statistics; None of fewer than two seeds."""
        if self.n < 2:
            return None
        lows, highs = (ends[:, None] for ends in self._ends())
        return Bounds(median_interval(lows)[0].item(), median_interval(highs)[1].item())

    @property
    def coverage(self) -> float | None:
        """The probability with which the interval holds the median; None where there is none."""
        return None if self.interval is None else coverage(self.n)

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
        return _verdict(self.estimand.direction, self.n, self.agreeing, self.opposed)

    @property
    def lean(self) -> str | None:
        """What an undecided one points to so far, with the one-sided P; None where to neither."""
        if self.verdict != "undecided":
            return None
        for side, count in (("supported", self.agreeing), ("contradicted", self.opposed)):
            if 2 * count > self.n:
                p = at_least(count, self.n)
                return f"{side}, {count} of {self.n} seeds, P = {p:.2g} one-sided"
        return None

    @property
    def missing(self) -> str | None:
        """What would decide an undecided one; None where it is decided."""
        if self.verdict != "undecided":
            return None
        contradicting = (self.lean or "").startswith("contradicted")
        if self.estimand.direction == "all" and self.opposed and not contradicting:
            return f"nothing supports it any more: not so in {self.opposed} of {self.n} seeds"
        count = 1
        while self._with(count, contradicting) == "undecided":
            count += 1
        further = f"{count} more seed{'s that agree' if count > 1 else ' that agrees'}"
        if not self.n:
            further = f"{count} seeds"
        return f"{further}; not run: {', '.join(self.absent)}" if self.absent else further

    def _with(self, more: int, contradicting: bool) -> Verdict:
        """The verdict, were there so many more seeds on one side."""
        agreeing = self.agreeing + more * (not contradicting)
        opposed = self.opposed + more * contradicting
        return _verdict(self.estimand.direction, self.n + more, agreeing, opposed)

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        lows, highs = np.array([*self.known.values()], dtype=float).T
        return lows, highs


def _verdict(direction: Direction, n: int, agreeing: int, opposed: int) -> Verdict:
    """By counts, which say the same as the interval: it lies beyond a bar where fewer than `rank`
    of the seeds do not."""
    if n < FEWEST_SEEDS:
        return "undecided"
    if (n - agreeing < rank(n)) if direction != "all" else agreeing == n:
        return "supported"
    return "contradicted" if n - opposed < rank(n) else "undecided"


def _bounds(value: Value) -> Bounds:
    low, high = value if isinstance(value, Bounds) else (value, value)
    return Bounds(float(low), float(high))
