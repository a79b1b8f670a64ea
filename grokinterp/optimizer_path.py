"""An optimiser by the import path of its class, as text: `torch.optim.NAdam:momentum_decay=0.01`.

Nothing here imports torch.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from grokinterp.definition import content_of
from grokinterp.options import parse_call, parse_options, parse_value

OURS = ("adamw", "adam", "sgd", "muon")
"""Those whose options are fields of the recipe."""

FIELDS = {
    "params": "what it trains",
    "lr": "the field lr",
    "weight_decay": "the field weight_decay",
}
"""Arguments of an optimiser that the recipe gives."""


def canonical_optimizer(text: str) -> str:
    """The one spelling of an optimiser, by which equal ones are equal.

    That of a class of a user's own is told with its definition, as `my_module.Lion@3f…`.

    >>> canonical_optimizer("torch.optim.Adagrad: lr_decay = 0.10, eps=1e-10")
    'torch.optim.Adagrad:eps=1e-10,lr_decay=0.1'

    Raises:
        ValueError: It is none of OURS and no import path with options, or the class of a user's
            own cannot be imported.
    """
    if text in OURS:
        return text
    if not isinstance(text, str) or "." not in parse_call(text)[0]:
        raise ValueError(
            f"unknown optimizer {text!r}; choose one of {', '.join(OURS)}, or give the import path "
            "of a class and its options, as in torch.optim.NAdam:momentum_decay=0.01"
        )
    path, options = split_optimizer(text)
    if "@" not in path and path.partition(".")[0] != "torch":
        path = f"{path}@{content_of(find_class(path))}"
    written = ",".join(f"{name}={options[name]!r}" for name in sorted(options))
    return f"{path}:{written}" if written else path


def split_optimizer(text: str) -> tuple[str, dict[str, Any]]:
    """The path, its definition with it, and the options."""
    path, written = parse_call(text)
    try:
        options = {name: parse_value(one) for name, one in parse_options(written, ()).items()}
    except ValueError as error:
        raise ValueError(
            f"optimizer {path} takes options by name, as in {path}:option=value; {error} in "
            f"{text!r}"
        ) from None
    for name in options:
        if name in FIELDS:
            raise ValueError(
                f"optimizer {path} must not be given {name}, which is {FIELDS[name]}; got {text!r}"
            )
    return path, options


def find_class(path: str) -> type:
    """The class of an import path; ValueError if it cannot be imported, or is none."""
    path, _, definition = path.partition("@")
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"optimizer {path} cannot be imported: {error}. Give the file that defines it (--load "
            "FILE on the command line, import it in Python), or install its package"
        ) from None
    if not inspect.isclass(found):
        raise ValueError(f"optimizer {path} must be a class; it is {type(found).__name__}")
    if definition and definition != (known := content_of(found)):
        raise ValueError(
            f"the definition of {path} has changed since: the run was trained by another "
            f"({definition}) than {module} has here ({known}); load the file as it was then"
        )
    return found
