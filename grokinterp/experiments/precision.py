"""The precision of the loss: what float32 does to a model that has memorised.

In float32 a loss below 6e-8 is 0, and its gradient too. A model without LN before its MLP comes
down to that while it memorises, and then leaves its path (softmax collapse, arXiv:2501.04697).
"""

from __future__ import annotations

from collections.abc import Sequence

from grokinterp.config import ModelConfig, RunConfig
from grokinterp.experiments.curves import column_figure, probe_figure
from grokinterp.experiments.experiment import Done, Experiment, Planned, Results, each_seed
from grokinterp.experiments.outcomes import grouped_outcomes
from grokinterp.experiments.positions import LN_POSITIONS
from grokinterp.experiments.recipe import PAPER, SEEDS, SINGLE_PRECISION

PRECISIONS = {"float64": PAPER, "float32": SINGLE_PRECISION}


def label(placement: str, precision: str) -> str:
    return f"{placement}, {precision}"


def plan(seeds: Sequence[int]) -> list[Planned]:
    configs = {
        label(placement, precision): RunConfig(model=ModelConfig(placement), train=train)
        for placement in LN_POSITIONS
        for precision, train in PRECISIONS.items()
    }
    return each_seed(configs, seeds)


def results(done: Done) -> Results:
    groups = {
        placement: {precision: label(placement, precision) for precision in PRECISIONS}
        for placement in LN_POSITIONS
    }
    plain = [one for one in done if one[0].label.startswith("off")]
    figures = {
        "train_loss": column_figure(
            plain, "train_loss", "train loss", "nats", "No LN: train loss", log_values=True
        ),
        "effective_rank": probe_figure(
            plain,
            "compressibility",
            "effective_rank",
            "effective rank",
            title="No LN: effective rank of the last residual, train inputs",
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
