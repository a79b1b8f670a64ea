"""Checks of arguments, wherever they come from: each says what must hold, and what came."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from math import isfinite, nan
from numbers import Real
from operator import index
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    Indices = tuple[int, ...]
else:
    # A field holds a tuple; what it is made from may be any integers: JSON's list, an array, one.
    Indices = Any

T = TypeVar("T")


def check_one_of(name: str, value: object, choices: Sequence[str]) -> None:
    """ValueError names the choices."""
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}; choose one of {', '.join(choices)}")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A question that names the close ones, and a space after it; empty where none is close.

    Examples:
        >>> did_you_mean("norm", ["norms", "ntk"])
        'did you mean norms? '
        >>> did_you_mean("norm", ["ntk"])
        ''
    """
    close = get_close_matches(str(name), known)
    return f"did you mean {' or '.join(close)}? " if close else ""


def check_text(name: str, value: object) -> None:
    """ValueError for what is not a string, such as a hook's name."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a name, as in 'blocks.0.mlp.hook_post'; got {value!r}")


def check_flag(name: str, value: object) -> None:
    """ValueError for what is not a truth value, such as 1."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False; got {value!r}")


def check_kind(name: str, value: object, kind: type, such_as: str) -> None:
    """ValueError for what is no instance of a class."""
    if not isinstance(value, kind):
        raise ValueError(
            f"{name} must be of class {kind.__name__}, such as {such_as}; got {value!r}"
        )


def integer(name: str, value: Any, least: int = 0) -> int:
    """A Python int of at least `least`."""
    # A mask is no index, though torch gives its elements one.
    truth = isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")
    try:
        number = None if truth else index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}")
    return number


def indices(name: str, value: Any, least: int = 0) -> tuple[int, ...]:
    """Distinct integers of at least `least`, ascending, so that equal sets are equal data."""
    if isinstance(value, str):
        raise ValueError(f"{name} must be integers, as in (1, 2, 3); got {value!r}")
    try:
        values = [*value] if hasattr(value, "__iter__") else [value]
    except TypeError:  # A 0-d array has __iter__ and cannot be iterated.
        values = [value]
    numbers = [integer(f"each of {name}", each, least) for each in values]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"{name} must not repeat; got {value!r}")
    return tuple(sorted(numbers))


def several(name: str, value: Any, kind: type[T]) -> list[T]:
    """One thing of a kind, or each of several; ValueError names what is none."""
    try:
        things = [value] if isinstance(value, kind) else [*value]
    except TypeError:
        things = [value]
    for thing in things:
        if not isinstance(thing, kind):
            raise ValueError(f"{name} must be a {kind.__name__}, or several; got {thing!r}")
    return things


def positive(name: str, value: Any) -> float:
    """A finite Python float above 0."""
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else 0.0
    if not 0 < number < float("inf"):
        raise ValueError(f"{name} must be a finite number above 0; got {value!r}")
    return number


def at_least_zero(name: str, value: Any) -> float:
    """A finite Python float of at least 0."""
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else -1.0
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name} must be a finite number of at least 0; got {value!r}")
    return number


def below_one(name: str, value: Any) -> float:
    """A Python float from 0 up to, but not, 1."""
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else -1.0
    if not 0 <= number < 1:
        raise ValueError(f"{name} must be a number in [0, 1); got {value!r}")
    return number


def optional(check: Callable[[str, Any], T]) -> Callable[[str, Any], T | None]:
    """The check of a value that may be None."""

    def checked(name: str, value: Any) -> T | None:
        return None if value is None else check(name, value)

    return checked


def number(name: str, value: Any) -> float:
    """A finite Python float."""
    found = float(value) if isinstance(value, Real) and not isinstance(value, bool) else nan
    if not isfinite(found):
        raise ValueError(f"{name} must be a finite number; got {value!r}")
    return found


def nested_floats(name: str, value: Any) -> Any:
    """Numbers in nested tuples (JSON has lists), or in an array, as floats."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return tuple(nested_floats(name, each) for each in value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} must hold numbers; got {value!r}")
    return float(value)
