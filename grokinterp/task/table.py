"""Any binary operation, as the table of its answers."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from grokinterp.checks import integer
from grokinterp.task.task import Pair, Task


class Table(tuple[tuple[int, ...], ...]):
    """Rows of answers, shown as their size and a digest of what they hold."""

    @property
    def digest(self) -> str:
        """Eight digits that tell it from other tables."""
        return hashlib.sha256(json.dumps(self).encode()).hexdigest()[:8]

    def __repr__(self) -> str:
        return f"<{len(self)} × {len(self)} table {self.digest}>"


@dataclass(frozen=True)
class TableTask(Task):
    """Predict the entry of a table in row a and column b.

    Elements are the tokens 0 to n - 1, as operands and as answers. The table itself is part of a
    run's identity and of its config: where it came from is not.

    Args:
        table: n rows of n answers each, integers from 0 to n - 1; n is at least 2.
        test_fraction: Share of the pairs held out for test (rounded down).
        train_pairs: An explicit split: these pairs train, in this order; the rest test, in
            row-major order.
        label_noise: Share of the train pairs (rounded) that train on a wrong answer, drawn by
            the seed from all others. The split and every other label stay as they are.

    Raises:
        ValueError: The table is not that, or the split is none; the message says where.

    Examples:
        >>> TableTask.from_function(max, 5).label(2, 4)
        4
        >>> TableTask(((0, 1), (1, 0))).table
        <2 × 2 table c1b92cfd>
    """

    table: Sequence[Sequence[int]]
    test_fraction: float = 0.7
    train_pairs: tuple[Pair, ...] | None = None
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", _checked(self.table))
        self._check_split()

    @classmethod
    def from_function(
        cls,
        function: Callable[[int, int], int],
        n: int,
        test_fraction: float = 0.7,
        train_pairs: tuple[Pair, ...] | None = None,
    ) -> TableTask:
        """The task of a function of two elements.

        Args:
            function: Of a and b, each from 0 to n - 1, to such a number. It is called once for each
                pair, and not kept.
            n: How many elements there are.
            test_fraction: As of the class.
            train_pairs: As of the class.
        """
        n = integer("n", n, 2)
        table = [[function(a, b) for b in range(n)] for a in range(n)]
        return cls(table, test_fraction, train_pairs)

    @classmethod
    def from_csv(
        cls,
        path: str | PathLike[str],
        test_fraction: float = 0.7,
        train_pairs: tuple[Pair, ...] | None = None,
    ) -> TableTask:
        """The task of a table in a file: a line for each a, with the answers to each b, no header.

        Args:
            path: A file of comma-separated integers.
            test_fraction: As of the class.
            train_pairs: As of the class.

        Raises:
            ValueError: It holds something else.
            OSError: It cannot be read.
        """
        with open(path, encoding="utf-8-sig", newline="") as file:
            try:
                rows = [row for row in csv.reader(file) if any(map(str.strip, row))]
            except (csv.Error, UnicodeDecodeError) as error:
                raise ValueError(f"{path} must be a CSV file of integers; {error}") from None
        try:
            return cls(
                [[_number(cell) for cell in row] for row in rows], test_fraction, train_pairs
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def __str__(self) -> str:
        return f"table {self._table.digest} (n = {self.n_elements})"

    @property
    def _table(self) -> Table:
        assert isinstance(self.table, Table)
        return self.table

    @property
    def n_elements(self) -> int:
        """How many rows the table has."""
        return len(self.table)

    def label(self, a: int, b: int) -> int:
        """The answer to one pair."""
        return self.table[a][b]


def _number(cell: str) -> Any:
    """A cell's integer, or the cell as it stands, for `_checked` to name."""
    text = cell.strip()
    return int(text) if text.isascii() and text.lstrip("-").isdigit() else cell


def _checked(table: Any) -> Table:
    """The same in plain integers; ValueError names the first thing that is wrong."""
    rows = [_listed(row) for row in _listed(table)]
    n = len(rows)
    if n < 2:
        raise ValueError(f"table must have at least 2 rows, a row for each element; got {n}")
    widths = [len(row) for row in rows]
    if len(set(widths)) == 1 and widths[0] != n:
        raise ValueError(
            f"table must be square, with a row and a column for each element; got {n} rows of "
            f"{widths[0]}"
        )
    for a, width in enumerate(widths):
        if width != n:
            raise ValueError(
                f"each row of the table must have {n} answers, as there are {n} rows; row {a} has "
                f"{width} (rows are counted from 0)"
            )
    return Table(
        tuple(_entry(value, a, b, n) for b, value in enumerate(row)) for a, row in enumerate(rows)
    )


def _entry(value: Any, a: int, b: int, n: int) -> int:
    try:
        number = integer("an answer", value)
    except ValueError:
        number = n
    if number >= n:
        raise ValueError(
            f"table must hold the elements 0 to {n - 1} of its {n} rows; got {value!r} in row {a}, "
            f"column {b} (counted from 0)"
        )
    return number


def _listed(rows: Any) -> list[Any]:
    """What is iterated, an array or a tensor as its Python numbers."""
    if hasattr(rows, "tolist"):
        rows = rows.tolist()
    if isinstance(rows, (str, bytes)) or not isinstance(rows, Iterable):
        raise ValueError(
            "table must be rows of integers, as in ((0, 1), (1, 0)), or TableTask.from_csv(path) "
            f"and TableTask.from_function(function, n); got {rows!r}"
        )
    return list(rows)
