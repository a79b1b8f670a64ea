"""What tells a run from every other: a hash of how it trains, the same in every version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from grokinterp.config.recorded import RECORDED
from grokinterp.config.stop_rule import StopRule

AS_BEFORE: dict[str, Any] = {
    "label_noise": 0.0,
    "weights_seed": None,
    "causal": False,
    "answers": "p+1",
    "freeze_mlp_biases": False,
    "loss_form": "log-softmax",
    "optimizer": "adamw",
    "momentum": None,
    "lr_schedule": "constant",
    "decay_schedule": "constant",
    "gradient_filters": (),
    "batch_size": None,
    "max_norm": None,
    "loss": "cross-entropy",
}
"""What a field that was added later means to the runs of before it: the value, by the field's name
(an intervention's as `Class.field`), with which a run trains as all did without the field. A run
with this value keeps the identity it had, and a config that lacks the field is read with it."""


def identity(data: Mapping[str, Any]) -> str:
    """What tells a run from every other: a hash of what `RunConfig.to_dict` says of its training.

    Every value counts as it stands, at its default or not, so that another version's defaults
    change nothing. What is recorded (RECORDED) and the device do not count, but for `eval_every`
    where a stop rule looks at these epochs; nor does a later field at its value AS_BEFORE, nor the
    module that defines an intervention: its definition does.
    """
    train = {
        name: value
        for name, value in data["train"].items()
        if name not in RECORDED and name != "device"
    }
    if train["stop_when"] is not None:
        train["stop_when"] = asdict(StopRule.parse(train["stop_when"]))
        train["eval_every"] = data["train"]["eval_every"]
    for name in ("interventions", "gradient_filters"):
        if name in train:
            train[name] = [_counted(one) for one in train[name]]
    if isinstance(train.get("loss"), Mapping):
        train["loss"] = _counted(train["loss"])
    counted = {**data, "train": train}
    if counted.get("weights_seed") == counted["seed"]:
        counted["weights_seed"] = None  # It draws what the seed does.
    return digest(counted)[:16]


def _counted(item: Mapping[str, Any]) -> dict[str, Any]:
    """What of a component's data tells two of them apart."""
    return {
        name: value
        for name, value in item.items()
        if name != "module" and not _is_as_before(f"{item['name']}.{name}", value)
    }


def digest(data: Mapping[str, Any]) -> str:
    """SHA-256 of JSON data, without the fields, its own and its parts', that are AS_BEFORE."""
    counted = {
        part: {name: v for name, v in value.items() if not _is_as_before(name, v)}
        if isinstance(value, Mapping)
        else value
        for part, value in data.items()
        if not _is_as_before(part, value)
    }
    canonical = json.dumps(_canonical(counted), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def later_fields(owner: str) -> dict[str, Any]:
    """The later fields of an intervention, by their own names."""
    return {
        name.removeprefix(owner): value
        for name, value in AS_BEFORE.items()
        if name.startswith(owner)
    }


def completed(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a config, with the later fields that it lacks; KeyError if it lacks another."""
    names = [one.name for one in fields(kind)]
    complete = {name: AS_BEFORE[name] for name in names if name in AS_BEFORE} | dict(data)
    # Not filled in: another version's default would be another run.
    if missing := [name for name in names if name not in complete]:
        raise KeyError(f"the data of a {kind.__name__} lack {', '.join(missing)}; give them")
    return complete


def _canonical(value: Any) -> Any:
    """What is equal, written alike: 1 and 1.0, a tuple and a list."""
    if isinstance(value, Mapping):
        return {name: _canonical(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_as_before(name: str, value: object) -> bool:
    # JSON has lists in place of tuples.
    value = tuple(value) if isinstance(value, list) else value
    return name in AS_BEFORE and AS_BEFORE[name] == value
