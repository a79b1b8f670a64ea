"""Train many runs in workers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from grokinterp.cli.selection import STORE, Load
from grokinterp.cli.task import TaskOptions
from grokinterp.config import ModelConfig, RunConfig, TrainConfig


def sweep(
    task: TaskOptions,
    model: ModelConfig,
    recipe: TrainConfig,
    placements: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (456,),
    intervene: tuple[str, ...] = (),
    vary: tuple[str, ...] = (),
    executor: str = "local",
    workers: int | None = None,
    send_back: bool = False,
    track: tuple[Literal["wandb", "tensorboard"], ...] = (),
    store: Path = Path(STORE),
    load: Load = (),
) -> None:
    """Train many runs in workers, and keep them in a store: each as grokinterp train would.

    The same command again finishes what is missing and repeats nothing. A worker that dies is
    replaced, and its runs go on from their last saves.

    Args:
        task: What to learn.
        model: The architecture.
        recipe: How to train.
        placements: Train each of these placements (in place of --placement).
        seeds: Train each of these seeds; a seed drives the split and the initial weights.
        intervene: Train under these interventions, such as UniformAttention or
            UnitNorm:mlp,from_epoch=100,until_epoch=500.
        vary: Train every combination of these values of fields, such as
            placement=off,pre lr=0.001,0.003 seed=456,789.
        executor: local (processes), ray (a cluster of this machine, started for the sweep),
            ray:auto (the cluster that this machine belongs to) or ray:HOST:PORT.
        workers: How many at once; one a core, or one a GPU, when not given.
        send_back: Workers do not see the store: they send it their runs when they are over.
        track: Write the metrics to these services too, in STORE/tracking.
        store: The folder that holds the runs.
    """
    from grokinterp.probes.calls import expand
    from grokinterp.sweep.grid import grid, parse_axis

    if intervene:
        from grokinterp.hooks import parse_intervention

        recipe = replace(recipe, interventions=tuple(map(parse_intervention, intervene)))
    expand(recipe.probes)  # What is misspelt is told before torch is imported.
    axes: dict[str, tuple[Any, ...]] = {"placement": placements or (model.placement,)}
    axes["seed"] = seeds
    axes |= dict(map(parse_axis, vary))
    configs = grid(RunConfig(task.chosen(), model, recipe), axes)

    from grokinterp.cli.cost import say_cost
    from grokinterp.cli.terminal import show
    from grokinterp.store.progress import Bar, say
    from grokinterp.store.run_tables import table
    from grokinterp.sweep.train_over import pending_units, train_over
    from grokinterp.tracking import observers

    say_cost(configs, store, here=executor == "local")
    units = pending_units(configs, store, workers)
    if len(units) < sum(map(len, units)):
        print(f"They train together, in units of work: {len(units)}", flush=True)
    trained = train_over(
        configs, store, executor, workers, observers(track, Bar()), not send_back, load
    )
    print(show(table(trained, say)))
