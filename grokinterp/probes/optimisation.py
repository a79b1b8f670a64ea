"""How large the weights and the logits are, and whether the softmax still passes gradients."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from grokinterp.loss import by_margins, loss_logits
from grokinterp.snapshot import NotApplicable, Snapshot, Split

Values = dict[str, float | np.ndarray]


def norms(snapshot: Snapshot) -> Values:
    """Euclidean norms of the weights.

    Every parameter counts, frozen ones too, as in a run's `weight_norm`.

    Returns:
        total (float): Of all of them.
        values (dict): Each parameter's, by its name.
        distance_from_initial (float): ‖θ − θ₀‖ over all parameters, where the snapshot knows the
            start of its training.

    Nothing to find:
        The initial weights have the norms that their distribution gives; distance_from_initial is
        0.

    Source:
        Weight norm as a cause of grokking: arXiv:2210.01117.
    """
    weights = _weights(snapshot)
    values: Values = {name: weight.norm().item() for name, weight in weights.items()}
    values["total"] = _total(weights)
    if not snapshot.has_others:  # It is not from a run.
        return values
    start = _weights(snapshot.other("initial"))
    moved = {name: weight - start[name] for name, weight in weights.items()}
    values["distance_from_initial"] = _total(moved)
    return values


def logit_scale(snapshot: Snapshot, split: Split = "train") -> Values:
    """How large the logits are, and how far the largest is ahead, at the last position.

    Means over the inputs, over every class that the softmax of training has, `=` included. The
    margins do not change if a constant is added to an input's logits; `mean_abs` does.

    Args:
        split: The inputs: `train`, `test` or `grid`, which is all of them.

    Returns:
        mean_abs (float): Of |z|. 0 or more.
        top2_margin (float): The largest logit minus the second largest. 0 or more.
        correct_margin (float): The label's logit minus the largest other one; negative where the
            prediction is wrong.

    Nothing to find:
        All near 0 for small weights, with correct_margin below 0.

    Source:
        Logits that grow without bound: arXiv:2501.04697.
    """
    inputs = snapshot.inputs(split)
    return dict(margins(inputs.logits.cpu().double(), inputs.labels.cpu()))


def margins(
    logits: Float[Tensor, "batch d_vocab"], labels: Int[Tensor, " batch"]
) -> dict[str, float]:
    """The values of `logit_scale`.

    >>> margins(torch.tensor([[3.0, -1.0, 2.0]]), torch.tensor([2]))
    {'mean_abs': 2.0, 'top2_margin': 1.0, 'correct_margin': -1.0}
    """
    first, second = logits.topk(2).values.unbind(-1)
    correct = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return {
        "mean_abs": logits.abs().mean().item(),
        "top2_margin": (first - second).mean().item(),
        "correct_margin": (correct[:, 0] - others.amax(-1)).mean().item(),
    }


def softmax_collapse(snapshot: Snapshot, split: Split = "train") -> Values:
    """Shares of the examples whose softmax is exactly one-hot, so that they pass no gradient.

    z are the logits as the snapshot's recipe gives them to its loss (less the initial ones, by its
    temperature), in the precision of its loss, which is float64 where no recipe is known. float32
    collapses at margins of about 17, float64 of about 37.

    Args:
        split: The inputs: `train`, `test` or `grid`, which is all of them.

    Returns:
        one_hot (float): Σ_c exp(z_c − max z) rounds to 1, so that every other class is lost in the
            sum; of a loss by margins, whose sum leaves the 1 out: that sum is exactly 0. 0 to 1.
        zero_loss (float): The cross-entropy is exactly 0: the label is the largest, too, and the
            example no longer pulls its logit up. 0 to 1.

    Raises:
        NotApplicable: The recipe's loss is no cross-entropy; or it subtracts the initial
            prediction, and the snapshot knows no initial checkpoint, or hooks act on it.

    Nothing to find:
        0.

    Source:
        arXiv:2501.04697.
    """
    inputs, recipe = snapshot.inputs(split), snapshot.recipe
    if recipe.loss != "cross-entropy":
        raise NotApplicable(f"the recipe's loss is {recipe.loss}, which has no softmax to collapse")
    initial = None
    if recipe.subtract_initial_prediction:
        start = snapshot.other("initial")
        # The loss subtracts what the bare initial network says, whatever acts while training.
        start.require_unhooked("softmax_collapse less the initial prediction")
        initial = start.inputs(split).logits.cpu()
    logits, labels = loss_logits(recipe, inputs.logits.cpu(), initial), inputs.labels.cpu()
    by_form = {"log-softmax": collapsed, "margins": collapsed_by_margins}
    return dict(by_form[recipe.loss_form](logits, labels))


softmax_collapse.version = 2  # type: ignore[attr-defined]


def collapsed(
    logits: Float[Tensor, "batch d_vocab"], labels: Int[Tensor, " batch"]
) -> dict[str, float]:
    """The values of `softmax_collapse`, at the logits' dtype.

    >>> collapsed(torch.tensor([[20.0, 0.0], [10.0, 0.0]]), torch.tensor([1, 0]))
    {'one_hot': 0.5, 'zero_loss': 0.0}
    """
    sums = (logits - logits.amax(-1, keepdim=True)).exp().sum(-1)
    losses = F.cross_entropy(logits, labels, reduction="none")
    count = len(labels)
    return {
        "one_hot": (sums == 1).sum().item() / count,
        "zero_loss": (losses == 0).sum().item() / count,
    }


def collapsed_by_margins(
    logits: Float[Tensor, "batch d_vocab"], labels: Int[Tensor, " batch"]
) -> dict[str, float]:
    """The values of `softmax_collapse` where the loss is computed by margins.

    >>> collapsed_by_margins(torch.tensor([[20.0, 0.0], [200.0, 0.0]]), torch.tensor([0, 0]))
    {'one_hot': 0.5, 'zero_loss': 0.5}
    """
    losses, _, _ = by_margins(logits, labels)
    top = F.one_hot(logits.argmax(-1), logits.shape[-1]).bool()
    others = (logits - logits.amax(-1, keepdim=True)).exp().masked_fill(top, 0).sum(-1)
    return {
        "one_hot": (others == 0).double().mean().item(),
        "zero_loss": (losses == 0).double().mean().item(),
    }


def _weights(snapshot: Snapshot) -> dict[str, Tensor]:
    return {name: p.detach().cpu().double() for name, p in snapshot.model.named_parameters()}


def _total(tensors: dict[str, Tensor]) -> float:
    return torch.stack([tensor.norm() for tensor in tensors.values()]).norm().item()
