"""Rebuild the pretrained models from a run store: python -m grokinterp.pretrained RUNS."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from grokinterp.config import ModelConfig, RunConfig
from grokinterp.placement import PLACEMENTS
from grokinterp.pretrained import FOLDER
from grokinterp.reproduction.recipe import PAPER_RECIPE
from grokinterp.results import ship
from grokinterp.snapshot import Inputs
from grokinterp.store.files import fingerprint, write_json, write_tensors
from grokinterp.store.progress import Bar
from grokinterp.store.run import Run
from grokinterp.training.train import train

SEED = 456


def rebuild(store: str, folder: Path = FOLDER) -> None:
    """Train what the store misses of the nine placements, and write their weights and card."""
    configs = [
        RunConfig(model=ModelConfig(name), train=PAPER_RECIPE, seed=SEED) for name in PLACEMENTS
    ]
    runs = train(configs, store=store, observer=Bar())
    ship(runs)
    write(runs, folder)


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
        shot = run.snapshot(epoch)
        stages[stage] = {
            "epoch": epoch,
            "fingerprint": fingerprint(weights),
            "train_accuracy": _accuracy(shot.train),
            "test_accuracy": _accuracy(shot.test),
        }
        if stage != "init":
            name = f"{run.config.model.placement}.{stage}.safetensors"
            write_tensors(folder / name, weights, {"epoch": epoch})
    return {
        "config": run.config.to_dict(),
        "run": run.id,
        "provenance": run.provenance,
        "memorised": str(times.memorised),
        "generalised": str(times.generalised),
        "generalised_for_good": str(times.generalised_for_good),
        "stages": stages,
    }


def _accuracy(inputs: Inputs) -> float:
    return (inputs.logits.argmax(-1) == inputs.labels).double().mean().item()


if __name__ == "__main__":
    rebuild(sys.argv[1])
