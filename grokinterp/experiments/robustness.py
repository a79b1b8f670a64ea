"""Whether the order of the LN positions holds with RMSNorm, and with three layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grokinterp.audit import rules
from grokinterp.config import ModelConfig, RunConfig
from grokinterp.reproduction.experiment import Experiment, Planned, each_seed
from grokinterp.reproduction.outcomes import outcomes
from grokinterp.reproduction.positions import LN_POSITIONS, placements
from grokinterp.reproduction.recipe import FRESH_SEEDS, SEEDS, UNTIL_GENERALISED


def depth_plan(seeds: Sequence[int]) -> list[Planned]:
    models = {name: ModelConfig(name, n_layers=3, d_model=64) for name in LN_POSITIONS}
    return each_seed(_configs(models), seeds)


def rmsnorm_plan(seeds: Sequence[int]) -> list[Planned]:
    # Without a norm it makes no difference which one.
    models = {name: ModelConfig(name, norm="rms") for name in LN_POSITIONS if name != "off"}
    return placements(["off"], seeds) + each_seed(_configs(models), seeds)


def _configs(models: Mapping[str, ModelConfig]) -> dict[str, RunConfig]:
    return {name: RunConfig(model=m, train=UNTIL_GENERALISED) for name, m in models.items()}


DEPTH = Experiment(
    title="Depth",
    question="Does the order of the LN positions hold with three layers of width 64?",
    plan=depth_plan,
    results=lambda done: outcomes(done, "LN position, 3 layers"),
    seeds=SEEDS[:2] + FRESH_SEEDS,
    claims=(rules.robustness("3 layers", "none with three layers, and two seeds with RMSNorm"),),
)
RMSNORM = Experiment(
    title="RMSNorm",
    question="Does the order of the LN positions hold with RMSNorm in place of LayerNorm?",
    plan=rmsnorm_plan,
    results=lambda done: outcomes(done, "LN position, RMSNorm"),
    seeds=SEEDS[:2] + FRESH_SEEDS,
    claims=(rules.robustness("RMSNorm", "two seeds with RMSNorm, and none with three layers"),),
)
