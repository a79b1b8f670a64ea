"""What a function or class does, as text that changes when it is edited.

Numbers are kept under the definition that made them. The package's own are told apart by a version,
which is raised by hand when a value changes its meaning; a user's own by a hash of their source,
because nobody raises a version in a notebook cell.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import hashlib
import inspect
import linecache
import pickle
import reprlib
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator
from dis import get_instructions
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

if sys.version_info >= (3, 14):
    import annotationlib

OWN = "grokinterp"
LIBRARIES = tuple(map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")))
PACKAGES = ("site-packages", "dist-packages")
"""Where code lies that nobody edits."""


def definition_of(thing: Callable[..., Any]) -> str:
    """`1`, `2`, … for the package's own (its attribute `version`, or 1); a hash for a user's.

    The hash covers the source, without comments and docstrings, of the function or class, of its
    bases and of whatever of the user's own it names, in this module or another; and the values
    that it finds by name, arrays, tensors and models by their content. Where no source is at hand,
    as in an interactive Python, it covers the bytecode. What code of installed packages or the
    content of a file decides, it does not see.

    A function, class or dataclass has the same in every version of Python, but for what Python
    itself writes otherwise: f-strings, `Optional`, bytecode, named tuples, enums and protocols.

    >>> definition_of(definition_of)
    '1'
    """
    return str(getattr(thing, "version", 1)) if is_own(thing) else content_of(thing)


def content_of(thing: Any) -> str:
    """A hash of what a value is and of all that it names, as `definition_of` covers it."""
    digest = hashlib.sha256()
    for part in _parts(thing, {}):
        digest.update(part.encode())
    return digest.hexdigest()[:16]


def is_own(thing: Any) -> bool:
    """Whether the package defines it."""
    return thing.__module__.partition(".")[0] == OWN


def _is_users(module: str | None) -> bool:
    """Whether what a module of this name defines is a user's, and may be edited."""
    if module is None or module.partition(".")[0] == OWN:
        return False
    if module == "__main__":  # Whatever runs it, as `python -m pdb` does: its file says nothing.
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:  # A notebook's or a prompt's, or built into Python.
        return module not in sys.builtin_module_names
    return not (file.startswith(LIBRARIES) or any(name in Path(file).parts for name in PACKAGES))


def _parts(thing: Any, seen: dict[int, Any]) -> Iterator[str]:
    """What a value says, and then what it names, each once."""
    if _is_plain(thing):
        yield _written(thing)
        return
    if id(thing) in seen:
        yield "seen"
        return
    seen[id(thing)] = thing  # Kept, so that no other gets its id.
    if isinstance(thing, type):
        yield from _parts_of_class(thing, seen)
    elif isinstance(thing, FunctionType):
        yield thing.__qualname__
        if _is_users(thing.__module__):
            yield _source(thing)
            for name, value in _held(thing):
                yield f"{name}="
                yield from _parts(value, seen)
    elif isinstance(thing, ModuleType):
        yield thing.__name__
        if _is_users(thing.__name__) and getattr(thing, "__file__", None) is not None:
            yield inspect.getsource(thing)
    elif isinstance(thing, (list, tuple, set, frozenset)):
        parts = ["".join(_parts(one, seen)) for one in thing]
        yield type(thing).__name__
        yield from sorted(parts) if isinstance(thing, (set, frozenset)) else parts
    elif isinstance(thing, dict):
        yield "dict"
        for key, value in thing.items():
            yield from _parts(key, seen)
            yield from _parts(value, seen)
    elif isinstance(thing, MethodType):
        yield from _parts(thing.__func__, seen)
        yield from _parts(thing.__self__, seen)
    elif isinstance(thing, functools.partial):
        yield from _parts((thing.func, thing.args, thing.keywords), seen)
    else:
        yield from _parts_of_object(thing, seen)


