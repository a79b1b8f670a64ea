"""Where LN sits, and when the model generalises: the paper's first experiment."""

from __future__ import annotations

from collections.abc import Sequence

from grokinterp.audit.claim import CLEAR, Claim, Finding, above
from grokinterp.audit.statistics import agreements, by_seed, rule_met
from grokinterp.experiments.curves import accuracy_figure, column_figure, overview_figure
from grokinterp.experiments.experiment import Done, Experiment, Planned, Results
from grokinterp.experiments.positions import LN_POSITIONS, placements, position_order
from grokinterp.experiments.published import generalisation_epochs
from grokinterp.experiments.tables import runs_table, seeds_table

CONCENTRATED = rule_met("fourier_concentration", "value")


def plan(seeds: Sequence[int]) -> list[Planned]:
    return placements(LN_POSITIONS, seeds)


def order(done: Done) -> list[Finding]:
    return position_order(done, paper=generalisation_epochs())


def fourier(done: Done) -> list[Finding]:
    return [
        above(
            "Kendall's τ over placements, epoch of concentration 1 and generalisation epoch",
            agreements(by_seed(done), LN_POSITIONS, CONCENTRATED),
            CLEAR,
        )
    ]


def results(done: Done) -> Results:
    figures = {
        "accuracy": accuracy_figure(done, "LN position: test accuracy"),
        "train_accuracy": column_figure(
            done, "train_accuracy", "train accuracy", title="LN position: train accuracy"
        ),
        "test_loss": column_figure(
            done, "test_loss", "test loss", "nats", "LN position: test loss", log_values=True
        ),
        "fourier_concentration": column_figure(
            done,
            "fourier_concentration.value",
            "Fourier concentration",
            title="LN position: periodicity of the embedding",
        ),
        "weight_norm": column_figure(
            done, "weight_norm", "weight norm", title="LN position: weight norm"
        ),
        "update_norm": column_figure(
            done,
            "update_norm",
            "update norm",
            title="LN position: size of an update, decay included",
            log_values=True,
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
    claims=(
        Claim(
            "ln_position_modulates_grokking",
            "generalisation epoch: M < M+A* < A* <= No LN",
            order,
        ),
        Claim(
            "fourier",
            "the epoch at which the Fourier concentration of the embedding reaches 1 orders like "
            "the generalisation epoch",
            fourier,
        ),
    ),
)
