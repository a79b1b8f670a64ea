"""Experiments by name: each is one file, and one line here."""

from __future__ import annotations

from grokinterp.experiments.attention_pathways import ATTENTION_PATHWAYS
from grokinterp.experiments.beyond_addition import BEYOND_ADDITION
from grokinterp.experiments.compressibility import COMPRESSIBILITY
from grokinterp.experiments.direction_or_norm import DIRECTION_OR_NORM
from grokinterp.experiments.edge import EDGE
from grokinterp.experiments.feature_evolution import FEATURE_EVOLUTION
from grokinterp.experiments.lattice import LATTICE
from grokinterp.experiments.learning_rate import LEARNING_RATE
from grokinterp.experiments.ln_position import LN_POSITION
from grokinterp.experiments.long_training import LONG_TRAINING
from grokinterp.experiments.norm_clamp import NORM_CLAMP
from grokinterp.experiments.optimizers import OPTIMIZERS
from grokinterp.experiments.precision import PRECISION
from grokinterp.experiments.readout_scale import READOUT_SCALE
from grokinterp.experiments.robustness import DEPTH, RMSNORM
from grokinterp.experiments.shortcut import SHORTCUT
from grokinterp.experiments.softmax_collapse import SOFTMAX_COLLAPSE
from grokinterp.experiments.split_or_weights import SPLIT_OR_WEIGHTS
from grokinterp.experiments.transplant import TRANSPLANT
from grokinterp.experiments.uniform_attention import UNIFORM_ATTENTION
from grokinterp.experiments.weight_decay import WEIGHT_DECAY
from grokinterp.reproduction.cached_run import CachedRun
from grokinterp.reproduction.experiment import Experiment, Planned
from grokinterp.reproduction.verdicts import Judged, judge

EXPERIMENTS: dict[str, Experiment] = {
    "ln-position": LN_POSITION,
    "attention-pathways": ATTENTION_PATHWAYS,
    "shortcut": SHORTCUT,
    "compressibility": COMPRESSIBILITY,
    "feature-evolution": FEATURE_EVOLUTION,
    "readout-scale": READOUT_SCALE,
    "learning-rate": LEARNING_RATE,
    "weight-decay": WEIGHT_DECAY,
    "depth": DEPTH,
    "rmsnorm": RMSNORM,
    "precision": PRECISION,
    "lattice": LATTICE,
    "edge": EDGE,
    "long-training": LONG_TRAINING,
    "split-or-weights": SPLIT_OR_WEIGHTS,
    "direction-or-norm": DIRECTION_OR_NORM,
    "transplant": TRANSPLANT,
    "uniform-attention": UNIFORM_ATTENTION,
    "optimizers": OPTIMIZERS,
    "softmax-collapse": SOFTMAX_COLLAPSE,
    "norm-clamp": NORM_CLAMP,
    "beyond-addition": BEYOND_ADDITION,
}
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
    return judge(EXPERIMENTS, store, read, problems)
