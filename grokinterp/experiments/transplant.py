"""LN transplant: take the MLP's norm out of a trained model, or put one in, and train on.

The transplant changes the function as little as a fixed one can. Out: the norm's gain, bias and
centring go into W_in and b_in, over the mean scale σ̄ of the train inputs. In: the norm's gain is σ̄
of what the MLP reads, and its bias the mean of what centring takes away. What is left is the
variation of σ over the examples, which is what the norm removes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.experiments.experiment import Experiment, Fork, Planned, Results, accuracy_figure
from grokinterp.experiments.recipe import PAPER
from grokinterp.runs import Run
from grokinterp.snapshot import Snapshot

REMOVED_AT = (500, 1500, 3000)
INSERTED_AT = 500
TRAINED_ON = TrainConfig(epochs=3000, checkpoint_every=500)


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
        normed, plain = (
            RunConfig(model=ModelConfig(placement), train=PAPER, seed=seed)
            for placement in ("mlp-pre", "off")
        )
        off, mlp_pre = (replace(config, train=TRAINED_ON) for config in (plain, normed))
        for epoch in REMOVED_AT:
            label = f"LN removed at {epoch:,}"
            planned.append(Planned(label, off, Fork(normed, epoch, without_mlp_norm)))
        kept = Fork(normed, INSERTED_AT, unchanged)
        planned.append(Planned(f"LN kept from {INSERTED_AT:,}", mlp_pre, kept))
        inserted = Fork(plain, INSERTED_AT, with_mlp_norm)
        planned.append(Planned(f"LN inserted at {INSERTED_AT:,}", mlp_pre, inserted))
        none = Fork(plain, INSERTED_AT, unchanged)
        planned.append(Planned(f"no LN from {INSERTED_AT:,}", off, none))
    return planned


def results(done: list[tuple[Planned, Run]]) -> Results:
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
                "test accuracy at the end": last["test_accuracy"],
                "test loss at the end": last["test_loss"],
            }
        )
    figure = accuracy_figure(
        done, "LN before the MLP, taken out and put in: epochs since the transplant"
    )
    return Results({"test_accuracy": figure}, {"transplant": pd.DataFrame(rows)})


TRANSPLANT = Experiment(
    title="LN transplant",
    question=(
        "Is the norm before the MLP needed to generalise early, to stay general, or both? Remove "
        "it from mlp-pre before and after it generalises; insert it where No LN has memorised."
    ),
    plan=plan,
    results=results,
)
