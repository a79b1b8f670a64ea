"""The fields of a config, by name."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields

from grokinterp.checks import did_you_mean
from grokinterp.config.run import RunConfig
from grokinterp.task import TASKS


def check_field(name: str, but: Collection[str] = (), also: Collection[str] = ()) -> None:
    """ValueError if a config has no field of this name but these, and it is none of `also`."""
    every = dict.fromkeys([*RunConfig().flat(), *task_fields()])
    known = [*(field for field in every if field not in but), *also]
    if name not in known:
        hint = did_you_mean(name, known).strip() or f"choose one of {', '.join(known)}"
        raise ValueError(f"no config field {name!r}; {hint}")


def task_fields() -> set[str]:
    """Every field that some kind of task has."""
    return {field.name for kind in TASKS.values() for field in fields(kind)}
