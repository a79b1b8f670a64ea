"""What multiplies the learning rate, or the weight decay, at each epoch."""

from __future__ import annotations

import math
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


def check_schedule(name: str, text: str) -> None:
    """ValueError if this is no schedule."""
    if not isinstance(text, str):
        raise ValueError(f"{name} must be {FORMS}; got {text!r}")
    try:
        _factors(text)
    except ValueError as error:
        raise ValueError(f"{name} must be {FORMS}; {error}") from None


def _factors(text: str) -> list[Factor]:
    return [_factor(part.strip()) for part in text.split("+")]


def _factor(text: str) -> Factor:
    name, written = parse_call(text)
    if name not in _PARTS:
        raise ValueError(f"got {text!r}")
    form, make = _PARTS[name]
    try:
        return make(*(parse_value(one) for one in written.split("=") if one.strip()))
    except TypeError:
        raise ValueError(f"{name} is written as {form}; got {text!r}") from None


def _constant() -> Factor:
    return lambda epoch, epochs: 1.0


def _warmup(epochs: int) -> Factor:
    length = integer("warmup's epochs", epochs, 1)
    return lambda epoch, _: min(1.0, epoch / length)


def _cosine() -> Factor:
    return lambda epoch, epochs: (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2


def _step(epoch: int, factor: float) -> Factor:
    first = integer("step's epoch", epoch, 1)
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 <= factor < 1e6:
        raise ValueError(f"step's factor must be a number from 0 to a million; got {factor!r}")
    return lambda at, _: float(factor) if at >= first else 1.0


_PARTS: dict[str, tuple[str, Callable[..., Factor]]] = {
    "constant": ("constant", _constant),
    "warmup": ("warmup:EPOCHS", _warmup),
    "cosine": ("cosine", _cosine),
    "step": ("step:EPOCH=FACTOR", _step),
}
