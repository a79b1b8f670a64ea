"""A probe with its options, as text has it: `shortcut:convention=paper,pathway=mlp`.

A name is known, or not, before torch is imported; options are what the probe's function takes.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from grokinterp.definition import definition_of
from grokinterp.hooks.tensors import is_tensor
from grokinterp.options import parse_call, parse_options, parse_value
from grokinterp.probes import PROBES, Values

if TYPE_CHECKING:
    from grokinterp.snapshot import Snapshot

SETS = {
    "cheap": (
        "attention_entropy",
        "compressibility",
        "fourier_concentration",
        "head_similarity",
        "logit_scale",
        "norms",
        "shortcut:split=train",
        "softmax_collapse",
    ),
    "all": tuple(PROBES),
}
"""Names for several probes: `cheap` is what training hardly notices every 100 epochs."""


OWN_FILE = (
    "One of your own becomes known by the file that registers it (--load FILE on the command "
    "line, import it in Python)"
)


@dataclass(frozen=True)
class ProbeCall:
    """A probe with its options, as `shortcut:convention=paper,pathway=mlp` writes it."""

    name: str
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, text: str) -> ProbeCall:
        """ValueError if there is no such probe, or it has no such option or value.

        >>> str(ProbeCall.parse("shortcut:shuffle_norm,pathway=v"))
        'shortcut:kind=shuffle_norm,pathway=v'
        """
        name, written = parse_call(text)
        if name not in PROBES:
            every = [*PROBES, *SETS]
            close = [one for one in every if name and name in one] or get_close_matches(name, every)
            hint = f"did you mean {' or '.join(close)}?" if close else f"choose one of {_names()}."
            raise ValueError(f"unknown probe {name!r}; {hint} {OWN_FILE}")
        known = _options(name)
        try:
            options = parse_options(written, known)
        except ValueError as error:
            raise ValueError(f"{name} {_takes(known)}; {error} in {text!r}") from None
        options = {option: _checked(name, known, option, v) for option, v in options.items()}
        return cls(name, dict(sorted(options.items())))

    def __str__(self) -> str:
        options = ",".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.name}:{options}" if options else self.name

    @property
    def definition(self) -> str:
        """What the probe does now; see grokinterp.definition."""
        return definition_of(PROBES[self.name])

    def __call__(self, snapshot: Snapshot) -> Values:
        return _values(str(self), PROBES[self.name](snapshot, **self.options))


def expand(names: Iterable[str]) -> tuple[ProbeCall, ...]:
    """The probes that these names and set names (`cheap`, `all`) mean, each once."""
    written = [one for name in names for one in SETS.get(name, (name,))]
    return tuple({str(probing): probing for probing in map(ProbeCall.parse, written)}.values())


def is_current(probe: str, definition: str) -> bool:
    """Whether values that a probe gave under a definition are what it gives now.

    They stand where there is no probe of this name: there is nothing that they could be taken for.
    """
    function = PROBES.get(parse_call(probe)[0])
    return function is None or definition_of(function) == definition


def _values(probe: str, given: Any) -> Values:
    """What a probe gave, as floats and arrays; ValueError names it and what is neither."""
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ValueError(
            f"{probe} must give a dictionary of values by name; it gave {type(given).__name__}"
        )
    return {name: _value(f"{name!r} of {probe}", value) for name, value in given.items()}


def _value(what: str, value: Any) -> float | np.ndarray:
    must = f"{what} must be a number, or a numpy array of numbers"
    if is_tensor(value):
        if value.ndim:
            raise ValueError(
                f"{must}; it is a tensor of shape {[*value.shape]}, so give its "
                ".detach().cpu().numpy()"
            )
        value = value.item()
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind not in "fiub":
            raise ValueError(f"{must}; it is an array of {value.dtype}")
        return float(value) if value.ndim == 0 else np.asarray(value)
    if not isinstance(value, Real):
        raise ValueError(f"{must}; it is {value!r}, of type {type(value).__name__}")
    return float(value)


# Kept, because every plan of an experiment asks again.
_annotations = cache(get_type_hints)


def _names() -> str:
    return ", ".join([*PROBES, *SETS])


def _options(probe: str) -> list[str]:
    parameters = inspect.signature(PROBES[probe]).parameters
    return [name for name in parameters if name != "snapshot"]


def _takes(options: list[str]) -> str:
    return f"takes {', '.join(options)}" if options else "takes no options"


def _checked(probe: str, known: list[str], option: str, written: str) -> Any:
    """An option's value, if it is one that is known of the probe, and may be this."""
    function: Callable[..., Values] = PROBES[probe]
    if option not in known:
        raise ValueError(f"{probe} has no option {option!r}; it {_takes(known)}")
    value = parse_value(written)
    if option not in _annotations(function):
        raise ValueError(f"{option} of {probe} has no type; annotate it where the probe is defined")
    annotation = _annotations(function)[option]
    # A choice may be called as a word that is also a value, such as none.
    for one in (value, written):
        if _fits(one, annotation):
            return one
    if get_origin(annotation) is Literal:
        raise ValueError(f"unknown {option} {value!r} of {probe}; choose {_described(annotation)}")
    raise ValueError(f"{option} of {probe} must be {_described(annotation)}; got {written!r}")


def _described(annotation: Any) -> str:
    """An option's type, for a person."""
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(map(str, get_args(annotation)))}"
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(map(_described, get_args(annotation)))
    if annotation is type(None):
        return "None"
    return str(annotation) if get_origin(annotation) else annotation.__name__


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a value from text is of an option's type."""
    origin = get_origin(annotation)
    if origin is Literal:
        return value in get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in get_args(annotation))
    if origin is tuple:
        of = get_args(annotation)[0]
        return isinstance(value, tuple) and all(_fits(one, of) for one in value)
    if isinstance(value, bool):
        return annotation is bool
    return isinstance(value, (int, float) if annotation is float else annotation)
