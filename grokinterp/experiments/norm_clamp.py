"""The weight norm, bounded at what it is when a model generalises, with and without LN.

Under the paper's recipe the weight norm of a model without LN rises to 56 to 59, and that of one
with LN before the MLP to 45 to 49; both come down to 35 to 41 by the epoch at which they
generalise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from grokinterp.audit import own_rules
from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.reproduction.curves import column_figure
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results, each_seed
from grokinterp.reproduction.outcomes import grouped_outcomes
from grokinterp.reproduction.recipe import FRESH_SEEDS, PAPER_RECIPE, UNTIL_GENERALISED

PLACEMENTS = ("off", "mlp-pre")
BOUND = 40.0
FREE, CLAMPED = "free", f"norm ≤ {BOUND:g}"
_BOUNDED = replace(UNTIL_GENERALISED, probes={}, max_norm=BOUND)
RECIPES: dict[str, TrainConfig] = {
    FREE: PAPER_RECIPE,
    CLAMPED: _BOUNDED,
    f"{CLAMPED}, no decay": replace(_BOUNDED, weight_decay=0.0),
}


def plan(seeds: Sequence[int]) -> list[Planned]:
    configs = {
        f"{placement}, {name}": RunConfig(model=ModelConfig(placement), train=recipe)
        for name, recipe in RECIPES.items()
        for placement in PLACEMENTS
    }
    return each_seed(configs, seeds)


def results(done: Done) -> Results:
    groups = {name: {one: f"{one}, {name}" for one in PLACEMENTS} for name in RECIPES}
    found = grouped_outcomes(done, groups, "Weight norm bounded")
    norms = column_figure(
        done, "weight_norm", "weight norm", title="Weight norm, free and bounded", log_epochs=True
    )
    return Results({**found.figures, "weight_norm": norms}, found.tables)


NORM_CLAMP = Experiment(
    title="Norm clamp",
    question=(
        "Models with and without LN generalise at the same weight norm, and without LN it has "
        "further to come down. Is that the difference?"
    ),
    plan=plan,
    results=results,
    seeds=FRESH_SEEDS,
    claims=(own_rules.norm_clamp(FREE, CLAMPED, *PLACEMENTS),),
)
