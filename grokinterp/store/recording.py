"""What is recorded of a run. It changes nothing of how the run trains, so it is no part of its id.

A store may hold several recordings of a run, each in a folder of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from grokinterp.config import RunConfig, TrainConfig
from grokinterp.config.identity import digest, identity
from grokinterp.config.recorded import RECORDED
from grokinterp.probes.calls import expand, is_current

Recorded = dict[tuple[str, ...], set[int]]
"""The epochs at which each thing is recorded: rows of metrics, checkpoints, Adam's moments, and
each probe under its definition."""


def definitions(train: TrainConfig) -> dict[str, str]:
    """The probes that are recorded while training, by name with options: as they are defined now.

    ValueError if one is unknown.
    """
    return {str(one): one.definition for one in expand(train.probes)}


def folder_name(data: Mapping[str, Any], defined: Mapping[str, str]) -> str:
    """The folder of a recording: the run's id, and 8 digits of what is recorded, and where.

    Args:
        data: Of `RunConfig.to_dict`.
        defined: The definitions of the probes that are recorded.
    """
    names = RECORDED | {"device"}
    recorded = {name: value for name, value in data["train"].items() if name in names}
    return f"{identity(data)}-{digest({'recorded': recorded, 'definitions': defined})[:8]}"


def recorded(train: TrainConfig, defined: Mapping[str, str], until: int) -> Recorded:
    """What a recording holds that is over at an epoch, or what is asked of it."""
    checkpoints = {epoch for epoch in train.checkpoint_schedule() if epoch <= until}
    found: Recorded = {
        ("rows",): {1, *_every(train.eval_every, train.epochs, until)},
        ("checkpoints",): checkpoints,
        ("moments",): checkpoints if train.keep_optimizer else set(),
    }
    for name, every in train.probes.items():
        epochs = _every(every, train.epochs, until)
        found["rows",] |= epochs
        for probe in _members(name):
            if probe in defined:
                found.setdefault((probe, defined[probe]), set()).update(epochs)
    return found


def has_all(there: Recorded, asked: Recorded) -> bool:
    """Whether what is there is at least what is asked for."""
    return all(epochs <= there.get(what, set()) for what, epochs in asked.items())


def asked_of(config: RunConfig, until: int | None = None) -> Recorded:
    """What a config asks for, to its last epoch, or to one where its run was over before.

    ValueError if it asks for a probe that there is not.
    """
    train = config.train
    return recorded(train, definitions(train), train.epochs if until is None else until)


def amount(there: Recorded) -> int:
    """How many things are recorded at how many epochs, without probes of another definition."""
    return sum(len(epochs) for what, epochs in there.items() if len(what) == 1 or is_current(*what))


def fewest(configs: Iterable[RunConfig]) -> dict[RunConfig, RunConfig]:
    """For each config the one of them to train for it: one recording serves whoever asks for less
    of the same run."""
    runs: dict[str, dict[RunConfig, Recorded]] = {}
    for config in configs:
        runs.setdefault(config.id, {}).setdefault(config, asked_of(config))
    serves: dict[RunConfig, RunConfig] = {}
    for asked in runs.values():
        chosen: list[RunConfig] = []
        # The most first: what serves others comes before them.
        for config in sorted(asked, key=lambda one: -amount(asked[one])):
            servers = (one for one in chosen if has_all(asked[one], asked[config]))
            serves[config] = next(servers, config)
            if serves[config] is config:
                chosen.append(config)
    return serves


def _every(every: int, last: int, until: int) -> set[int]:
    """Each so many epochs, and the last."""
    return {*range(every, until + 1, every)} | ({last} if last <= until else set())


def _members(name: str) -> list[str]:
    """The probes that a name means; the name itself where there is no such probe now."""
    try:
        return [str(one) for one in expand([name])]
    except ValueError:
        return [name]
