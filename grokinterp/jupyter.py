"""What Jupyter shows of objects: a card of HTML, which escapes what it is given."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar

from markupsafe import Markup

T = TypeVar("T")
Rows = Iterable[tuple[str, object]]

WIDTH, HEIGHT, MARGIN = 320, 72, 14
# Okabe and Ito's blue and orange, which stand out on white and on black.
COLOURS = ("#0072B2", "#E69F00")


def in_notebook() -> bool:
    """Whether this runs in a kernel whose reader sees HTML."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def shown(make: Callable[[T], Markup]) -> Callable[[T], str]:
    """A `_repr_html_` that never raises: what keeps it from showing something is a sentence."""

    @wraps(make)
    def html(self: T) -> str:
        try:
            return str(make(self))
        except Exception as error:
            return str(card(type(self).__name__, [("cannot be shown", error)]))

    return html


def card(
    title: object,
    rows: Rows = (),
    picture: Markup | None = None,
    next_steps: Sequence[str] = (),
) -> Markup:
    """A title, a picture, names with their values, and code to go on with.

    >>> "&lt;b&gt;" in card("<b>")
    True
    """
    cells = Markup().join(
        Markup(
            '<tr><th style="text-align: left; font-weight: normal; opacity: .7">{}</th>'
            '<td style="text-align: left">{}</td></tr>'
        ).format(name, value)
        for name, value in rows
    )
    code = Markup().join(Markup("<code>{}</code><br>").format(line) for line in next_steps)
    return Markup(
        '<div style="border-left: 3px solid {}; padding: 0 0 0 .8em; overflow-x: auto">'
        "<b>{}</b>{}{}{}</div>"
    ).format(
        COLOURS[0],
        title,
        Markup("<div>{}</div>").format(picture) if picture else "",
        Markup('<table style="margin: .3em 0">{}</table>').format(cells) if cells else "",
        Markup('<div style="font-size: 90%">{}</div>').format(code) if code else "",
    )


def table(rows: Sequence[Mapping[str, object]]) -> Markup:
    """Rows of the same columns."""

    def line(kind: str, cells: Iterable[object]) -> Markup:
        cell = Markup(f'<{kind} style="text-align: left">{{}}</{kind}>')
        return Markup("<tr>{}</tr>").format(Markup().join(map(cell.format, cells)))

    body = Markup().join(line("td", row.values()) for row in rows)
    return Markup("<table>{}{}</table>").format(line("th", rows[0]) if rows else "", body)


def accuracy_curves(epochs: Sequence[float], curves: Mapping[str, Sequence[float]]) -> Markup:
    """A small SVG of accuracies, from 0 to 1, over epochs; what is missing leaves a gap.

    Args:
        epochs: Ascending.
        curves: A value for each epoch, by name; two at most.
    """
    last = epochs[-1] or 1
    lines = Markup()
    for (name, values), colour in zip(curves.items(), COLOURS, strict=False):
        for stretch in _stretches(epochs, values):
            points = " ".join(
                f"{MARGIN + WIDTH * epoch / last:.1f},{MARGIN + HEIGHT * (1 - value):.1f}"
                for epoch, value in stretch
            )
            lines += Markup(
                '<polyline fill="none" stroke="{}" stroke-width="1.6" points="{}">'
                "<title>{}</title></polyline>"
            ).format(colour, points, name)
    key = Markup("&nbsp; ").join(
        Markup('<tspan fill="{}">━</tspan> {}').format(colour, name)
        for name, colour in zip(curves, COLOURS, strict=False)
    )
    right, bottom = MARGIN + WIDTH, MARGIN + HEIGHT
    return Markup(
        '<svg role="img" aria-label="accuracy over epochs" width="{width}" height="{height}" '
        'style="max-width: 100%; color: inherit">'
        '<g stroke="currentColor" stroke-opacity=".25"><path d="M{left} {top}H{right}"/>'
        '<path d="M{left} {bottom}H{right}"/></g>{lines}'
        '<g font-size="10" fill="currentColor"><text x="{after}" y="{top}">100 %</text>'
        '<text x="{after}" y="{bottom}">0 %</text><text x="{left}" y="{below}">epoch 0</text>'
        '<text x="{right}" y="{below}" text-anchor="end">{last:,}</text>'
        '<text x="{middle}" y="{below}" text-anchor="middle">{key}</text></g></svg>'
    ).format(
        width=right + 44,
        height=bottom + 18,
        left=MARGIN,
        top=MARGIN,
        right=right,
        bottom=bottom,
        after=right + 6,
        below=bottom + 14,
        middle=(MARGIN + right) // 2,
        lines=lines,
        key=key,
        last=int(last),
    )


def _stretches(
    epochs: Sequence[float], values: Sequence[float]
) -> Iterator[list[tuple[float, float]]]:
    """The known points, in stretches without a gap: of each pixel the first, the least, the largest
    and the last, so that no spike is lost."""
    pixel = (epochs[-1] or 1) / WIDTH
    stretch: list[tuple[float, float]] = []
    column: list[tuple[float, float]] = []

    def thinned() -> list[tuple[float, float]]:
        value = [point[1] for point in column]
        kept = {0, value.index(min(value)), value.index(max(value)), len(value) - 1}
        return [column[i] for i in sorted(kept)]

    for point in zip(epochs, values, strict=True):
        missing = not math.isfinite(point[1])
        if column and (missing or int(point[0] / pixel) != int(column[-1][0] / pixel)):
            stretch += thinned()
            column = []
        if not missing:
            column.append(point)
        elif stretch:
            yield stretch
            stretch = []
    if column:
        stretch += thinned()
    if stretch:
        yield stretch


def interval(crossing: Any) -> str:
    """An event between two evaluated epochs, (after, by], or censored."""
    if crossing.by is None:
        return str(crossing)
    return f"in the epochs ({crossing.after:,}, {crossing.by:,}]"
