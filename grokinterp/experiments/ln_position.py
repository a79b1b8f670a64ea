"""Where LN sits, and when the model generalises: the paper's first experiment."""

from __future__ import annotations

from collections.abc import Sequence

from grokinterp.audit import rules
from grokinterp.reproduction.against_paper import Comparison, accurate, of_best, of_mean
from grokinterp.reproduction.against_paper import compare as compare_with
from grokinterp.reproduction.curves import (
    SMOOTHED,
    accuracy_figure,
    by_label,
    column_figure,
    overview_figure,
)
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results
from grokinterp.reproduction.positions import LN_POSITIONS, placements
from grokinterp.reproduction.published import best_seed_epochs, generalisation_epochs
from grokinterp.reproduction.recipe import FRESH_SEEDS, SEEDS
from grokinterp.reproduction.tables import runs_table, seeds_table

ORDER = rules.ln_position(generalisation_epochs())


def plan(seeds: Sequence[int]) -> list[Planned]:
    return placements(LN_POSITIONS, seeds)


def compare(done: Done) -> list[Comparison]:
    """The epochs of the mean curve, and of the best seed, as the paper reports them."""
    found = []
    for name, runs in by_label(done).items():
        curves = [run.metrics.set_index("epoch")["test_accuracy"] for run in runs]
        for what, published, statistic in (
            ("mean test accuracy 0.995", generalisation_epochs(), of_mean(accurate)),
            ("test accuracy 1 of the best seed", best_seed_epochs(), of_best(1.0)),
        ):
            said = f"{name}: epoch of {what}"
            found.append(compare_with(ORDER.name, said, published[name], curves, statistic))
    return found


def results(done: Done) -> Results:
    figures = {
        "accuracy": accuracy_figure(done, "LN position: test accuracy"),
        "train_accuracy": column_figure(
            done,
            "train_accuracy",
            "train accuracy",
            title="LN position: train accuracy",
            window=SMOOTHED,
        ),
        "test_loss": column_figure(
            done,
            "test_loss",
            "test loss",
            "nats",
            "LN position: test loss",
            log_values=True,
            window=SMOOTHED,
        ),
        "fourier_concentration": column_figure(
            done,
            "fourier_concentration.value",
            "Fourier concentration",
            title="LN position: periodicity of the embedding",
            window=SMOOTHED,
        ),
        "weight_norm": column_figure(
            done, "weight_norm", "weight norm", title="LN position: weight norm", window=SMOOTHED
        ),
        "update_norm": column_figure(
            done,
            "update_norm",
            "update norm",
            title="LN position: size of an update, decay included",
            log_values=True,
            window=SMOOTHED,
        ),
        "overview": overview_figure(
            done, "LN position: when each seed generalised", generalisation_epochs()
        ),
    }
    tables = {"seeds": seeds_table(done, generalisation_epochs()), "runs": runs_table(done)}
    return Results(figures, tables)


LN_POSITION = Experiment(
    title="LN position",
    question="Does where LN sits decide when the model generalises?",
    plan=plan,
    results=results,
    seeds=SEEDS + FRESH_SEEDS,
    claims=(ORDER, rules.fourier(LN_POSITIONS)),
    compare=compare,
)
