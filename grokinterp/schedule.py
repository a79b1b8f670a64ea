"""What multiplies the learning rate, or the weight decay, at each epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from grokinterp.checks import integer
from grokinterp.options import parse_call, parse_value

Factor = Callable[[int, int], float]
"""Of an epoch, from 1 up, and of how many there are."""

FORMS = "constant, warmup:EPOCHS, cosine, step:EPOCH=FACTOR, or several of them joined by +"


def schedule_factor(text: str, epoch: int, epochs: int) -> float:
    """What a schedule multiplies by at an epoch: the product of its parts.

    - `constant`: 1.
    - `warmup:n`: rises linearly, epoch/n, to 1 at epoch n.
    - `cosine`: (1 + cos(π (epoch − 1)/epochs))/2, from 1 at the first epoch towards 0.
    - `step:e=f`: f from epoch e on, 1 before.

    >>> schedule_factor("warmup:10 + step:100=0.5", 5, 1000)
    0.5
    >>> [schedule_factor("step:3000=0", epoch, 10_000) for epoch in (2999, 3000)]
    [1.0, 0.0]

    Raises:
        ValueError: The text is none of these.
    """
    return math.prod(factor(epoch, epochs) for factor in _factors(text))


def canonical_schedule(name: str, text: str) -> str:
    """The one spelling of a schedule, by which equal ones are equal.

    >>> canonical_schedule("lr_schedule", "warmup:10+step:1e3=0.50")
    'step:1000=0.5 + warmup:10'

    Raises:
        ValueError: This is no schedule; the message begins with the field's `name`.
    """
    if not isinstance(text, str):
        raise ValueError(f"{name} must be {FORMS}; got {text!r}")
    try:
        parts = [_parsed(part) for part in _parts(text)]
    except ValueError as error:
        raise ValueError(f"{name} must be {FORMS}; {error}") from None
    spelt = sorted(one for part in parts if (one := _spelt(*part)) != "constant")
    return " + ".join(spelt) or "constant"


def _parts(text: str) -> list[str]:
    # Not the + of 1e+3.
    return [part.strip() for part in re.split(r"\+(?=\s*[a-zA-Z])", text)]


def _parsed(text: str) -> tuple[str, tuple[float, ...]]:
    """The name of a part, and its numbers, checked."""
    name, colon, written = parse_call(text)[0], ":" in text, parse_call(text)[1]
    if name not in _PARTS:
        raise ValueError(f"got {text!r}")
    form, check, _ = _PARTS[name]
    numbers = [parse_value(one.strip()) for one in written.split("=")] if colon else []
    if len(numbers) != form.count(":") + form.count("="):
        raise ValueError(f"{name} is written as {form}; got {text!r}")
    return name, check(*numbers)


def _spelt(name: str, numbers: tuple[float, ...]) -> str:
    return name + ":" * bool(numbers) + "=".join(map(_number, numbers))


def _number(value: float) -> str:
    """As short as it can be, with all its digits."""
    return str(int(value)) if value == int(value) else repr(value)


def _factors(text: str) -> list[Factor]:
    parsed = [_parsed(part) for part in _parts(text)]
    return [_PARTS[name][2](*numbers) for name, numbers in parsed]


def _epoch(value: object, name: str) -> int:
    whole = isinstance(value, float) and value.is_integer()
    return integer(name, int(value) if whole else value, 1)  # type: ignore[call-overload]


def _check_warmup(epochs: object) -> tuple[float, ...]:
    return (_epoch(epochs, "warmup's epochs"),)


def _check_step(epoch: object, factor: object) -> tuple[float, ...]:
    first = _epoch(epoch, "step's epoch")
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 <= factor < 1e6:
        raise ValueError(f"step's factor must be a number from 0 to a million; got {factor!r}")
    return first, float(factor)


def _constant() -> Factor:
    return lambda epoch, epochs: 1.0


def _warmup(length: float) -> Factor:
    return lambda epoch, epochs: min(1.0, epoch / length)


def _cosine() -> Factor:
    return lambda epoch, epochs: (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2


def _step(first: float, factor: float) -> Factor:
    return lambda epoch, epochs: factor if epoch >= first else 1.0


_PARTS: dict[str, tuple[str, Callable[..., tuple[float, ...]], Callable[..., Factor]]] = {
    "constant": ("constant", lambda: (), _constant),
    "warmup": ("warmup:EPOCHS", _check_warmup, _warmup),
    "cosine": ("cosine", lambda: (), _cosine),
    "step": ("step:EPOCH=FACTOR", _check_step, _step),
}
"""Of each part: how it is written, what its numbers must be, and the factor that they make."""
