"""AdamW over a leading run axis, each run with a learning rate and a weight decay of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass
class AdamW:
    """Decoupled weight decay (arXiv:1711.05101) on flat parameters [run, parameter].

    The step count lives on the device, so a step never waits for it.

    With `eps` 0 a parameter whose gradient was always exactly 0 takes no step but its decay: the
    limit of 0/(0 + eps). torch.optim.AdamW gives NaN there, and a ReLU network whose initial
    weights leave a neuron off for every example diverges at once.
    """

    lr: Float[Tensor, "run 1"]
    weight_decay: Float[Tensor, "run 1"]
    betas: tuple[float, float]
    eps: float
    first_moment: Float[Tensor, "run parameter"]
    second_moment: Float[Tensor, "run parameter"]
    steps: Float[Tensor, "run 1"]

    @torch.no_grad()
    def step(
        self, theta: Float[Tensor, "run parameter"], gradient: Float[Tensor, "run parameter"]
    ) -> None:
        """Update theta in place."""
        beta1, beta2 = self.betas
        self.steps += 1
        theta *= 1 - self.lr * self.weight_decay
        self.first_moment.lerp_(gradient, 1 - beta1)
        self.second_moment.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = self.second_moment.sqrt()
        denominator.div_((1 - beta2**self.steps).sqrt())
        if self.eps:
            denominator.add_(self.eps)
        else:
            denominator.masked_fill_(denominator == 0, 1)
        step_size = self.lr / (1 - beta1**self.steps)
        theta -= (self.first_moment / denominator).mul_(step_size)
