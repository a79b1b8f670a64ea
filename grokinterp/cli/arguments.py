"""A command's options, read by tyro; what it refuses, as one line."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from functools import partial, wraps
from typing import Any


class WrongArguments(ValueError):
    """What was given does not fit the command."""


def bound(
    function: Callable[..., None], command: str, options: Sequence[str]
) -> Callable[[], None]:
    """The command with its options, ready to run.

    Args:
        function: The command's.
        command: Its name.
        options: As they stand on the command line.

    Raises:
        WrongArguments: They do not fit.
        SystemExit: Help was asked for, and is printed.
    """
    import tyro

    @wraps(function)
    def later(*arguments: Any, **named: Any) -> Callable[[], None]:
        return partial(function, *arguments, **named)

    def read() -> Any:
        return tyro.cli(
            later,
            prog=f"grokinterp {command}",
            args=options,
            config=(tyro.conf.OmitArgPrefixes,),
        )

    if {"-h", "--help"} & set(options):
        return read()
    box = io.StringIO()
    try:
        with redirect_stderr(box), _wide():
            return read()
    except SystemExit as ended:
        if not ended.code:
            raise
        raise WrongArguments(
            f"{in_a_line(box.getvalue())}; grokinterp {command} --help lists the options"
        ) from None


@contextmanager
def _wide() -> Iterator[None]:
    """No line of tyro's is broken, whatever the terminal's width."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "10000"
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def in_a_line(box: str) -> str:
    """What a box of tyro's says, without its frame and the help that it repeats.

    >>> in_a_line('''
    ... ╭─ Unrecognized options ───────────────╮
    ... │ Unrecognized options: --epocs        │
    ... │ ──────────────────────────────────── │
    ... │ Perhaps you meant:                   │
    ... │     --epochs INT                     │
    ... │         How many epochs to train.    │
    ... │ ──────────────────────────────────── │
    ... │ For full helptext, see … --help      │
    ... ╰──────────────────────────────────────╯''')
    'Unrecognized options: --epocs; Perhaps you meant: --epochs INT'
    """
    rows = [row[2:-1].rstrip() for row in box.splitlines() if row.startswith("│")]
    if not rows:  # Where the terminal's encoding has no such lines, there is no frame.
        rows = [row[2:].rstrip() for row in box.splitlines()[1:]]
    sections: list[list[str]] = [[]]
    for row in rows:
        if re.fullmatch("[─-]+", row.strip()):
            sections.append([])
        elif not row.startswith(" " * 8):  # There, the help of an option that it names.
            sections[-1].append(row.strip())
    said = [_joined(section).rstrip(".") for section in sections]
    said = [text for text in said if not re.match("For full helptext|Argument helptext", text)]
    # A box that this does not know is still told.
    return "; ".join(filter(None, said)) or " ".join(box.split())


def _joined(section: Sequence[str]) -> str:
    text = " ".join(section)
    return re.sub(r"^Error parsing (task|model|recipe): ", "", text)
