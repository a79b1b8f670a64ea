"""A part of a recipe that a user can add to: a small frozen object, stored as JSON by its class's
name and arguments, and written as text.

Interventions, gradient filters and losses are such; each kind has a root class, which lists those
that are defined of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, ClassVar, Self, TypeVar

from grokinterp.definition import definition_of, is_own
from grokinterp.options import parse_call, parse_options, parse_value

PROVENANCE = ("definition", "module")
"""What data may hold beside a class's name and arguments: which definition of it, from where."""

Part = TypeVar("Part", bound="Component")


@dataclass(frozen=True)
class Component:
    """What every kind has in common."""

    noun: ClassVar[str]
    """What sentences call one."""
    article: ClassVar[str] = "a"
    classes: ClassVar[dict[str, type[Any]]]
    """Every class of a kind by name; a subclass enters by being defined."""

    def __init_subclass__(cls, noun: str | None = None, listed: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if noun is not None:
            cls.noun, cls.classes = noun, {}
        elif listed and not cls.__name__.startswith("_"):
            known = cls.classes.get(cls.__name__)
            if known is not None and is_own(known) and not is_own(cls):
                raise ValueError(
                    f"{cls.__name__} is {cls.article} {cls.noun} of grokinterp, by whose name its "
                    "runs are stored; give your own class another"
                )
            cls.classes[cls.__name__] = cls

    def check(self) -> None:
        """ValueError if it would not come back from its data, as a stored run's must."""
        cls = type(self)
        named = f"{cls.article} {cls.noun} is stored by its class's name and its fields, and "
        written = [one for one in cls.__mro__[:-1] if "__dataclass_fields__" not in vars(one)]
        for one in written:
            if "__init__" in vars(one):
                raise ValueError(
                    f"{named}{one.__name__} defines __init__; give it fields in place of that, "
                    "under @dataclass(frozen=True)"
                )
        if taken := [one.name for one in fields(self) if one.name in ("name", *PROVENANCE)]:
            raise ValueError(
                f"{named}{cls.__name__} cannot have a field called {taken[0]}, under which "
                "something else is stored; rename it"
            )
        told = f"{named}those of {cls.__name__} must be numbers, text, flags or tuples of them"
        try:
            data = json.loads(json.dumps(self.to_dict()))
            hash(self)
        except TypeError as error:
            raise ValueError(f"{told}; {error}") from None
        arguments = {key: value for key, value in data.items() if key not in ("name", *PROVENANCE)}
        if (back := _construct(cls, arguments)) != self:
            raise ValueError(f"{told}; {self!r} comes back as {back!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; `from_dict` takes it back.

        Of a class that the package does not define, its definition and its module are told too.
        """
        data = {one.name: getattr(self, one.name) for one in fields(self) if one.init}
        return {"name": type(self).__name__, **_definition(type(self)), **data}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The object of this kind that `to_dict` described.

        Args:
            data: Plain JSON data.

        Raises:
            ValueError: There is no such class, it does not take these arguments, or it was defined
                otherwise when the data were written.
        """
        arguments = {k: value for k, value in data.items() if k not in ("name", *PROVENANCE)}
        name = data.get("name")
        if name not in cls.classes:
            raise ValueError(
                f"unknown {cls.noun} {name!r}; choose one of {', '.join(sorted(cls.classes))}"
            )
        chosen = cls.classes[name]
        known = definition_of(chosen)
        # Written by hand, a user's own needs no definition.
        stored = data.get("definition", "1" if is_own(chosen) else known)
        if stored != known:
            raise ValueError(
                f"the definition of {name} has changed since: what is stored was trained under "
                f"another ({stored or 'not kept'}) than {chosen.__module__} has here ({known}); "
                "load the file as it was then"
            )
        return _construct(chosen, arguments)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The object of its text: a name, then arguments by position or by name.

        The name's case and underscores do not matter.

        Args:
            text: `Name`, `name:value`, `name:value,option=value`.

        Raises:
            ValueError: The message says which names there are, or which arguments this one takes.
        """
        name, written = parse_call(text)
        classes = {_plain(known): one for known, one in cls.classes.items()}
        chosen = classes.get(_plain(name))
        if chosen is None:
            close = [classes[key].__name__ for key in get_close_matches(_plain(name), classes)]
            hint = f"close ones: {', '.join(close)}; all: " if close else "choose one of "
            raise ValueError(f"unknown {cls.noun} {name!r}; {hint}{', '.join(sorted(cls.classes))}")
        positional = [one.name for one in fields(chosen) if one.init and not one.kw_only]
        try:
            options = parse_options(written, positional)
        except ValueError as error:
            raise ValueError(f"{_takes(chosen)}; {error} in {text!r}") from None
        return _construct(chosen, {key: parse_value(value) for key, value in options.items()})


@dataclass(frozen=True)
class Unknown(Component, listed=False):  # type: ignore[call-arg]
    """What a stored config says of a part, and why it is no more than that here.

    Its class is the user's own and has not been loaded, was edited since, or is of a later version:
    the run stays readable, and only using the part fails.
    """

    data: str
    """All that is stored of it, as JSON with sorted keys: what it is compared and hashed by."""
    reason: str = field(compare=False)

    def check(self) -> None:
        """It has come back from its data."""

    def to_dict(self) -> dict[str, Any]:
        """The stored data, so that the run's identity stays what it is."""
        return json.loads(self.data)

    def __repr__(self) -> str:
        return f"{self.to_dict()['name']} (unknown here)"


def stored(root: type[Part], data: Mapping[str, Any], unknown: Callable[[str, str], Part]) -> Part:
    """The part that a stored run has, or else what `unknown` makes of its data and the reason.

    ValueError if these are not a part's data.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("name"), str):
        raise ValueError(f"{root.article} {root.noun} is stored with its name; got {data!r}")
    try:
        return root.from_dict(data)
    except (TypeError, ValueError) as error:
        why = _unloaded(root.noun, data) if data["name"] not in root.classes else str(error)
    return unknown(json.dumps(data, sort_keys=True), why)


def _unloaded(noun: str, data: Mapping[str, Any]) -> str:
    module = data.get("module")
    where = f", which {module} defined," if isinstance(module, str) else ""
    own = isinstance(module, str) and module != "__main__"
    file = f"{str(module).rpartition('.')[2]}.py" if own else "FILE"
    return (
        f"the {noun} {data['name']}{where} is unknown here; give the file that defines it "
        f"(--load {file} on the command line, import it in Python) and read the run again, or "
        "upgrade grokinterp if a later version has it"
    )


def _definition(cls: type[Component]) -> dict[str, str]:
    """What tells it from another class of its name: nothing where that is the package's first."""
    definition = definition_of(cls)
    if is_own(cls):
        return {} if definition == "1" else {"definition": definition}
    return {"definition": definition, "module": cls.__module__}


def _construct(cls: type[Any], arguments: Mapping[str, Any]) -> Any:
    known = {one.name for one in fields(cls) if one.init}
    unknown = [key for key in arguments if key not in known]
    missing = [
        one.name
        for one in fields(cls)
        if one.init
        and one.name not in arguments
        and one.default is MISSING
        and one.default_factory is MISSING
    ]
    if unknown or missing:
        said = f"unknown: {', '.join(unknown)}" if unknown else f"missing: {', '.join(missing)}"
        raise ValueError(f"{_takes(cls)}; {said}")
    return cls(**{key: _hashable(value) for key, value in arguments.items()})


def _hashable(value: Any) -> Any:
    """JSON has lists in place of tuples, which a frozen object must have to be hashed."""
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _takes(cls: type[Any]) -> str:
    takes = [one for one in fields(cls) if one.init]
    own_first = sorted(takes, key=lambda one: one.kw_only is True)
    return f"{cls.__name__} takes {', '.join(one.name for one in own_first) or 'nothing'}"


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()
