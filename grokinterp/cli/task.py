"""The task of a command, of whichever kind its options say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from grokinterp.task import GroupTask, ModularTask, TableTask, Task


@dataclass(frozen=True)
class TaskOptions:
    """What to learn: arithmetic, or a group, or a table.

    Args:
        p: Arithmetic: the modulus, 113 when not given; a and b run from 0 to p - 1.
        operation: Arithmetic: add (when not given), sub, mul, div, a2+b2, a2+ab+b2, a3+ab (mod p),
            or a bit game: shift, xor, and.
        operand: Arithmetic: the operand s of the bit games (a+b) >> s, (a+b) ^ s, (a+b) & s; 1 when
            not given.
        group: In place of arithmetic, composition in a group: S3, S4 or S5 (permutations), or Dn
            (the symmetries of a polygon with n sides), such as D12.
        table: In place of arithmetic, a CSV file of n rows of n answers, integers from 0 to n - 1:
            the answer to (a, b) in row a and column b. No header.
        test_fraction: Share of the pairs held out for test (rounded down).
        train_pairs: An explicit split: these pairs train, in this order; the rest test, in
            row-major order.
        label_noise: Share of the train pairs (rounded) that train on a wrong answer, drawn by
            the seed from all others. The split and every other label stay as they are.
    """

    p: int | None = None
    operation: str | None = None
    operand: int | None = None
    group: str | None = None
    table: Path | None = None
    test_fraction: float = 0.7
    train_pairs: tuple[tuple[int, int], ...] | None = None
    label_noise: float = 0.0

    def chosen(self) -> Task:
        """The task that these options describe.

        Raises:
            ValueError: They are of several kinds of task, or one has a value that it may not have.
            OSError: The table's file cannot be read.
        """
        numbers: dict[str, Any] = {
            "p": self.p,
            "operation": self.operation,
            "operand": self.operand,
        }
        arithmetic = {name: value for name, value in numbers.items() if value is not None}
        kinds = [
            f"--{name}"
            for name in (*arithmetic, "group", "table")
            if getattr(self, name) is not None
        ]
        if len(kinds) > 1 and len(kinds) > len(arithmetic):
            raise ValueError(
                "a task is arithmetic (--p, --operation, --operand), or a --group, or a --table; "
                f"got {' and '.join(kinds)}: give the options of one"
            )
        split: dict[str, Any] = {
            "test_fraction": self.test_fraction,
            "train_pairs": self.train_pairs,
            "label_noise": self.label_noise,
        }
        if self.group is not None:
            return GroupTask(self.group, **split)
        if self.table is not None:
            return replace(TableTask.from_csv(self.table), **split)
        return ModularTask(**arithmetic, **split)
