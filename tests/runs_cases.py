"""Small runs that several test files train, and what they ask of runs."""

from dataclasses import replace

import pandas as pd
import torch

import grokinterp as gi
from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.store.progress import Observer
from grokinterp.task import ModularTask
from grokinterp.training.engine import group_key

SMALL_RUN = RunConfig(
    task=ModularTask(p=5),
    model=ModelConfig(d_model=8, n_heads=2),
    train=TrainConfig(epochs=30, eval_every=5, checkpoint_every=10),
    seed=1,
)

OPTIONS = {"p": 5, "d-model": 8, "n-heads": 2, "epochs": 30, "eval-every": 5}
OPTIONS["checkpoint-every"] = 10
SMALL_OPTIONS = [word for name, value in OPTIONS.items() for word in (f"--{name}", str(value))]
"""About the same, for the command line."""


def as_ensembles(configs):
    """Units of work as on an accelerator, whatever the device: in place of train's `units_of`."""
    groups = {}
    for config in configs:
        groups.setdefault(group_key(config), []).append(config)
    return list(groups.values())


def with_recipe(config: RunConfig = SMALL_RUN, **changes) -> RunConfig:
    return replace(config, train=replace(config.train, **changes))


def with_model(config: RunConfig = SMALL_RUN, **changes) -> RunConfig:
    return replace(config, model=replace(config.model, **changes))


def same_run(one: gi.Run, other: gi.Run) -> None:
    """Metrics and every checkpoint agree, bit for bit."""
    pd.testing.assert_frame_equal(one.metrics, other.metrics, check_exact=True)
    assert one.checkpoint_epochs == other.checkpoint_epochs
    for epoch in one.checkpoint_epochs:
        ours, theirs = one.checkpoint(epoch).weights, other.checkpoint(epoch).weights
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert torch.equal(value, theirs[name]), (epoch, name)


class Interrupt(Observer):
    """Stops training, as Ctrl-C does, at an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def advanced(self, run, config, report):
        if report.epoch >= self.epoch:
            raise KeyboardInterrupt
