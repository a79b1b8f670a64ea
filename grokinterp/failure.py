"""Why something failed: a sentence that was written for the person, or a bug, with its place."""

from __future__ import annotations

import dis
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

OWN = "grokinterp"


@dataclass(frozen=True)
class Failure:
    """What to tell of an exception."""

    reason: str
    """The sentence; or the error's type, its text, and the place in the code at fault."""
    traceback: str = ""
    """Of a bug."""


def failure_of(error: Exception, module: str = OWN) -> Failure:
    """Of an exception in code of this module (default: grokinterp's), or in what it calls.

    A sentence is what a `raise` of grokinterp's or of the module itself says, by a ValueError or
    an exception of grokinterp's own. All else is a bug: so is a ValueError of numpy or torch, which
    were called with what they cannot take.
    """
    places = list(_places(error))
    at_fault = [place for place in places if _is_of(place, module)]
    meant = isinstance(error, ValueError) or type(error).__module__.partition(".")[0] == OWN
    if meant and places[-1:] == at_fault[-1:] and _is_raise(places[-1]):
        return Failure(str(error))
    where = ""
    if at_fault:
        code = at_fault[-1].tb_frame.f_code
        file, line = Path(code.co_filename).name, at_fault[-1].tb_lineno
        where = f" ({file}, line {line}, in {code.co_name})"
    return Failure(
        f"it failed with {type(error).__name__}: {error}{where}",
        "".join(traceback.format_exception(error)),
    )


def _places(error: Exception) -> Iterator[TracebackType]:
    """From where it was caught to where it was raised."""
    place = error.__traceback__
    while place is not None:
        yield place
        place = place.tb_next


def _is_of(place: TracebackType, module: str) -> bool:
    name = place.tb_frame.f_globals.get("__name__", "")
    return name == module or name.partition(".")[0] == OWN


def _is_raise(place: TracebackType) -> bool:
    """Whether a `raise` raised it there, and not a call into compiled code, which has no frame."""
    return dis.opname[place.tb_frame.f_code.co_code[place.tb_lasti]] == "RAISE_VARARGS"
