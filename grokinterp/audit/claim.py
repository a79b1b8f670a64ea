"""What the paper claims, and how it is judged: by rules that stand in the code.

Each finding is one number for each seed, with the percentile bootstrap's interval of their median.
It is *supported* where the whole interval lies on the claimed side of a threshold, *contradicted*
where all of it lies on the other, and *undecided* otherwise, or with fewer than two seeds. A claim
is supported where all of its findings are, and contradicted where one of them is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from grokinterp.audit.interval import median_interval

Done = list[Any]
"""An experiment's planned runs, each with its run."""
Verdict = Literal["supported", "contradicted", "undecided"]
Convention = Literal["", "paper", "isolated", "shuffled", "per head"]

FEWEST_SEEDS = 2
CLEAR = 0.5
"""A rank correlation beyond this is an order: three of four pairs agree."""

INTERVALS = (
    "Intervals are the percentile bootstrap's of the median over seeds, at 95 %. Up to five seeds "
    "that is the range of the seeds, which holds the median of all possible seeds with a "
    "probability of " + ", ".join(f"{1 - 0.5 ** (n - 1):.0%} ({n})" for n in (2, 3, 4, 5)) + "."
)
WRITTEN = (
    "The rules were written when the runs of seed 456 were known, and of 789 and 111 when "
    "mlp-pre and pre generalised; those of the shuffled convention when its outcome on seed 456 "
    "was known. On 2026-11-25, with two or three seeds known, they were made stricter: a bound is "
    "judged by its farther end, A* <= No LN needs as much as the other orders, trends need three "
    "of four pairs in order, and entropies are compared over the same epochs."
)


class Bounds(NamedTuple):
    """A value that is only known to lie between two, because an event was not seen."""

    low: float
    high: float


Value = float | Bounds


@dataclass(frozen=True)
class Finding:
    """One statistic, its value for each seed, and what it says of the claim."""

    what: str
    values: tuple[Bounds, ...]
    """One for each seed that has it; its two ends are equal where it is known."""
    verdict: Verdict
    rule: str
    """What the interval must do for the claim to be supported."""
    convention: Convention = ""
    published: str = ""

    @property
    def estimate(self) -> Bounds:
        """The median over seeds; NaN where there are none."""
        lows, highs = self._ends()
        return Bounds(float(np.median(lows)), float(np.median(highs)))

    @property
    def interval(self) -> Bounds:
        """Of the median: from that of the lower ends to that of the upper ones."""
        lows, highs = (ends[:, None] for ends in self._ends())
        return Bounds(median_interval(lows)[0].item(), median_interval(highs)[1].item())

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        lows, highs = np.array(self.values or [(np.nan, np.nan)], dtype=float).T
        return lows, highs


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and the statistics of an experiment's runs that test it."""

    name: str
    statement: str
    test: Callable[[Done], list[Finding]]


def above(
    what: str,
    values: Iterable[Value],
    threshold: float = 0.0,
    convention: Convention = "",
    published: str = "",
) -> Finding:
    """The claim that a statistic is larger than a threshold. A NaN is a seed without a value.

    >>> above("ratio", [2.0, 3.0, 2.5], 1.0).verdict
    'supported'
    >>> above("ratio", [Bounds(0.5, float("inf")), 3.0], 1.0).verdict
    'undecided'
    """
    known = tuple(_bounds(value) for value in values if value == value)
    found = Finding(what, known, "undecided", f"> {threshold:g}", convention, published)
    if len(known) < FEWEST_SEEDS:
        return found
    low, high = found.interval
    return replace(found, verdict=_side(low - threshold, high - threshold))


def below(
    what: str,
    values: Iterable[Value],
    threshold: float = 0.0,
    convention: Convention = "",
    published: str = "",
) -> Finding:
    """The claim that a statistic is smaller than a threshold.

    >>> below("trend", [-1.0, -0.5]).verdict
    'supported'
    """
    found = above(what, values, threshold, convention, published)
    opposite: dict[Verdict, Verdict] = {"supported": "contradicted", "contradicted": "supported"}
    verdict = opposite.get(found.verdict, "undecided")
    return replace(found, verdict=verdict, rule=f"< {threshold:g}")


def every(what: str, happened: Sequence[bool | None], published: str = "") -> Finding:
    """The claim that something happens in every seed; None where a seed cannot tell yet.

    Contradicted where it happens in none.

    >>> every("seen", [True, False]).verdict
    'undecided'
    """
    values = tuple(_bounds(Bounds(one is True, one is not False)) for one in happened)
    found = Finding(what, values, "undecided", "in all", "", published)
    if len(values) < FEWEST_SEEDS or len(set(happened)) > 1 or None in happened:
        return found
    return replace(found, verdict="supported" if happened[0] else "contradicted")


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """Of a claim: of all of its findings together."""
    verdicts = {finding.verdict for finding in findings}
    if "contradicted" in verdicts:
        return "contradicted"
    return "supported" if verdicts == {"supported"} else "undecided"


def _bounds(value: Value) -> Bounds:
    low, high = value if isinstance(value, Bounds) else (value, value)
    return Bounds(float(low), float(high))


def _side(low: float, high: float) -> Verdict:
    if low > 0:
        return "supported"
    return "contradicted" if high < 0 else "undecided"