def _parts_of_class(thing: type, seen: dict[int, Any]) -> Iterator[str]:
    yield thing.__qualname__
    if not _is_users(thing.__module__):
        return
    for base in thing.__mro__[1:-1]:
        yield from _parts(base, seen)
    # A dataclass writes methods of its own, which have no source; its fields are here.
    for name, value in sorted(_members(thing).items()):
        function = getattr(value, "fget", None) or getattr(value, "__func__", value)
        if isinstance(function, FunctionType):
            function = _unhooked(function)
            inherited = any(
                _unhooked(vars(base).get(name)) is function for base in thing.__mro__[1:]
            )
            if _has_own_code(function, thing) and not inherited:
                yield name
                yield from _parts(function, seen)
        elif name == "__annotations__":
            yield repr({key: str(kind) for key, kind in value.items()})
        elif name == "__dataclass_fields__":
            for field in value.values():
                if field.default_factory is not dataclasses.MISSING:
                    yield field.name
                    yield from _parts(field.default_factory, seen)
        elif not name.startswith(("__", "_abc_")) and not hasattr(value, "__get__"):
            yield f"{name}="
            yield from _parts(value, seen)


def _members(thing: type) -> dict[str, Any]:
    """What the class holds, and its annotations, where it has any, whichever way Python keeps them:
    from 3.14 on it has a function that makes them."""
    kept = ("__annotations__", "__annotations_cache__", "__annotate__", "__annotate_func__")
    members = {name: value for name, value in vars(thing).items() if name not in kept}
    if annotations := _annotations(thing):
        members["__annotations__"] = annotations
    return members


def _annotations(thing: type) -> dict[str, Any]:
    try:
        return inspect.get_annotations(thing)
    except NameError:  # Of a name that is only there for type checkers.
        if sys.version_info >= (3, 14):
            return inspect.get_annotations(thing, format=annotationlib.Format.STRING)
        raise


def _parts_of_object(thing: Any, seen: dict[int, Any]) -> Iterator[str]:
    """By its class, and its content: of an array its numbers, of a model its tensors."""
    kind = type(thing)
    yield from _parts(kind, seen)
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if torch is not None and isinstance(thing, torch.Tensor):
        yield f"{thing.dtype} {tuple(thing.shape)}"
        # As bytes, because NumPy has no bfloat16.
        flat = thing.detach().cpu().contiguous().flatten().view(torch.uint8)
        yield hashlib.sha256(flat.numpy().tobytes()).hexdigest()
    elif torch is not None and isinstance(thing, torch.nn.Module):
        yield from _parts(dict(thing.state_dict()), seen)
    elif numpy is not None and isinstance(thing, (numpy.ndarray, numpy.generic)):
        yield f"{thing.dtype} {thing.shape}"
        yield hashlib.sha256(thing.tobytes()).hexdigest()
    elif dataclasses.is_dataclass(kind):
        for field in dataclasses.fields(kind):
            yield f"{field.name}="
            yield from _parts(getattr(thing, field.name, None), seen)
    elif _is_users(kind.__module__):
        yield from _parts(dict(getattr(thing, "__dict__", {})), seen)
    else:
        with contextlib.suppress(Exception):  # An open file, say, has no content to tell.
            yield hashlib.sha256(pickle.dumps(thing)).hexdigest()


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


def _unhooked(value: Any) -> Any:
    """What torch.optim wraps in a class when the first object of it is made: its `step`."""
    return value.__wrapped__ if getattr(value, "hooked", None) is True else value


def _has_own_code(function: FunctionType, owner: type) -> bool:
    """Whether it is not one that `dataclass` wrote, which each version of Python does otherwise."""
    if "__dataclass_fields__" not in vars(owner):
        return True
    files = (one.__code__.co_filename for one in (dataclasses.replace, reprlib.recursive_repr))
    return function.__code__.co_filename not in ("<string>", *files)


def _source(function: FunctionType) -> str:
    # Of the code: of a function, the source would be that of what it wraps. And not by
    # inspect.getsource, which looks through all modules for the code's.
    code = function.__code__
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, function.__globals__)
    try:
        block = inspect.getblock(lines[code.co_firstlineno - 1 :])
        tree = ast.parse(textwrap.dedent("".join(block)))
    except SyntaxError:  # A lambda amid other code.
        return _bytecode(code)
    if not tree.body:  # Its source is not kept.
        return _bytecode(code)
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
