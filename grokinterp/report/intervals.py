"""A finding as a line: a dot for each seed, the interval of their median, the threshold."""

from __future__ import annotations

import math

from grokinterp.audit.claim import Finding

WIDTH, HEIGHT, MARGIN = 120, 22, 6


def interval(finding: Finding) -> str:
    """An SVG; nothing where there is no number to place, or only yes and no."""
    if not finding.values or finding.rule == "in all":
        return ""
    # A rule ends with its threshold: `> 1`.
    threshold = float(finding.rule.split()[-1])
    known = [end for value in finding.values for end in value if math.isfinite(end)]
    low, high = min(*known, threshold), max(*known, threshold)
    span = high - low or 1.0

    def x(value: float) -> str:
        value = min(max(value, low), high)
        return f"{MARGIN + (value - low) / span * (WIDTH - 2 * MARGIN):.1f}"

    middle = HEIGHT / 2
    first, last = finding.interval
    dots = "".join(
        f'<circle class="{"" if v.low == v.high else "bound"}" cx="{x(end)}" cy="{middle}" r="3"/>'
        for v in finding.values
        for end in {*v}
        if math.isfinite(end)
    )
    return (
        f'<svg class="interval" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{len(finding.values)} seeds and the threshold {threshold:g}">'
        f'<line class="threshold" x1="{x(threshold)}" x2="{x(threshold)}" y1="1" '
        f'y2="{HEIGHT - 1}"/><line class="median" x1="{x(first)}" '
        f'x2="{x(last)}" y1="{middle}" y2="{middle}"/>{dots}</svg>'
    )
