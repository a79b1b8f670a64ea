"""Tables in the page: the text of each cell."""

from __future__ import annotations

from collections.abc import Container, Sequence

import pandas as pd
from markupsafe import Markup

from grokinterp.circuits.document import render


def table(data: pd.DataFrame) -> Markup:
    """A data frame; ids of runs lead to their rows."""
    columns = [str(name) for name in data.columns]
    numeric = [name for name in columns if pd.api.types.is_numeric_dtype(data[name])]
    rows = [[_text(value) for value in row] for row in data.itertuples(index=False)]
    return text_table(columns, rows, numeric)


def text_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Container[str] = ()
) -> Markup:
    """A table of text; the numeric columns stand at the right."""
    return render("report/table.html", columns=columns, rows=rows, numeric=numeric)


def _text(value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.4g}"
    return str(value)
