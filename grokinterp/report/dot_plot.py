"""The seeds of a finding as dots: a strip for each group of seeds, over one axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from grokinterp.audit.finding import Bounds, Finding
from grokinterp.circuits.document import render

HEIGHT, MIDDLE = 30, 15
EDGE = 4
"""Percent of the width that is left at either end."""

APART = 3.0
"""Percent of the width: dots that are closer stand over one another."""

LANES = (0, -8, 8)


class Axis:
    """Where values lie, in percent of the width; in all strips of one finding."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        estimand = findings[0].estimand
        ends = [end for one in findings for value in one.known.values() for end in value]
        shown = [end for end in ends if math.isfinite(end)] + [estimand.null, estimand.bar]
        self.low, self.high = min(shown), max(shown)

    def x(self, value: float) -> float:
        """An end that is not known is that of the strip."""
        if math.isinf(value):
            return 0.0 if value < 0 else 100.0
        share = (value - self.low) / (self.high - self.low or 1)
        return EDGE + share * (100 - 2 * EDGE)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Round values in it, each with its text."""
        found = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        inside = [value for value in found if self.low <= value <= self.high]
        return [(self.x(value), f"{value:.6g}".replace("-", "−")) for value in inside]


def dot_plot(findings: Sequence[Finding], words: Sequence[str]) -> tuple[list[Markup], Markup]:
    """A strip for each finding, groups of seeds of one estimand, and the axis under them.

    A dot is a seed, open where its value is a bound; the band is the interval of the median, and
    the tick the median. Of a claim about every seed a dot is filled where it is so, and there is
    no axis. A finding without values has no strip.

    Args:
        findings: Of one estimand.
        words: Of each, what it shows, for those who do not see it.
    """
    if findings[0].estimand.direction == "all":
        return [_yes_or_no(*both) for both in zip(findings, words, strict=True)], Markup()
    axis = Axis(findings)
    strips = [_strip(*both, axis) for both in zip(findings, words, strict=True)]
    return strips, render("report/dot_axis.html", ticks=axis.ticks) if any(strips) else Markup()


def _strip(finding: Finding, words: str, axis: Axis) -> Markup:
    placed = {seed: ends for seed, ends in finding.known.items() if any(map(math.isfinite, ends))}
    if not placed:
        return Markup()
    estimand = finding.estimand
    return render(
        "report/dot_strip.html",
        height=HEIGHT,
        middle=MIDDLE,
        group=finding.group,
        words=words,
        bars={axis.x(estimand.null): "null", axis.x(estimand.bar): "bar"},
        interval=finding.interval and (axis.x(finding.interval.low), axis.x(finding.interval.high)),
        # Where a median is known to one side only, there is no tick for the other.
        medians={axis.x(end) for end in finding.estimate or () if math.isfinite(end)},
        seeds=[
            (_text(seed, ends), axis.x(ends.low), axis.x(ends.high), _dots(ends, axis), y)
            for (seed, ends), y in zip(placed.items(), _lanes(placed.values(), axis), strict=True)
        ],
    )


def _yes_or_no(finding: Finding, words: str) -> Markup:
    if not finding.n:
        return Markup()
    said = {Bounds(1, 1): "yes", Bounds(0, 0): "no"}
    ordered = sorted(finding.known.items(), key=lambda one: tuple(one[1]), reverse=True)
    step = min(6, (100 - 2 * EDGE) / len(ordered))
    places = [EDGE + step * i for i in range(len(ordered))]
    return render(
        "report/dot_strip.html",
        height=HEIGHT,
        middle=MIDDLE,
        group=finding.group,
        words=words,
        bars={},
        interval=None,
        medians=(),
        seeds=[
            (f"seed {seed}: {said.get(ends, 'not known')}", x, x, [(x, ends.low == 1)], MIDDLE)
            for (seed, ends), x in zip(ordered, places, strict=True)
        ],
    )


def _dots(ends: Bounds, axis: Axis) -> list[tuple[float, bool]]:
    """Where a seed has a dot, and whether its value is known there."""
    finite = [end for end in dict.fromkeys(ends) if math.isfinite(end)]
    return [(axis.x(end), ends.low == ends.high) for end in finite]


def _lanes(values: Iterable[Bounds], axis: Axis) -> list[int]:
    """A height for each dot, so that those that are close do not hide each other."""
    values = list(values)
    heights = [MIDDLE] * len(values)
    last = [-math.inf] * len(LANES)
    for i in sorted(range(len(values)), key=lambda i: axis.x(values[i].low)):
        x = axis.x(values[i].low)
        lane = next((one for one, end in enumerate(last) if x - end >= APART), 0)
        last[lane] = max(x, axis.x(values[i].high))
        heights[i] = MIDDLE + LANES[lane]
    return heights


def _text(seed: int, ends: Bounds) -> str:
    low, high = ends
    if low == high:
        return f"seed {seed}: {low:.4g}"
    if math.isinf(high):
        return f"seed {seed}: at least {low:.4g}"
    return f"seed {seed}: " + (
        f"at most {high:.4g}" if math.isinf(low) else f"{low:.4g} to {high:.4g}"
    )
