"""Small runs that several test files train."""

from dataclasses import replace

from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.task import ModularTask

SMALL_RUN = RunConfig(
    task=ModularTask(p=5),
    model=ModelConfig(d_model=8, n_heads=2),
    train=TrainConfig(epochs=30, eval_every=5, checkpoint_every=10),
    seed=1,
)


def with_recipe(config: RunConfig = SMALL_RUN, **changes) -> RunConfig:
    return replace(config, train=replace(config.train, **changes))


def with_model(config: RunConfig = SMALL_RUN, **changes) -> RunConfig:
    return replace(config, model=replace(config.model, **changes))
