"""What a command will cost, said before it costs it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from grokinterp.config import RunConfig
from grokinterp.store.progress import Observer, say

if TYPE_CHECKING:
    from grokinterp.store.run import Run


def say_cost(configs: Sequence[RunConfig], store: Path, here: bool = True) -> None:
    """Say what the store misses of these runs, and about how long training it takes.

    Args:
        configs: The runs.
        store: The folder that holds them, or will.
        here: They train on this machine: what an epoch costs can be measured.
    """
    from grokinterp.store.files import NoStoreError
    from grokinterp.store.store import Store, open_store
    from grokinterp.training.train import in_store

    try:
        opened = open_store(store)
    except NoStoreError:
        opened = Store(store)
    unique = [*dict.fromkeys(configs)]
    _, missing = in_store(unique, opened)
    there = f"{store} holds {len(unique) - len(missing):,} of {_counted(len(unique), 'run')}"
    if not missing:
        print(f"{there}; nothing is to be trained", flush=True)
        return
    left = [_rest(config, run.epoch) for config, run in missing.items()]
    epochs = sum(config.train.epochs for config in left)
    most = "at most " if any(config.train.stop_when for config in left) else ""
    time = f", {_about(left, most)} here" if here else ""
    print(
        f"{there}; to train: {len(left):,}, {most}{_counted(epochs, 'epoch')} in all{time}",
        flush=True,
    )


def _rest(config: RunConfig, epoch: int) -> RunConfig:
    """A run of as many epochs as this one has left."""
    left = max(1, config.train.epochs - epoch)
    return replace(config, train=replace(config.train, epochs=left, checkpoint_epochs=()))


def _about(configs: Sequence[RunConfig], most: str) -> str:
    from grokinterp.reproduction.cost import hours_and_minutes, training_seconds
    from grokinterp.training.device import check_device

    for device in sorted({config.train.device for config in configs}):
        check_device(device)
    seconds = training_seconds(configs)
    probes = ", probes not counted" if any(config.train.probes for config in configs) else ""
    if seconds < 60:
        return f"less than a minute{probes}"
    return f"{most or 'about '}{hours_and_minutes(seconds)}{probes}"


class ProbingCost(Observer):
    """Says how much there is to probe; and, once a checkpoint has taken its time, how long the
    others take at that rate."""

    SECONDS = 1.0
    """What takes less was in the store, or is over soon."""

    def __init__(self, runs: int, probes: int) -> None:
        self._what = f"{_counted(runs, 'run')}, {_counted(probes, 'probe')} on each"
        self._computed = 0

    def begin_probing(self, checkpoints: int) -> None:
        say(
            f"to probe: {_counted(checkpoints, 'checkpoint')} of {self._what}, "
            "but for what the store holds"
        )
        self._left, self._began = checkpoints, time.monotonic()

    def probed(self, run: Run, epoch: int) -> None:
        from grokinterp.reproduction.cost import hours_and_minutes

        now = time.monotonic()
        seconds, self._began, self._left = now - self._began, now, self._left - 1
        self._computed += seconds > self.SECONDS
        # The first of all loads TransformerLens, too.
        if self._computed == 2 and seconds > self.SECONDS and self._left:
            say(
                f"a checkpoint takes {seconds:.0f} s; {self._left:,} more at that rate "
                f"take about {hours_and_minutes(seconds * self._left)}"
            )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
