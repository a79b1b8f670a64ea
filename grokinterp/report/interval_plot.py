"""A finding as a line: a dot for each seed, the interval of their median, what is asked."""

from __future__ import annotations

import math

from markupsafe import Markup

from grokinterp.audit.finding import Finding

WIDTH, HEIGHT, MARGIN = 120, 22, 6


def interval_plot(finding: Finding) -> Markup:
    """An SVG of numbers; nothing where there is none to place, or only yes and no."""
    if not finding.n or finding.estimand.direction == "all":
        return Markup()
    threshold = finding.estimand.bar
    known = [end for value in finding.known.values() for end in value if math.isfinite(end)]
    low, high = min(*known, threshold), max(*known, threshold)
    span = high - low or 1.0

    def x(value: float) -> str:
        value = min(max(value, low), high)
        return f"{MARGIN + (value - low) / span * (WIDTH - 2 * MARGIN):.1f}"

    middle = HEIGHT / 2
    ends = finding.interval
    line = (
        f'<line class="median" x1="{x(ends.low)}" x2="{x(ends.high)}" y1="{middle}" y2="{middle}"/>'
        if ends is not None
        else ""
    )
    dots = "".join(
        f'<circle class="{"" if v.low == v.high else "bound"}" cx="{x(end)}" cy="{middle}" r="3"/>'
        for v in finding.known.values()
        for end in {*v}
        if math.isfinite(end)
    )
    return Markup(
        f'<svg class="interval" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{finding.n} seeds and what the claim asks for, {threshold:g}">'
        f'<line class="threshold" x1="{x(threshold)}" x2="{x(threshold)}" y1="1" '
        f'y2="{HEIGHT - 1}"/>{line}{dots}</svg>'
    )
