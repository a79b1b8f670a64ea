"""The shortcut pathway: how much the solution leans on the norm of the MLP's input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F

from grokinterp.checks import check_one_of
from grokinterp.hooks import RemoveNorm, ShuffleNorm, UnitNorm, applied
from grokinterp.hooks.pathway import INPUT_HOOKS, pathway_norm, reads_by_output
from grokinterp.model.memo import hooks_of
from grokinterp.placement import PATHWAYS
from grokinterp.snapshot import Snapshot, Split

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer

Kind = Literal["unit_norm", "shuffle_norm"]
Convention = Literal["isolated", "paper"]


def shortcut(
    snapshot: Snapshot,
    kind: Kind = "unit_norm",
    pathway: Literal["q", "k", "v", "mlp"] = "mlp",
    convention: Convention = "isolated",
    split: Literal["both", "train", "test"] = "both",
    seed: int = 0,
) -> dict[str, float | np.ndarray]:
    """Loss and accuracy without the norm of a pathway's input, and their change.

    Args:
        kind: The input x that the pathway's weights multiply becomes x/‖x‖ (`unit_norm`), or keeps
            its direction and takes the norm of another example (`shuffle_norm`).
        pathway: Whose input.
        convention: `isolated`: everything else is intact, every LN included. `paper`: the authors'
            probe, which besides removes every LN of the attention and the MLP; on placements with
            attention LN it so measures that removal too.
        split: The inputs.
        seed: Draws whose norm an example takes.

    Returns:
        train_loss (float): Under the ablation: the task's cross-entropy of the model's logits,
            whatever a recipe adds to it, in nats (float64). 0 or more.
        train_accuracy (float): 0 to 1.
        train_loss_rise (float): The loss less the intact model's.
        test_loss (float): And the others, of the test examples.

    Nothing to find:
        A rise of 0. With x/‖x‖ a model that does not use the norm has a rise too, because its
        weights expect another scale: `shuffle_norm` keeps the scale.

    Source:
        `convention="paper"`: arXiv:2602.06702.
    """
    interventions: list[RemoveNorm | UnitNorm | ShuffleNorm]
    check_one_of("convention", convention, get_args(Convention))
    check_one_of("kind", kind, get_args(Kind))
    if convention == "paper":
        if (kind, pathway) != ("unit_norm", "mlp"):
            raise ValueError("the paper's convention is unit_norm of the mlp input alone")
        interventions = [*map(RemoveNorm, _with_norm(snapshot.model)), UnitNorm("mlp")]
    elif kind == "unit_norm":
        interventions = [UnitNorm(pathway)]
    else:
        interventions = [ShuffleNorm(pathway, seed=seed)]
    values: dict[str, float | np.ndarray] = {}
    sides: tuple[Split, ...] = ("train", "test") if split == "both" else (split,)
    for side in sides:
        inputs = snapshot.inputs(side)
        # Before the hooks are on: the snapshot's own pass runs when it is first read.
        if convention == "paper" or not reads_by_output(snapshot.model, pathway):
            inputs.last(INPUT_HOOKS[pathway].format(layer=0))  # Refused if it is not there.
        intact = F.cross_entropy(inputs.logits.double(), inputs.labels).item()
        with torch.no_grad(), applied(snapshot.model, interventions) as ablated:
            if ablated.cfg.n_layers == 1 and all(one.pathway == "mlp" for one in interventions):
                logits = inputs.rerun_last_mlp()
            else:
                logits = ablated(inputs.tokens)[:, -1]
        logits = logits.double()
        loss = F.cross_entropy(logits, inputs.labels).item()
        values[f"{side}_loss"] = loss
        values[f"{side}_accuracy"] = (logits.argmax(-1) == inputs.labels).double().mean().item()
        values[f"{side}_loss_rise"] = loss - intact
    return values


def _with_norm(model: HookedTransformer) -> list[str]:
    """The pathways but those that are known to read the residual stream as it is."""
    unknown = hooks_of(model) or not hasattr(model.blocks[0], "placement")
    return [p for p in PATHWAYS if unknown or pathway_norm(model, p, 0) is not None]
