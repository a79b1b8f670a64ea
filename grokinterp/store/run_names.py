"""What tells runs apart, and what a person calls each of several."""

from __future__ import annotations

from collections.abc import Sequence

from grokinterp.config import RunConfig
from grokinterp.config.recorded import RECORDED

TASK = ("p", "operation", "operand", "group", "table")
"""What the name of every task says."""

NAMED = ("placement", "seed", "weights_seed")
"""What the name of every run says."""


def varying(configs: Sequence[RunConfig], but: Sequence[str] = NAMED) -> list[str]:
    """The fields of how they train that are not the same in all of these.

    A field that the task of some has not is one; `d_mlp` is none where it follows `d_model`, as it
    does when it is not given.

    >>> from grokinterp.config import TrainConfig
    >>> varying([RunConfig(), RunConfig(train=TrainConfig(lr=0.01), seed=1)])
    ['lr']
    """
    flats = [config.flat() for config in configs]
    follows = all(flat["d_mlp"] == 4 * flat["d_model"] for flat in flats)
    left = {*but, *RECORDED, *(["d_mlp"] if follows else [])}
    return [
        name
        for name in dict.fromkeys(name for flat in flats for name in flat)
        if name not in left and len({repr(flat.get(name)) for flat in flats}) > 1
    ]


def run_names(configs: Sequence[RunConfig]) -> list[str]:
    """A name for each, with the fields that tell it from the others.

    >>> from grokinterp.config import TrainConfig
    >>> run_names([RunConfig(train=TrainConfig(lr=lr)) for lr in (0.001, 0.01)])
    ['mlp-pre · seed 456 · lr 0.001', 'mlp-pre · seed 456 · lr 0.01']
    """
    fields = varying(configs)
    return [
        " · ".join([config.name, *(f"{name} {cell(flat.get(name))}" for name in fields)])
        for config in configs
        for flat in [config.flat()]
    ]


def labels(configs: Sequence[RunConfig]) -> list[str]:
    """What each is under whatever seed: its placement, and the fields that vary beside seeds.

    >>> labels([RunConfig(seed=1), RunConfig(seed=2)])
    ['mlp-pre', 'mlp-pre']
    """
    fields = varying(configs)
    return [
        " · ".join([config.model.placement, *(f"{name} {cell(flat.get(name))}" for name in fields)])
        for config in configs
        for flat in [config.flat()]
    ]


def cell(value: object) -> str:
    """A field's value, for people; a dash for none."""
    if value is None or value == () or value == {}:
        return "–"
    return ", ".join(map(str, value)) if type(value) is tuple else str(value)
