"""Optimisers over a leading run axis."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from grokinterp.config import TrainConfig
from grokinterp.store.state import RunState, Weights
from grokinterp.training.layout import Layout, Vectors

Column = Float[Tensor, "run 1"]


class Optimizer(ABC):
    """Steps flat parameters [run, parameter] in place, at each run's own rates.

    The step count lives on the device, so that a step never waits for it.

    Args:
        recipe: With its options.
        layout: Of the parameters.
        states: What each run goes on from.
    """

    keeps: ClassVar[tuple[str, ...]] = ()
    """Names of what it keeps of past gradients, a vector like the parameters for each."""

    def __init__(self, recipe: TrainConfig, layout: Layout, states: Sequence[RunState]) -> None:
        self.recipe, self.layout = recipe, layout
        self.moments = {name: kept_or_zeros(states, name, layout) for name in self.keeps}
        steps = [state.steps for state in states]
        self.steps = torch.tensor(steps, dtype=layout.dtype, device=layout.device)[:, None]

    def step(self, theta: Vectors, gradient: Vectors, lr: Column, weight_decay: Column) -> None:
        """Update theta in place."""
        self.steps += 1
        self._step(theta, gradient, lr, weight_decay)

    def kept(self, run: int) -> tuple[dict[str, Weights], int]:
        """Copies of what it keeps of a run, by name and parameter, and its step count."""
        moments = {name: self.layout.of_run(flat, run) for name, flat in self.moments.items()}
        return moments, round(self.steps[run].item())

    @abstractmethod
    def _step(
        self, theta: Vectors, gradient: Vectors, lr: Column, weight_decay: Column
    ) -> None: ...

    def _adam(self, gradient: Vectors, lr: Column) -> Vectors:
        """The step along the first moment over the root of the second (arXiv:1412.6980).

        With an eps of 0 a parameter whose gradient was always exactly 0 takes no step: the limit
        of 0/(0 + eps). torch's classes give NaN there, and a ReLU network whose initial weights
        leave a neuron off for every example diverges at once.
        """
        beta1, beta2 = self.recipe.betas
        first, second = self.moments["first_moment"], self.moments["second_moment"]
        first.lerp_(gradient, 1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = second.sqrt()
        denominator.div_((1 - beta2**self.steps).sqrt())
        if self.recipe.adam_eps:
            denominator.add_(self.recipe.adam_eps)
        else:
            denominator.masked_fill_(denominator == 0, 1)
        step_size = lr / (1 - beta1**self.steps)
        return (first / denominator).mul_(step_size)


def kept_or_zeros(states: Sequence[RunState], name: str, layout: Layout) -> Vectors:
    """What the states keep under a name, and zeros for those that keep nothing yet."""
    flat = layout.zeros(len(states))
    views = layout.views(flat)
    for run, state in enumerate(states):
        for parameter, tensor in state.optimizer.get(name, {}).items():
            if parameter in views:  # A fork may freeze what its parent trained.
                views[parameter][run].copy_(tensor)
    return flat


class AdamW(Optimizer):
    """Adam with decoupled weight decay (arXiv:1711.05101)."""

    keeps = ("first_moment", "second_moment")

    def _step(self, theta: Vectors, gradient: Vectors, lr: Column, weight_decay: Column) -> None:
        # One pass instead of ten. It takes rates as numbers, which an accelerator would wait for.
        if len(theta) == 1 and theta.device.type == "cpu" and self.recipe.adam_eps:
            beta1, beta2 = self.recipe.betas
            torch._fused_adamw_(
                [theta],
                [gradient],
                [self.moments["first_moment"]],
                [self.moments["second_moment"]],
                [],
                [self.steps[0, 0]],
                lr=lr.item(),
                beta1=beta1,
                beta2=beta2,
                weight_decay=weight_decay.item(),
                eps=self.recipe.adam_eps,
                amsgrad=False,
                maximize=False,
            )
            return
        theta *= 1 - lr * weight_decay
        theta -= self._adam(gradient, lr)


class Adam(Optimizer):
    """Adam with the decay in the gradient (L2)."""

    keeps = ("first_moment", "second_moment")

    def _step(self, theta: Vectors, gradient: Vectors, lr: Column, weight_decay: Column) -> None:
        theta -= self._adam(gradient + weight_decay * theta, lr)


class SGD(Optimizer):
    """Gradient descent with momentum, the decay in the gradient."""

    keeps = ("first_moment",)

    def _step(self, theta: Vectors, gradient: Vectors, lr: Column, weight_decay: Column) -> None:
        gradient = gradient + weight_decay * theta
        buffer = self.moments["first_moment"]
        assert self.recipe.momentum is not None
        buffer.mul_(self.recipe.momentum).add_(gradient)
        theta -= lr * buffer


class Muon(Optimizer):
    """Momentum, made orthogonal, for the weight matrices of attention and MLP; AdamW for the rest.

    Of a matrix's gradient g: m ← μ m + (1 − μ) g, then Nesterov's (1 − μ) g + μ m, whose singular
    values five Newton-Schulz steps bring near 1; that times 0.2 √(larger side) is the step, so
    that lr and decay mean what they mean to AdamW (arXiv:2502.16982). The heads of W_Q, W_K and
    W_V side by side, and those of W_O one above another, are one matrix. In the run's precision,
    where PyTorch's class rounds these products to bfloat16.
    """

    keeps = ("first_moment", "second_moment")

    def _step(self, theta: Vectors, gradient: Vectors, lr: Column, weight_decay: Column) -> None:
        gradients = self.layout.views(gradient)
        first, second = (self.layout.views(self.moments[name]) for name in self.keeps)
        momentum = self.recipe.momentum
        assert momentum is not None
        of_matrices = {}
        for name, g in gradients.items():
            if name.rpartition(".")[0].startswith("blocks.") and g.ndim > 2:
                buffer = first[name].lerp(g, 1 - momentum)
                seen = _as_matrix(name, g.lerp(buffer, momentum))
                size = 0.2 * max(seen.shape[1:]) ** 0.5
                of_matrices[name] = buffer, _as_heads(name, orthogonalised(seen), g) * size
        step = self._adam(gradient, lr)
        steps = self.layout.views(step)
        for name, (buffer, direction) in of_matrices.items():
            first[name].copy_(buffer)
            second[name].zero_()  # Which it has none of.
            steps[name].copy_(direction * lr.view(-1, *[1] * (direction.ndim - 1)))
        theta *= 1 - lr * weight_decay
        theta -= step


def orthogonalised(
    matrix: Float[Tensor, "run row column"],
) -> Float[Tensor, "run row column"]:
    """U S′ Vᵀ for U S Vᵀ, with singular values S′ between 0.7 and 1.2 or so, unless S is near 0.

    Five steps of X ← a X + (b XXᵀ + c (XXᵀ)²) X from X/‖X‖
    (https://kellerjordan.github.io/posts/muon/).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrix.shape[1] <= matrix.shape[2]
    x = matrix if wide else matrix.mT
    x = x / x.flatten(1).norm(dim=1)[:, None, None].clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.mT


def _as_matrix(name: str, tensor: Tensor) -> Float[Tensor, "run row column"]:
    if tensor.ndim == 3:
        return tensor
    # [run, head, d_model, d_head], and W_O [run, head, d_head, d_model].
    return tensor.flatten(1, 2) if name.endswith("W_O") else tensor.transpose(1, 2).flatten(2)


def _as_heads(name: str, matrix: Tensor, like: Tensor) -> Tensor:
    if like.ndim == 3:
        return matrix
    if name.endswith("W_O"):
        return matrix.view_as(like)
    return matrix.unflatten(2, (like.shape[1], like.shape[3])).transpose(1, 2)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adamw": AdamW,
    "adam": Adam,
    "sgd": SGD,
    "muon": Muon,
}
