"""Which of direction or norm of the MLP's input carries the memorised solution."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from grokinterp.config import TrainConfig
from grokinterp.figures.strip import strip
from grokinterp.grokking import MEMORISED_ACCURACY
from grokinterp.placement import PLACEMENTS
from grokinterp.reproduction.experiment import Afterwards, Done, Experiment, Planned, Results
from grokinterp.reproduction.positions import placements
from grokinterp.reproduction.recipe import SEEDS
from grokinterp.store.run import Run

# The paper's recipe, ended where the training pairs are known.
UNTIL_MEMORISED = TrainConfig(
    epochs=1000,
    eval_every=1,
    checkpoint_every=None,
    stop_when=f"train_accuracy >= {MEMORISED_ACCURACY}",
)
UNIT_NORM = "shortcut:split=train"
SHUFFLED = "shortcut:kind=shuffle_norm,split=train"
READOUT = "norm_readout"


def plan(seeds: Sequence[int]) -> list[Planned]:
    afterwards = [Afterwards((UNIT_NORM, SHUFFLED, READOUT))]
    return placements(PLACEMENTS, seeds, UNTIL_MEMORISED, afterwards)


def results(done: Done) -> Results:
    table = pd.DataFrame([_row(planned, run) for planned, run in done])
    rises = {
        name: {
            str(placement): rows[f"{name}: rise of train loss"].tolist()
            for placement, rows in table.groupby("placement", sort=False)
        }
        for name in ("x/‖x‖", "norm of another")
    }
    figure = strip(
        rises,
        "rise of the train loss",
        "nats",
        title="When memorised, the MLP reads its input without its own norm",
    )
    return Results({"loss_rise": figure}, {"direction_or_norm": table})


def _row(planned: Planned, run: Run) -> dict[str, object]:
    found = run.probes
    of_end = found[found["epoch"] == run.epoch]
    values = of_end.set_index(["probe", "name"])["value"]
    loss = values[UNIT_NORM, "train_loss"]
    row = {
        "placement": planned.label,
        "seed": run.config.seed,
        "memorised": str(run.grokking.memorised),
        "train loss": loss - values[UNIT_NORM, "train_loss_rise"],
    }
    for name, probe in (("x/‖x‖", UNIT_NORM), ("norm of another", SHUFFLED)):
        row[f"{name}: rise of train loss"] = values[probe, "train_loss_rise"]
        row[f"{name}: train accuracy"] = values[probe, "train_accuracy"]
    row["label from the norm, above shuffled labels"] = values[READOUT, "rise"]
    return row


DIRECTION_OR_NORM = Experiment(
    title="Direction or norm",
    question=(
        "When a model has memorised, what of the MLP's input carries the solution: its direction, "
        "or what its norm says about the example?"
    ),
    plan=plan,
    results=results,
    seeds=SEEDS[:3],
)
