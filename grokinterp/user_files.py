"""A user's own Python files, whose interventions, probes and tasks are known once they have run."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.util import module_from_spec, spec_from_file_location
from os import PathLike
from pathlib import Path
from types import ModuleType

Files = Iterable[str | PathLike[str]]


def load_files(paths: Files) -> None:
    """Import each of these files under its file's name, once in a process.

    ValueError if one is not a Python file, if a module of its name is imported from elsewhere, or
    if it raises.
    """
    for path in paths:
        load_file(path)


def load_file(path: str | PathLike[str]) -> ModuleType:
    """Import a file under its name: `my_module.py` is then `import my_module`."""
    path = Path(path).resolve()
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(f"--load takes Python files that are there; got {path}")
    name = path.stem
    if name in sys.modules:
        found = sys.modules[name]
        if Path(getattr(found, "__file__", None) or "").resolve() != path:
            raise ValueError(
                f"{path} cannot be loaded as {name}, because another module is called so; "
                "rename the file"
            )
        return found
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


class Loaded:
    """Files that a process loads by unpickling this, so before what comes after it."""

    def __init__(self, paths: Files) -> None:
        self.paths = [str(Path(path).resolve()) for path in paths]
        load_files(self.paths)

    def __reduce__(self) -> tuple[type[Loaded], tuple[list[str]]]:
        return type(self), (self.paths,)
