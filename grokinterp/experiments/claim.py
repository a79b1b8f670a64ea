"""What the paper claims, and how it is judged: by rules that stand in the code.

They were written when the runs of one seed, 456, were known, and no others.

Each finding is one number for each seed, with the percentile bootstrap's interval of their median:
the range of the seeds, where there are fewer than three. It is *supported* where the whole interval
lies on the claimed side of a threshold, *contradicted* where all of it lies on the other, and
*undecided* otherwise, or with fewer than two seeds. Of a claim that something is not below a
threshold (`not_below`), an interval on both sides is support too. A claim is supported where all
of its findings are, and contradicted where one of them is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from grokinterp.experiments.experiment import Done
from grokinterp.figures.interval import median_interval

Verdict = Literal["supported", "contradicted", "undecided"]
Convention = Literal["", "paper", "isolated", "shuffled"]

FEWEST_SEEDS = 2


class AtLeast(float):
    """A value that is only known to be no smaller: it can support a claim of more, no other."""


class AtMost(float):
    """A value that is only known to be no larger."""


@dataclass(frozen=True)
class Finding:
    """One statistic, its value for each seed, and what it says of the claim."""

    what: str
    values: tuple[float, ...]
    """One for each seed that has it; a bound where an event was not seen."""
    low: float
    high: float
    verdict: Verdict
    rule: str
    """What the interval must do for the claim to be supported."""
    convention: Convention = ""
    published: str = ""

    @property
    def estimate(self) -> float:
        return float(np.median(self.values)) if self.values else float("nan")


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and the statistics of an experiment's runs that test it."""

    name: str
    statement: str
    test: Callable[[Done], list[Finding]]


def above(
    what: str,
    values: Iterable[float],
    threshold: float = 0.0,
    convention: Convention = "",
    published: str = "",
) -> Finding:
    """The claim that a statistic is larger than a threshold. A NaN is a seed without a value.

    >>> above("ratio", [2.0, 3.0, 2.5], 1.0).verdict
    'supported'
    >>> above("ratio", [0.5, 3.0], 1.0).verdict
    'undecided'
    """
    return _judged(what, values, f"> {threshold:g}", threshold, convention, published)


def below(
    what: str,
    values: Iterable[float],
    threshold: float = 0.0,
    convention: Convention = "",
    published: str = "",
) -> Finding:
    """The claim that a statistic is smaller than a threshold.

    >>> below("trend", [-1.0, -0.5]).verdict
    'supported'
    """
    mirrored = _judged(what, map(_mirrored, values), "", -threshold, convention, published)
    low, high = 0.0 - mirrored.high, 0.0 - mirrored.low
    negated = tuple(0.0 - v for v in mirrored.values)
    rule = f"< {threshold:g}"
    return Finding(what, negated, low, high, mirrored.verdict, rule, convention, published)


def not_below(what: str, values: Iterable[float], threshold: float, published: str = "") -> Finding:
    """The claim that a statistic is at least a threshold, as far as the seeds can tell it apart.

    Supported unless the whole interval lies below.

    >>> not_below("ratio", [0.9, 1.2], 1.0).verdict
    'supported'
    """
    found = above(what, values, threshold, published=published)
    verdict = found.verdict
    if verdict == "undecided" and len(found.values) >= FEWEST_SEEDS:
        verdict = "supported"
    rule = f"not below {threshold:g}"
    return Finding(what, found.values, found.low, found.high, verdict, rule, "", published)


def every(what: str, happened: Sequence[bool | None], published: str = "") -> Finding:
    """The claim that something happens in every seed; None where a seed cannot tell yet."""
    values = [float("nan") if one is None else float(one) for one in happened]
    found = above(what, values, 0.5, published=published)
    return Finding(what, found.values, found.low, found.high, found.verdict, "all", "", published)


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """Of a claim: of all of its findings together."""
    verdicts = {finding.verdict for finding in findings}
    if "contradicted" in verdicts:
        return "contradicted"
    return "supported" if verdicts == {"supported"} else "undecided"


def _judged(
    what: str,
    values: Iterable[float],
    rule: str,
    threshold: float,
    convention: Convention,
    published: str,
) -> Finding:
    known = tuple(float(v) for v in values if not np.isnan(v) and _tells(v, threshold))
    low, high = _interval(known)
    verdict: Verdict = "undecided"
    if len(known) >= FEWEST_SEEDS:
        if low > threshold:
            verdict = "supported"
        elif high < threshold:
            verdict = "contradicted"
    return Finding(what, known, low, high, verdict, rule, convention, published)


def _tells(value: float, threshold: float) -> bool:
    """Whether it is known on which side of the threshold a value lies."""
    if isinstance(value, AtLeast):
        return value > threshold
    return not isinstance(value, AtMost) or value < threshold


def _mirrored(value: float) -> float:
    if isinstance(value, AtLeast):
        return AtMost(-value)
    return AtLeast(-value) if isinstance(value, AtMost) else -value


def _interval(values: tuple[float, ...]) -> tuple[float, float]:
    if len(values) < 3:
        return (min(values), max(values)) if values else (float("nan"), float("nan"))
    low, high = median_interval(np.array(values)[:, None])
    return low.item(), high.item()
