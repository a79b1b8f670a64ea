"""The algorithmic tasks: what the tokens are, what the label is, and which pairs are held out."""

from __future__ import annotations

from collections.abc import Collection

from grokinterp.task.group import GroupTask
from grokinterp.task.modular import BIT_GAMES, OPERATIONS, ModularTask
from grokinterp.task.table import TableTask
from grokinterp.task.task import Split, Task

__all__ = [
    "BIT_GAMES",
    "OPERATIONS",
    "TASKS",
    "GroupTask",
    "ModularTask",
    "Split",
    "TableTask",
    "Task",
    "kind_of",
]

TASKS: dict[str, type[GroupTask] | type[TableTask] | type[ModularTask]] = {
    "group": GroupTask,
    "table": TableTask,
    "p": ModularTask,
}
"""Each kind of task by the field that it alone has."""


def kind_of(fields: Collection[str]) -> type[GroupTask] | type[TableTask] | type[ModularTask]:
    """The kind of task that has these fields.

    >>> kind_of({"group": "S5", "test_fraction": 0.5}).__name__
    'GroupTask'
    """
    return next((kind for field, kind in TASKS.items() if field in fields), ModularTask)
