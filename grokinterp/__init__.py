"""grokinterp: mechanistic interpretability of grokking, on TransformerLens.

import grokinterp as gi
run = gi.RunConfig(model=gi.ModelConfig(placement="mlp-pre"), seed=456)
[trained] = gi.train([run])
trained.metrics, trained.grokking, trained.model()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    import grokinterp.circuits as circuits
    import grokinterp.hooks as hooks
    from grokinterp.config import ModelConfig, RunConfig, TrainConfig
    from grokinterp.custom_loss import Loss
    from grokinterp.experiments import EXPERIMENTS, verdicts
    from grokinterp.gradient_filter import GradientFilter
    from grokinterp.grokking import Crossing, GrokkingTimes, Plateau, grokking_times, plateau
    from grokinterp.model.build import build_model
    from grokinterp.placement import PLACEMENTS, LNPlacement, pre_norm_lattice, resolve_placement
    from grokinterp.pretrained import (
        load_pretrained,
        pretrained_card,
        pretrained_metrics,
        pretrained_snapshot,
    )
    from grokinterp.pretrained.evolution import pretrained_evolution
    from grokinterp.probes import PROBES
    from grokinterp.probes.measurement import measure
    from grokinterp.reproduction.plan import results_of
    from grokinterp.reproduction.recipe import PAPER_RECIPE
    from grokinterp.snapshot import Snapshot
    from grokinterp.store.checkpoint import Checkpoint
    from grokinterp.store.files import StoreError
    from grokinterp.store.lead_times import lead_times
    from grokinterp.store.probe import probe
    from grokinterp.store.progress import Bar, Observer
    from grokinterp.store.run import Run
    from grokinterp.store.runs import Runs
    from grokinterp.store.store import Store, open_store
    from grokinterp.sweep.train_over import train_over
    from grokinterp.task import GroupTask, ModularTask, TableTask, Task
    from grokinterp.training.train import train

_ROOMS = {
    "config": ("ModelConfig", "RunConfig", "TrainConfig"),
    "custom_loss": ("Loss",),
    "experiments": ("EXPERIMENTS", "verdicts"),
    "reproduction.plan": ("results_of",),
    "reproduction.recipe": ("PAPER_RECIPE",),
    "store.files": ("StoreError",),
    "gradient_filter": ("GradientFilter",),
    "grokking": ("Crossing", "GrokkingTimes", "Plateau", "grokking_times", "plateau"),
    "model.build": ("build_model",),
    "placement": ("PLACEMENTS", "LNPlacement", "pre_norm_lattice", "resolve_placement"),
    "store.lead_times": ("lead_times",),
    "probes.measurement": ("measure",),
    "pretrained": (
        "load_pretrained",
        "pretrained_card",
        "pretrained_metrics",
        "pretrained_snapshot",
    ),
    "pretrained.evolution": ("pretrained_evolution",),
    "probes": ("PROBES",),
    "store.probe": ("probe",),
    "store.progress": ("Bar", "Observer"),
    "store.checkpoint": ("Checkpoint",),
    "store.run": ("Run",),
    "store.runs": ("Runs",),
    "store.store": ("Store", "open_store"),
    "snapshot": ("Snapshot",),
    "sweep.train_over": ("train_over",),
    "task": ("GroupTask", "ModularTask", "TableTask", "Task"),
    "training.train": ("train",),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "EXPERIMENTS",
    "PAPER_RECIPE",
    "PLACEMENTS",
    "PROBES",
    "Bar",
    "Checkpoint",
    "Crossing",
    "GradientFilter",
    "GrokkingTimes",
    "GroupTask",
    "LNPlacement",
    "Loss",
    "ModelConfig",
    "ModularTask",
    "Observer",
    "Plateau",
    "Run",
    "RunConfig",
    "Runs",
    "Snapshot",
    "Store",
    "StoreError",
    "TableTask",
    "Task",
    "TrainConfig",
    "build_model",
    "circuits",
    "grokking_times",
    "hooks",
    "lead_times",
    "load_pretrained",
    "measure",
    "open_store",
    "plateau",
    "pre_norm_lattice",
    "pretrained_card",
    "pretrained_evolution",
    "pretrained_metrics",
    "pretrained_snapshot",
    "probe",
    "resolve_placement",
    "results_of",
    "train",
    "train_over",
    "verdicts",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that `import grokinterp` and `grokinterp --help` are instant.
    if name in ("circuits", "hooks"):
        return import_module(f"grokinterp.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'grokinterp' has no attribute {name!r}")
    value = getattr(import_module(f"grokinterp.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
