"""Experiments by name: each is one file, and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grokinterp.registry import Registry

if TYPE_CHECKING:
    from grokinterp.reproduction.cached_run import CachedRun
    from grokinterp.reproduction.experiment import Experiment, Planned
    from grokinterp.reproduction.verdicts import Judged

_PLACES = {
    "ln-position": "ln_position:LN_POSITION",
    "attention-pathways": "attention_pathways:ATTENTION_PATHWAYS",
    "shortcut": "shortcut:SHORTCUT",
    "compressibility": "compressibility:COMPRESSIBILITY",
    "feature-evolution": "feature_evolution:FEATURE_EVOLUTION",
    "readout-scale": "readout_scale:READOUT_SCALE",
    "learning-rate": "learning_rate:LEARNING_RATE",
    "weight-decay": "weight_decay:WEIGHT_DECAY",
    "depth": "robustness:DEPTH",
    "rmsnorm": "robustness:RMSNORM",
    "precision": "precision:PRECISION",
    "lattice": "lattice:LATTICE",
    "edge": "edge:EDGE",
    "long-training": "long_training:LONG_TRAINING",
    "split-or-weights": "split_or_weights:SPLIT_OR_WEIGHTS",
    "direction-or-norm": "direction_or_norm:DIRECTION_OR_NORM",
    "transplant": "transplant:TRANSPLANT",
    "uniform-attention": "uniform_attention:UNIFORM_ATTENTION",
    "optimizers": "optimizers:OPTIMIZERS",
    "softmax-collapse": "softmax_collapse:SOFTMAX_COLLAPSE",
    "norm-clamp": "norm_clamp:NORM_CLAMP",
    "beyond-addition": "beyond_addition:BEYOND_ADDITION",
    "progress-measures": "progress_measures:PROGRESS_MEASURES",
}
EXPERIMENTS: Registry[Experiment] = Registry(
    "EXPERIMENTS", {name: f"grokinterp.experiments.{place}" for name, place in _PLACES.items()}
)
"""Every experiment by name: the paper's, then our own."""


def planned_runs() -> list[Planned]:
    """What every experiment plans for its own seeds."""
    return [
        planned
        for experiment in EXPERIMENTS.values()
        for planned in experiment.plan(experiment.seeds)
    ]


def verdicts(
    store: str = "runs",
    read: dict[str, CachedRun] | None = None,
    problems: dict[str, str] | None = None,
) -> list[Judged]:
    """Judge each claim of the paper by the runs that are there; nothing is trained.

    Args:
        store: The folder that holds runs, beside those that ship with the package; it need not
            exist.
        read: Runs by path that plans have looked at already, as of `make_plan`.
        problems: Takes, by folder, why a run of the store is left out that cannot be read.

    Returns:
        A verdict for each claim under each of its conventions.
    """
    from grokinterp.reproduction.verdicts import judge

    return judge(EXPERIMENTS, store, read, problems)
