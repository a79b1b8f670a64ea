"""Tables in the page: they scroll inside their own box, so that the page does not."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd


def table(data: pd.DataFrame) -> str:
    """A data frame; ids of runs lead to their rows."""
    numeric = [pd.api.types.is_numeric_dtype(data[name]) for name in data.columns]
    rows = [
        [_cell(str(name), value) for name, value in zip(data.columns, row, strict=True)]
        for row in data.itertuples(index=False)
    ]
    return html_table([escape(str(name)) for name in data.columns], rows, numeric)


def html_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool] = ()
) -> str:
    """A table of cells that are HTML already; numbers stand at the right."""
    kinds = [' class="number"' if n else "" for n in numeric] or [""] * len(head)
    first = "".join(f"<th{kind}>{cell}</th>" for kind, cell in zip(kinds, head, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        '<div class="scroll" tabindex="0"><table>'
        f"<thead><tr>{first}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def folded(summary: str, content: str) -> str:
    """What opens when its name is clicked."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _cell(name: str, value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.4g}"
    if name == "run":
        return f'<a href="#run-{escape(str(value))}">{escape(str(value)[:8])}</a>'
    return escape(str(value))
