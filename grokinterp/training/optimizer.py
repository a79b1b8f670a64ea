"""Optimisers over a leading run axis, each run with a learning rate and a decay of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from grokinterp.config import TrainConfig
from grokinterp.schedule import schedule_factor

Vectors = Float[Tensor, "run parameter"]
Column = Float[Tensor, "run 1"]


@dataclass
class Optimizer(ABC):
    """Steps flat parameters [run, parameter] in place.

    Its state is what it keeps of past gradients; the step count lives on the device, so that a
    step never waits for it.
    """

    recipe: TrainConfig
    lr: Column
    weight_decay: Column
    first_moment: Vectors
    second_moment: Vectors
    steps: Column

    @torch.no_grad()
    def step(self, theta: Vectors, gradient: Vectors, epoch: int = 1) -> None:
        """Update theta in place, at the rates of an epoch of the recipe's schedules."""
        lr = self._scheduled(self.lr, self.recipe.lr_schedule, epoch)
        weight_decay = self._scheduled(self.weight_decay, self.recipe.decay_schedule, epoch)
        self.steps += 1
        self._step(theta, gradient, lr, weight_decay)
        if self.recipe.max_norm is not None:
            norm = theta.norm(dim=1, keepdim=True)
            theta *= torch.where(norm > self.recipe.max_norm, self.recipe.max_norm / norm, 1)

    def _scheduled(self, rate: Column, schedule: str, epoch: int) -> Column:
        if schedule == "constant":
            return rate
        return rate * schedule_factor(schedule, epoch, self.recipe.epochs)

    @abstractmethod
    def _step(
        self, theta: Vectors, gradient: Vectors, lr: Column, weight_decay: Column
    ) -> None: ...

    def _adam(self, theta: Vectors, gradient: Vectors, lr: Column) -> None:
        """The step along the first moment over the root of the second (arXiv:1412.6980).

        With an eps of 0 a parameter whose gradient was always exactly 0 takes no step: the limit
        of 0/(0 + eps). torch's classes give NaN there, and a ReLU network whose initial weights
        leave a neuron off for every example diverges at once.
        """
        beta1, beta2 = self.recipe.betas
        self.first_moment.lerp_(gradient, 1 - beta1)
        self.second_moment.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = self.second_moment.sqrt()
        denominator.div_((1 - beta2**self.steps).sqrt())
        if self.recipe.adam_eps:
            denominator.add_(self.recipe.adam_eps)
        else:
            denominator.masked_fill_(denominator == 0, 1)
        step_size = lr / (1 - beta1**self.steps)
        theta -= (self.first_moment / denominator).mul_(step_size)


class AdamW(Optimizer):
    """Adam with decoupled weight decay (arXiv:1711.05101)."""

    def _step(self, theta: Vectors, gradient: Vectors, lr: Column, weight_decay: Column) -> None:
        theta *= 1 - lr * weight_decay
        self._adam(theta, gradient, lr)


class Adam(Optimizer):
    """Adam with the decay in the gradient (L2)."""

    def _step(self, theta: Vectors, gradient: Vectors, lr: Column, weight_decay: Column) -> None:
        self._adam(theta, gradient + weight_decay * theta, lr)


class SGD(Optimizer):
    """Gradient descent with momentum, the decay in the gradient; the first moment is its buffer."""

    def _step(self, theta: Vectors, gradient: Vectors, lr: Column, weight_decay: Column) -> None:
        gradient = gradient + weight_decay * theta
        self.first_moment.mul_(self.recipe.momentum).add_(gradient)
        theta -= lr * self.first_moment


OPTIMIZERS: dict[str, type[Optimizer]] = {"adamw": AdamW, "adam": Adam, "sgd": SGD}


ROUNDING = 64
"""In units of the precision: what is left of a gradient and smaller than that is no part of it."""


def orthogonal(tensors: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    """⊥Grad (arXiv:2501.04697), in place: each run's gradient of each tensor, [run, …], without its
    part along the tensor, scaled to the norm that it had.

    A tensor of zeros has no direction: its gradient stays as it is. Of one that is all along its
    tensor nothing is left but rounding, which has no direction either: it becomes 0.
    """
    for tensor, gradient in zip(tensors, gradients, strict=True):
        theta, g = tensor.flatten(1), gradient.flatten(1)
        square = theta.square().sum(1, keepdim=True)
        along = (theta * g).sum(1, keepdim=True) / torch.where(square > 0, square, 1)
        rest = g - along * theta
        whole, left = g.norm(dim=1, keepdim=True), rest.norm(dim=1, keepdim=True)
        there = left > ROUNDING * torch.finfo(g.dtype).eps * whole
        scale = torch.where(there, whole / torch.where(there, left, 1), 0)
        gradient.copy_((rest * scale).view_as(gradient))
