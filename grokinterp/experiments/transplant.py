"""LN transplant: take the MLP's norm out of a trained model, or put one in, and train on.

The transplant changes the function as little as a fixed one can. Out: the norm's gain, bias and
centring go into W_in and b_in, over the mean scale σ̄ of the train inputs. In: the norm's gain is σ̄
of what the MLP reads, and its bias the mean of what centring takes away. What is left is the
variation of σ over the examples, which is what the norm removes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.figures.strip import strip
from grokinterp.reproduction.curves import accuracy_figure, generalising_epochs
from grokinterp.reproduction.experiment import Done, Experiment, Fork, Planned, Results
from grokinterp.reproduction.recipe import SEEDS

if TYPE_CHECKING:
    from grokinterp.snapshot import Snapshot

REMOVED_AT = (500, 1500, 3000)
KEPT_AT = (500, 1500)
INSERTED_AT = 500
NORMED = TrainConfig(epochs=max(REMOVED_AT), checkpoint_every=500)
PLAIN = TrainConfig(epochs=INSERTED_AT, checkpoint_every=INSERTED_AT)
# Long enough for a model without LN to generalise, and then to be seen to stay there.
TRAINED_ON = TrainConfig(
    epochs=5000, checkpoint_every=1000, stop_when="test_accuracy >= 0.995 for 500"
)


def without_mlp_norm(snapshot: Snapshot) -> dict[str, Tensor]:
    """Weights of an `off` model that reads what this `mlp-pre` model's MLP read, at mean scale."""
    weights = _parameters(snapshot)
    gain, bias = weights.pop("blocks.0.ln2.w"), weights.pop("blocks.0.ln2.b")
    scale = snapshot.train.cache["blocks.0.ln2.hook_scale"][:, -1].mean()
    w_in = weights["blocks.0.mlp.W_in"]
    weights["blocks.0.mlp.b_in"] = weights["blocks.0.mlp.b_in"] + bias @ w_in
    scaled = gain[:, None] * w_in / scale
    weights["blocks.0.mlp.W_in"] = scaled - scaled.mean(0)
    return weights


def with_mlp_norm(snapshot: Snapshot) -> dict[str, Tensor]:
    """Weights of an `mlp-pre` model whose norm gives back, at mean scale, what its MLP read."""
    weights = _parameters(snapshot)
    x = snapshot.train.cache["resid_mid", 0][:, -1]
    scale = x.std(-1, correction=0).mean()
    weights["blocks.0.ln2.w"] = scale.expand(x.shape[-1]).clone()
    weights["blocks.0.ln2.b"] = x.mean().expand(x.shape[-1]).clone()
    return weights


def unchanged(snapshot: Snapshot) -> dict[str, Tensor]:
    """The control: the same weights, with the optimiser's moments at zero as in the others."""
    return _parameters(snapshot)


def _parameters(snapshot: Snapshot) -> dict[str, Tensor]:
    with torch.no_grad():
        return {name: p.detach().clone() for name, p in snapshot.model.named_parameters()}


def plan(seeds: Sequence[int]) -> list[Planned]:
    planned = []
    for seed in seeds:
        normed = RunConfig(model=ModelConfig("mlp-pre"), train=NORMED, seed=seed)
        plain = RunConfig(model=ModelConfig("off"), train=PLAIN, seed=seed)
        mlp_pre, off = (replace(parent, train=TRAINED_ON) for parent in (normed, plain))
        cases = [
            *((f"LN removed at {e:,}", off, Fork(normed, e, without_mlp_norm)) for e in REMOVED_AT),
            *((f"LN kept from {e:,}", mlp_pre, Fork(normed, e, unchanged)) for e in KEPT_AT),
            (f"LN inserted at {INSERTED_AT:,}", mlp_pre, Fork(plain, INSERTED_AT, with_mlp_norm)),
            (f"no LN from {INSERTED_AT:,}", off, Fork(plain, INSERTED_AT, unchanged)),
        ]
        planned += [Planned(*case) for case in cases]
    return planned


def results(done: Done) -> Results:
    rows = []
    for planned, run in done:
        metrics = run.metrics
        first, last = metrics.iloc[0], metrics.iloc[-1]
        rows.append(
            {
                "transplant": planned.label,
                "seed": run.config.seed,
                "test accuracy after 1 epoch": first["test_accuracy"],
                "lowest within 100 epochs": metrics[metrics["epoch"] <= 100]["test_accuracy"].min(),
                "generalised after": str(run.grokking.generalised),
                "epochs": last["epoch"],
                "test accuracy at the end": last["test_accuracy"],
                "test loss at the end": last["test_loss"],
            }
        )
    figures = {
        "overview": strip(
            {"here": generalising_epochs(done)},
            "epochs from the transplant to generalising",
            log=True,
            title="LN before the MLP, taken out and put in",
        ),
        "test_accuracy": accuracy_figure(
            done, "LN before the MLP, taken out and put in: epochs since the transplant"
        ),
    }
    return Results(figures, {"transplant": pd.DataFrame(rows)})


TRANSPLANT = Experiment(
    title="LN transplant",
    question=(
        "Is the norm before the MLP needed to generalise early, to stay general, or both? Remove "
        "it from mlp-pre before and after it generalises; insert it where No LN has memorised."
    ),
    plan=plan,
    results=results,
    seeds=SEEDS[:3],
)
