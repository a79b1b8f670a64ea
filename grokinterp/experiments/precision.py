"""The precision of the loss: what float32 does to a model that has memorised.

In float32 a loss below 6e-8 is 0, and its gradient too. A model without LN before its MLP comes
down to that while it memorises, and then leaves its path (softmax collapse, arXiv:2501.04697).
Whether it is the precision that does it or the cancellation, float32 without cancellation tells:
the loss by margins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from grokinterp.config import ModelConfig, RunConfig
from grokinterp.experiments.learning_rate import configs as learning_rates
from grokinterp.placement import both_names
from grokinterp.reproduction.curves import column_figure, probe_figure
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results, each_seed
from grokinterp.reproduction.outcomes import grouped_outcomes
from grokinterp.reproduction.positions import LN_POSITIONS
from grokinterp.reproduction.recipe import PAPER_RECIPE, SEEDS

PRECISIONS: dict[str, dict[str, Any]] = {
    "float64": {"loss_dtype": "float64"},
    "float32": {"loss_dtype": "float32"},
}
BY_MARGINS: dict[str, dict[str, Any]] = {
    "float32 by margins": {"loss_dtype": "float32", "loss_form": "margins"},
}
MOST_CHANGED = ("off", "lr 0.01")
"""The cases that float32 changes most: those that are trained by margins too."""


def label(case: str, precision: str) -> str:
    return f"{case}, {precision}"


def _precisions(case: str) -> dict[str, dict[str, Any]]:
    return PRECISIONS | (BY_MARGINS if case in MOST_CHANGED else {})


def _cases() -> dict[str, RunConfig]:
    positions = {one: RunConfig(model=ModelConfig(one), train=PAPER_RECIPE) for one in LN_POSITIONS}
    rates = {
        one: config for one, config in learning_rates().items() if config.train != PAPER_RECIPE
    }
    return positions | rates


def plan(seeds: Sequence[int]) -> list[Planned]:
    configs = {
        label(case, precision): replace(config, train=replace(config.train, **changes))
        for case, config in _cases().items()
        for precision, changes in _precisions(case).items()
    }
    return each_seed(configs, seeds)


def results(done: Done) -> Results:
    # The cases below each other, so that what precision does to each is seen side by side.
    groups = {
        precision: {
            case: label(case, precision) for case in _cases() if precision in _precisions(case)
        }
        for precision in PRECISIONS | BY_MARGINS
    }
    plain = [one for one in done if one[0].label in {label("off", name) for name in groups}]
    no_ln = both_names("off")
    figures = {
        "train_loss": column_figure(
            plain, "train_loss", "train loss", "nats", f"{no_ln}: train loss", log_values=True
        ),
        "effective_rank": probe_figure(
            plain,
            "compressibility",
            "effective_rank",
            "effective rank",
            title=f"{no_ln}: effective rank of the last residual, train inputs",
        ),
        "ntk_distance": probe_figure(
            plain,
            "ntk",
            "relative_distance",
            r"$\Vert K_t - K_0\Vert\,/\,\Vert K_0\Vert$",
            title=f"{no_ln}: the NTK's distance from its start (sum of logits)",
            log_epochs=True,
            log_values=True,
        ),
    }
    found = grouped_outcomes(done, groups, "Precision of the loss")
    return Results(found.figures | figures, found.tables)


PRECISION = Experiment(
    title="Precision",
    question="Does it matter that the loss is computed in float64, as in the paper?",
    plan=plan,
    results=results,
    seeds=SEEDS[:3],
)
