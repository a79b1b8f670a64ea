"""Tables for a terminal, however narrow: as a table where it fits, else a paragraph a row."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Hashable
from textwrap import fill
from typing import Any

import pandas as pd

NOTHING = "–"
HELD = "\u00a0"
"""A space at which no line is broken."""


def width() -> int | None:
    """The columns of the reader's terminal; None where what is printed goes elsewhere."""
    if "COLUMNS" in os.environ or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return None


def show(table: pd.DataFrame, index: bool = False, of: str = "") -> str:
    """The table as text, in lines that fit.

    Args:
        table: Missing values are shown as a dash, and left out of a paragraph.
        index: It names the rows.
        of: What the columns' names are of, for a paragraph.
    """
    table = table.astype(object).where(table.notna(), NOTHING).map(_digits)
    text = table.to_string(index=index)
    limit = width()
    if limit is None or max(map(len, text.splitlines())) <= limit:
        return text
    table = table.rename(columns=lambda name: f"{of}{name}")
    rows = (table.reset_index() if index else table).to_dict("records")
    return "\n".join(_paragraph(row, limit) for row in rows)


def wrapped(text: str) -> str:
    """Text in lines that fit, each with its own indent."""
    limit = width()
    if limit is None:
        return text
    return "\n".join(_filled(line, limit) for line in text.splitlines())


def _filled(line: str, limit: int) -> str:
    if len(line) <= limit:
        return line
    # Deeper than half of a narrow terminal there is no room for words.
    indent = " " * min(len(line) - len(line.lstrip()), limit // 4)
    return fill(
        line.strip(),
        limit,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _digits(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def _paragraph(row: dict[Hashable, Any], limit: int) -> str:
    """What the row holds, by the columns' names; the next row begins further left."""
    cells = [f"{name} {value}" for name, value in row.items() if value != NOTHING]
    # A cell is broken only where it alone is too long for a line.
    cells = [one.replace(" ", HELD) if len(one) < limit - 2 else one for one in cells]
    text = fill(
        ", ".join(cells),
        max(limit, 8),
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return text.replace(HELD, " ")
