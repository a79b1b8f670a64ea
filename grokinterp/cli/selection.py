"""Which runs a command is about, and what makes them known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from grokinterp.config.field_names import check_field
from grokinterp.options import parse_field, parse_value

if TYPE_CHECKING:
    from grokinterp.store.run import Run

STORE = "runs"

Load = Annotated[
    tuple[Path, ...],
    tyro.conf.arg(
        help="Python files of your own to import first: they define interventions, probes or "
        "operations that runs name."
    ),
]
"""`main` imports them, before it reads the other options: an operation may be of such a file."""


def select(store: Path, **filters: Any) -> list[Run]:
    """The runs of a store that fit; a line on stderr for each that cannot be read, and why."""
    from grokinterp.store.store import open_store

    opened = open_store(store)
    say_left_out(opened.problems(**filters))
    return opened.select(**filters)


def say_left_out(problems: Mapping[str, str]) -> None:
    """A line on stderr for each folder of a run that cannot be read, and why."""
    from grokinterp.store.progress import say

    for folder, problem in problems.items():
        say(f"{folder} is left out: {problem}")


def condition(text: str) -> tuple[str, Any]:
    """`seed=456` as ("seed", 456)."""
    name, written = parse_field(text, "--where takes field=value, such as placement=mlp-pre")
    check_field(name, also=("id",))
    return name, parse_value(written)
