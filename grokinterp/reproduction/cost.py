"""What training costs on this machine: measured, on the architectures that a plan needs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from grokinterp.config import RunConfig, TrainConfig
from grokinterp.model.parameters import initial_weights
from grokinterp.store.state import RunState
from grokinterp.training.engine import train_together

# Enough for a time that is right within a tenth or two, on an idle machine.
EPOCHS = 6


def training_seconds(configs: Sequence[RunConfig]) -> float:
    """About how long these runs train here, one after the other, to their last epoch.

    Online probes are not counted; a stop rule may end a run earlier.
    """
    kinds: dict[RunConfig, float] = {}
    total = 0.0
    for config in configs:
        kind = _kind(config)
        if kind not in kinds:
            kinds[kind] = _seconds_per_epoch(kind)
        total += kinds[kind] * config.train.epochs
    return total


def _kind(config: RunConfig) -> RunConfig:
    """What decides the time of an epoch, as a run of a few: size, norm and precision."""
    train = TrainConfig(
        epochs=EPOCHS + 1,
        eval_every=EPOCHS + 1,
        checkpoint_every=None,
        dtype=config.train.dtype,
        loss_dtype=config.train.loss_dtype,
        loss_form=config.train.loss_form,
        device=config.train.device,
        interventions=config.train.interventions,
    )
    model = replace(config.model, placement="off", readout_scale=1.0, init="lecun")
    return RunConfig(config.task, model, train, seed=0)


def _seconds_per_epoch(config: RunConfig) -> float:
    """Over a few epochs, one of them evaluated."""
    weights = initial_weights(config.model, config.task, 0, config.train.dtype)
    start = RunState.initial(weights)
    began = 0.0
    for ensemble, _ in train_together([config], [start.weights], [start]):
        if ensemble.epoch == 1:
            began = time.perf_counter()
    return (time.perf_counter() - began) / EPOCHS


def hours_and_minutes(seconds: float) -> str:
    """
    >>> hours_and_minutes(40.0), hours_and_minutes(4000.0)
    ('1 min', '1 h 7 min')
    """
    minutes = max(1, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
