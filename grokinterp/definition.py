"""What a function or class does, as text that changes when it is edited.

Numbers are kept under the definition that made them. The package's own are told apart by a version,
which is raised by hand when a value changes its meaning; a user's own by a hash of their source,
because nobody raises a version in a notebook cell.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dis import get_instructions
from types import CodeType, FunctionType
from typing import Any

OWN = "grokinterp"


def definition_of(thing: Callable[..., Any]) -> str:
    """`1`, `2`, … for the package's own (its attribute `version`, or 1); a hash for a user's.

    The hash covers the source, without comments and docstrings, of the function or class, of its
    bases and of the functions, classes and plain constants of the same module that it names.
    Where no source is at hand, as in an interactive Python, it covers the bytecode.

    >>> definition_of(definition_of)
    '1'
    """
    if is_own(thing):
        return str(getattr(thing, "version", 1))
    digest = hashlib.sha256()
    for part in _parts(thing, set()):
        digest.update(part.encode())
    return digest.hexdigest()[:16]


def is_own(thing: Any) -> bool:
    """Whether the package defines it."""
    return thing.__module__.partition(".")[0] == OWN


def _parts(thing: Any, seen: set[int]) -> Iterator[str]:
    """What it says, and then what it names, each once."""
    thing = inspect.unwrap(thing) if callable(thing) else thing
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, type):
        yield thing.__qualname__
        for base in thing.__mro__[1:-1]:
            yield base.__qualname__
            if base.__module__ == thing.__module__:
                yield from _parts(base, seen)
        # A dataclass writes methods of its own, which have no source; its fields are here.
        for name, value in sorted(vars(thing).items()):
            function = getattr(value, "fget", None) or getattr(value, "__func__", value)
            if isinstance(function, FunctionType):
                if function.__module__ == thing.__module__ and _has_own_code(function, thing):
                    yield name
                    yield from _parts(function, seen)
            elif name == "__annotations__":
                yield repr({key: str(kind) for key, kind in value.items()})
            elif _is_plain(value) and not name.startswith("__"):
                yield f"{name}={_written(value)}"
    elif isinstance(thing, FunctionType):
        yield _source(thing)
        for name, value in _held(thing):
            if _is_plain(value):
                yield f"{name}={_written(value)}"
            elif getattr(value, "__module__", None) == thing.__module__:
                yield from _parts(value, seen)
    elif callable(thing):  # A partial, or an object with __call__.
        yield repr(getattr(thing, "args", ())) + repr(getattr(thing, "keywords", {}))
        yield from _parts(getattr(thing, "func", type(thing)), seen)


def _held(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """What it reads besides its arguments: defaults, and what it finds by name around it."""
    for i, value in enumerate(function.__defaults__ or ()):
        yield f"default {i}", value
    yield from (function.__kwdefaults__ or {}).items()
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # It was never given a value.
            continue
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield name, function.__globals__[name]


def _has_own_code(function: FunctionType, owner: type) -> bool:
    return function.__code__.co_filename != "<string>" or "__dataclass_fields__" not in vars(owner)


def _source(function: FunctionType) -> str:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # Not kept, or a lambda amid other code.
        return _bytecode(function.__code__)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and (
            ast.get_docstring(node) is not None
        ):
            node.body[:1] = [] if len(node.body) > 1 else [ast.Pass()]
    return ast.unparse(tree)


def _bytecode(code: CodeType) -> str:
    inner = [
        _bytecode(one) if isinstance(one, CodeType) else _written(one) for one in code.co_consts
    ]
    return f"{code.co_code.hex()} {inner} {code.co_names}"


def _names(code: CodeType) -> list[str]:
    """Of the globals that it reads, and not of attributes, which co_names holds too."""
    inner = [name for one in code.co_consts if isinstance(one, CodeType) for name in _names(one)]
    read = (one for one in get_instructions(code) if one.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    return [*dict.fromkeys(str(one.argval) for one in read), *inner]


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list, set, frozenset)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, (*value, *value.values())))
    return value is None or isinstance(value, (bool, int, float, complex, str, bytes))


def _written(value: Any) -> str:
    """Alike in every process, in which sets of text are ordered each in a way of its own."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}{sorted(map(_written, value))}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}{[*map(_written, value)]}"
    if isinstance(value, dict):
        return f"{ {_written(key): _written(one) for key, one in value.items()} }"
    return repr(value)
