"""Things by name, each imported when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any, Generic, TypeVar

from grokinterp.checks import did_you_mean

T = TypeVar("T")


class Registry(MutableMapping[str, T], Generic[T]):
    """A dictionary whose own entries are imported late; a user's are added as to any.

    The names are known at once, so that a wrong one is told before torch is there.

    Args:
        name: What it is called, for people.
        places: Where each of its entries lies, as `module:attribute`.

    >>> registry = Registry("LIMITS", {"largest": "sys:maxsize"})
    >>> registry["smallest"] = 0
    >>> list(registry), registry["largest"] > registry["smallest"]
    (['largest', 'smallest'], True)
    """

    def __init__(self, name: str, places: Mapping[str, str]) -> None:
        self._name = name
        self._places = dict(places)
        self._found: dict[str, Any] = dict.fromkeys(places, self._places)  # Not looked for yet.

    def __getitem__(self, name: str) -> T:
        if name not in self._found:
            hint = did_you_mean(name, self._found)
            raise KeyError(f"{self._name} has no {name!r}; {hint}it holds {', '.join(self)}")
        found = self._found[name]
        if found is self._places:
            module, _, attribute = self._places[name].partition(":")
            found = self._found[name] = getattr(import_module(module), attribute)
        return found

    def __setitem__(self, name: str, value: T) -> None:
        self._found[name] = value

    def __delitem__(self, name: str) -> None:
        del self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"{self._name}({', '.join(self)})"
