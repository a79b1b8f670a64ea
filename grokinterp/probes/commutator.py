"""The commutator defect: how far two gradient steps differ by which of them is taken first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from grokinterp.checks import check_one_of, integer, positive
from grokinterp.probes.hessian import Vector, flat, gradient_and_product
from grokinterp.snapshot import Snapshot

Convention = Literal["limit", "paper"]
Loss = Callable[[Mapping[str, Tensor]], Tensor]


@torch.inference_mode(False)  # Which switches gradients on, too.
def commutator_defect(
    snapshot: Snapshot,
    convention: Convention = "limit",
    draws: int = 9,
    step_size: float = 1e-3,
    seed: int = 0,
) -> dict[str, float | np.ndarray]:
    """How far two gradient steps, on halves A and B of the train set, fail to commute.

    ‖θ_AB - θ_BA‖/(‖ηg_A‖ ‖ηg_B‖), where θ_AB is θ after a step of size η on A and then one on B. g
    is the gradient and H the Hessian of a half's mean cross-entropy: the task's, of the model's own
    logits, in float64, whatever a recipe adds to it. Over the trainable parameters. At p = 113 the
    defaults take about eight seconds on one core.

    Args:
        convention: `limit`: that for η -> 0, which is ‖H_B g_A - H_A g_B‖/(‖g_A‖ ‖g_B‖), exact. The
            ReLU's kinks count as flat. `paper`: at η = `step_size`, whose steps cross kinks, where
            the gradient jumps: from as large as the limit to twenty times that on the models that
            ship. It steps in the model's dtype, which in float32 rounds the steps of small
            gradients away: `off`, grokked, has 0, and 31 in float64.
        draws: How many pairs of disjoint random halves; the value is the median over them. Where
            the train examples are odd in number, each draw leaves one out.
        step_size: η, of `paper` alone.
        seed: Draws the halves.

    Returns:
        value (float): The median, in the inverse of the weights' units. 0 or more; NaN where a
            gradient is 0.
        defects ([draw]): Each pair's.

    Raises:
        NotApplicable: Hooks of the model mix examples, because a half would mix others.

    Nothing to find:
        0 where the two steps commute, as where the loss is not curved, or both halves have the same
        one. About 2 for the paper's initial weights.

    Source:
        arXiv:2602.16746, with its 9 draws and η.
    """
    check_one_of("convention", convention, get_args(Convention))
    draws, seed = integer("draws", draws, 1), integer("seed", seed)
    step_size = positive("step_size", step_size)
    snapshot.require_unmixed("commutator_defect", snapshot.train)
    model, train = snapshot.model, snapshot.train
    named = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    half = len(train.labels) // 2

    def loss_on(rows: Tensor) -> Loss:
        tokens, labels = train.tokens[rows], train.labels[rows]

        def loss(parameters: Mapping[str, Tensor]) -> Tensor:
            logits = torch.func.functional_call(model, dict(parameters), (tokens,))
            return F.cross_entropy(logits[:, -1].double(), labels)

        return loss

    rng = np.random.default_rng(seed)
    defects = []
    for _ in range(draws):
        order = torch.from_numpy(rng.permutation(len(train.labels))).to(train.labels.device)
        a, b = loss_on(order[:half]), loss_on(order[half : 2 * half])
        defects.append(
            limit_defect(a, b, named)
            if convention == "limit"
            else stepped_defect(a, b, named, step_size)
        )
    return {"value": float(np.median(defects)), "defects": np.array(defects)}


def limit_defect(loss_a: Loss, loss_b: Loss, parameters: Mapping[str, Tensor]) -> float:
    """‖H_B g_A - H_A g_B‖/(‖g_A‖ ‖g_B‖) of two scalar functions of named tensors.

    >>> weights = {"w": torch.tensor([1.0, 1.0], dtype=torch.float64)}
    >>> first, both = lambda named: named["w"][0] ** 2, lambda named: named["w"].sum() ** 2
    >>> round(limit_defect(first, both, weights) ** 2, 12)  # g = (2, 0), (4, 4): (-4, 4)/(2·4√2)
    0.25
    """
    g_a, of_a = gradient_and_product(loss_a, parameters)
    g_b, of_b = gradient_and_product(loss_b, parameters)
    return _relative(of_b(g_a) - of_a(g_b), g_a, g_b)


def stepped_defect(
    loss_a: Loss, loss_b: Loss, parameters: Mapping[str, Tensor], step_size: float
) -> float:
    """‖θ_AB - θ_BA‖/(‖ηg_A‖ ‖ηg_B‖) for steps of size η."""
    g_a, g_b = _gradient(loss_a, parameters), _gradient(loss_b, parameters)
    then_b = _gradient(loss_b, _moved(parameters, -step_size * g_a))
    then_a = _gradient(loss_a, _moved(parameters, -step_size * g_b))
    # θ_AB - θ_BA without θ, in which the difference of such small steps would drown.
    apart = (then_a - g_a) - (then_b - g_b)
    return _relative(apart / step_size, g_a, g_b)


def _gradient(loss: Loss, parameters: Mapping[str, Tensor]) -> Vector:
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}
    found = torch.autograd.grad(loss(leaves), list(leaves.values()), materialize_grads=True)
    return flat(found)


def _moved(parameters: Mapping[str, Tensor], by: Vector) -> dict[str, Tensor]:
    parts = torch.from_numpy(by).split([tensor.numel() for tensor in parameters.values()])
    return {
        name: (tensor.double() + part.view_as(tensor).to(tensor.device)).to(tensor)
        for (name, tensor), part in zip(parameters.items(), parts, strict=True)
    }


def _relative(difference: Vector, g_a: Vector, g_b: Vector) -> float:
    scale = np.linalg.norm(g_a) * np.linalg.norm(g_b)
    return float(np.linalg.norm(difference) / scale) if scale > 0 else float("nan")
