"""Cross products of config fields: what a sweep varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from typing import Any

from grokinterp.config import RunConfig
from grokinterp.config.field_names import check_field, task_fields
from grokinterp.config.train import MOMENTUM
from grokinterp.options import parse_field, parse_value, split_at_commas


def grid(base: RunConfig, axes: Mapping[str, Sequence[Any]]) -> list[RunConfig]:
    """A config for every combination of these values, the last field varying fastest.

    `d_mlp` follows `d_model` where it is four times that, and `momentum` the optimiser where it is
    what that has when none is given.

    >>> [c.seed for c in grid(RunConfig(), {"lr": (1e-3, 3e-3), "seed": (1, 2)})]
    [1, 2, 1, 2]

    Raises:
        ValueError: A field is unknown or cannot be varied, or a value is not valid.
    """
    for name in axes:
        _check_field(name)
    configs = [
        _changed(base, dict(zip(axes, values, strict=True))) for values in product(*axes.values())
    ]
    return list(dict.fromkeys(configs))


def parse_axis(text: str) -> tuple[str, tuple[Any, ...]]:
    """A field and its values, from text.

    >>> parse_axis("lr=0.001,3e-3")
    ('lr', (0.001, 0.003))
    >>> parse_axis("betas=(0.9,0.98),(0.9,0.99)")
    ('betas', ((0.9, 0.98), (0.9, 0.99)))
    """
    name, values = parse_field(text, "--vary takes field=value,value,… such as lr=0.001,0.003")
    _check_field(name)
    return name, tuple(parse_value(part.strip()) for part in split_at_commas(values))


def _check_field(name: str) -> None:
    if name == "interventions":
        raise ValueError("interventions cannot be varied; sweep once for each, with --intervene")
    check_field(name, but=("start", "interventions"))


def _changed(base: RunConfig, values: dict[str, Any]) -> RunConfig:
    """All at once, because one change alone may not be valid."""
    if base.model.d_mlp == 4 * base.model.d_model:
        values = {"d_mlp": None, **values}
    if base.train.momentum == MOMENTUM.get(base.train.optimizer):
        values = {"momentum": None, **values}
    task: Any = base.task
    has = [one.name for one in fields(task)]
    if others := [name for name in values if name in task_fields() and name not in has]:
        raise ValueError(
            f"{others[0]} cannot be varied: the task is {task}, which has {', '.join(has)}; choose "
            "another kind of task to vary it"
        )
    parts: dict[str, Any] = {
        name: replace(part, **{f.name: values[f.name] for f in fields(part) if f.name in values})
        for name, part in (("task", task), ("model", base.model), ("train", base.train))
    }
    seeds = {name: values[name] for name in ("seed", "weights_seed") if name in values}
    return replace(base, **parts, **seeds)
