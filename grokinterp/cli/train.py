"""Train runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from grokinterp.cli.selection import STORE, Load
from grokinterp.cli.task import TaskOptions
from grokinterp.config import ModelConfig, RunConfig, TrainConfig


def train(
    task: TaskOptions,
    model: ModelConfig,
    recipe: TrainConfig,
    placements: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (456,),
    weights_seed: int | None = None,
    intervene: tuple[str, ...] = (),
    track: tuple[Literal["wandb", "tensorboard"], ...] = (),
    store: Path = Path(STORE),
    load: Load = (),
) -> None:
    """Train runs, and keep them in a store.

    The same command again finishes what is missing and repeats nothing; called several times at
    once, the runs are shared out. On an accelerator, those of one architecture train together.

    Args:
        task: What to learn.
        model: The architecture.
        recipe: How to train.
        placements: Train each of these placements (in place of --placement).
        seeds: Train each of these seeds; a seed drives the split and the initial weights.
        weights_seed: Draws the initial weights of every run; a seed then drives the split alone.
        intervene: Train under these interventions, such as UniformAttention or
            UnitNorm:mlp,from_epoch=100,until_epoch=500.
        track: Write the metrics to these services too, in STORE/tracking.
        store: The folder that holds the runs.
    """
    from grokinterp.probes.calls import expand

    if intervene:
        from grokinterp.hooks import parse_intervention

        recipe = replace(recipe, interventions=tuple(map(parse_intervention, intervene)))
    expand(recipe.probes)  # What is misspelt is told before torch is imported.
    models = [replace(model, placement=name) for name in placements] or [model]
    learnt = task.chosen()
    configs = [
        RunConfig(learnt, one, recipe, seed, weights_seed=weights_seed)
        for one in models
        for seed in seeds
    ]
    from grokinterp.cli.cost import say_cost
    from grokinterp.cli.terminal import show
    from grokinterp.store.progress import Bar, say
    from grokinterp.store.run_tables import table
    from grokinterp.tracking import observers
    from grokinterp.training.train import train as train_runs

    say_cost(configs, store)
    trained = train_runs(configs, store=store, observer=observers(track, Bar()))
    print(show(table(trained, say)))
