"""Rebuild the pretrained models from a run store: python -m grokinterp.pretrained RUNS."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from grokinterp.config import ModelConfig, RunConfig
from grokinterp.grokking import MEMORISED_ACCURACY
from grokinterp.placement import PLACEMENTS
from grokinterp.pretrained import FOLDER
from grokinterp.pretrained.evolution import EVOLVED
from grokinterp.reproduction.recipe import PAPER_RECIPE
from grokinterp.results import ship
from grokinterp.snapshot import Inputs, Snapshot
from grokinterp.store.files import fingerprint, write_json, write_tensors
from grokinterp.store.progress import Bar
from grokinterp.store.run import Run
from grokinterp.training.train import train

SEED = 456
SEED_OF_EVOLUTION = 1
STEPS = 9


def rebuild(store: str, folder: Path = FOLDER) -> None:
    """Train what the store misses, and write the weights and cards of the nine placements and of
    the two whose evolution ships."""
    runs = train([_config(name, SEED) for name in PLACEMENTS], store=store, observer=Bar())
    ship(runs)
    write(runs, folder)
    evolved = [_config(name, SEED_OF_EVOLUTION) for name in EVOLVED]
    runs = train(evolved, store=store, observer=Bar())
    ship(runs)
    write_evolutions(runs, folder)


def _config(placement: str, seed: int) -> RunConfig:
    return RunConfig(model=ModelConfig(placement), train=PAPER_RECIPE, seed=seed)


def write(runs: list[Run], folder: Path = FOLDER) -> None:
    """The weights and card of these runs, which share their initial weights by name."""
    initial: dict[str, Any] = {}
    models = {}
    for run in runs:
        initial |= run.checkpoint(0).weights
        models[run.config.model.placement] = _export(run, folder)
    write_tensors(folder / "init.safetensors", initial, {})
    write_json(folder / "card.json", {"models": models})


def _export(run: Run, folder: Path) -> dict[str, Any]:
    times = run.grokking
    if times.memorised.by is None:
        raise ValueError(f"run {run.id} has not memorised its training pairs")
    memorised = min(e for e in run.checkpoint_epochs if e >= times.memorised.by)
    epochs = {"init": 0, "memorised": memorised, "grokked": run.find_checkpoint()}
    stages = {}
    for stage, epoch in epochs.items():
        weights = run.checkpoint(epoch).weights
        stages[stage] = {"epoch": epoch, **_described(run.snapshot(epoch), weights)}
        if stage != "init":
            name = f"{run.config.model.placement}.{stage}.safetensors"
            write_tensors(folder / name, weights, {"epoch": epoch})
    return {**_about(run), "stages": stages}


def write_evolutions(runs: list[Run], folder: Path = FOLDER) -> None:
    """Some checkpoints of each run, rounded to float16, and their card."""
    models = {run.config.model.placement: _export_evolution(run, folder) for run in runs}
    write_json(folder / "evolution.json", {"models": models})


def _export_evolution(run: Run, folder: Path) -> dict[str, Any]:
    checkpoints = {}
    for epoch in _stops(run):
        weights = {name: value.half() for name, value in run.checkpoint(epoch).weights.items()}
        file = f"{run.config.model.placement}.{epoch}.safetensors"
        write_tensors(folder / file, weights, {"epoch": epoch})
        shot = run.snapshot(epoch)
        shot.model.load_state_dict(weights, strict=False)
        checkpoints[str(epoch)] = _described(shot, weights)
    return {**_about(run), "checkpoints": checkpoints}


def _stops(run: Run) -> list[int]:
    """The first checkpoint, and even steps of the way from memorising to the end. Half of that way
    is the logarithm of the epoch, and half the test accuracy, so that generalising is seen however
    late it comes. Where a spike has undone what the model knew, there is no stop."""
    metrics, memorised = run.metrics.set_index("epoch"), run.grokking.memorised.by
    if memorised is None:
        raise ValueError(f"run {run.id} has not memorised its training pairs")
    epochs = np.array([epoch for epoch in run.checkpoint_epochs if epoch >= memorised])
    rows = metrics.index.searchsorted(epochs, side="right") - 1
    best = metrics["test_accuracy"].cummax().to_numpy()[rows]
    known = metrics["train_accuracy"].to_numpy()[rows] >= MEMORISED_ACCURACY
    steady = known & (metrics["test_accuracy"].to_numpy()[rows] >= 0.99 * best)
    epochs, best = epochs[steady], best[steady]
    way = _from_0_to_1(np.log(epochs)) + _from_0_to_1(best)
    near = {int(epochs[abs(way - step).argmin()]) for step in np.linspace(0, 2, STEPS + 1)}
    return sorted({run.checkpoint_epochs[0], *near})


def _from_0_to_1(values: np.ndarray) -> np.ndarray:
    return (values - values[0]) / max(values[-1] - values[0], np.finfo(float).tiny)


def _about(run: Run) -> dict[str, Any]:
    """What a card says of a run."""
    times = run.grokking
    return {
        "config": run.config.to_dict(),
        "run": run.id,
        "provenance": run.provenance,
        "memorised": str(times.memorised),
        "generalised": str(times.generalised),
        "generalised_for_good": str(times.generalised_for_good),
    }


def _described(shot: Snapshot, weights: dict[str, Tensor]) -> dict[str, Any]:
    """What a card says of a checkpoint."""
    return {
        "fingerprint": fingerprint(weights),
        "train_accuracy": _accuracy(shot.train),
        "test_accuracy": _accuracy(shot.test),
    }


def _accuracy(inputs: Inputs) -> float:
    return (inputs.logits.argmax(-1) == inputs.labels).double().mean().item()


if __name__ == "__main__":
    rebuild(sys.argv[1])
