"""From gradients to new weights: filters, the optimiser at the epoch's rates, the norm clamp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from grokinterp.config import RunConfig
from grokinterp.optimizer_path import OURS
from grokinterp.schedule import schedule_factor
from grokinterp.store.state import RunState, Weights
from grokinterp.training.by_path import OptimizerByPath
from grokinterp.training.layout import Layout, Vectors
from grokinterp.training.optimizer import OPTIMIZERS, Optimizer, kept_or_zeros


class Update:
    """Steps the flat parameters of runs that share a recipe, each at rates of its own.

    Args:
        configs: The runs, which differ in rates alone.
        layout: Of their parameters.
        states: What each goes on from.
    """

    def __init__(
        self, configs: Sequence[RunConfig], layout: Layout, states: Sequence[RunState]
    ) -> None:
        self.recipe = configs[0].train
        self.layout = layout
        self._lr = self._column([config.lr for config in configs])
        self._weight_decay = self._column([config.weight_decay for config in configs])
        self._memories = [
            {
                name: kept_or_zeros(states, filter_slot(place, name), layout)
                for name in one.remembers
            }
            for place, one in enumerate(self.recipe.gradient_filters)
        ]
        kind: Callable[..., Optimizer | OptimizerByPath] = OptimizerByPath
        if self.recipe.optimizer in OURS:
            kind = OPTIMIZERS[self.recipe.optimizer]
        self._optimizer = kind(self.recipe, layout, states)

    def step(self, theta: Vectors, gradient: Vectors, epoch: int) -> None:
        """Update theta in place; the gradient is overwritten by what the optimiser sees.

        Args:
            epoch: Of the schedules.
        """
        with torch.no_grad():
            self._filter(theta, gradient)
            lr = self._scheduled(self._lr, self.recipe.lr_schedule, epoch)
            decay = self._scheduled(self._weight_decay, self.recipe.decay_schedule, epoch)
            self._optimizer.step(theta, gradient, lr, decay)
            if self.recipe.max_norm is not None:
                norm = theta.norm(dim=1, keepdim=True)
                theta *= torch.where(norm > self.recipe.max_norm, self.recipe.max_norm / norm, 1)

    def kept(self, run: int) -> tuple[dict[str, Weights], int]:
        """Copies of what goes on to the next step, by name and parameter, and the step count."""
        kept, steps = self._optimizer.kept(run)
        for place, memory in enumerate(self._memories):
            for name, flat in memory.items():
                kept[filter_slot(place, name)] = self.layout.of_run(flat, run)
        return kept, steps

    def _filter(self, theta: Vectors, gradient: Vectors) -> None:
        if not self._memories:
            return
        tensors, gradients = self.layout.views(theta), self.layout.views(gradient)
        for one, memory in zip(self.recipe.gradient_filters, self._memories, strict=True):
            views = {name: self.layout.views(flat) for name, flat in memory.items()}
            for name, g in gradients.items():
                # What is put in the place of a tensor, not into it, would be forgotten.
                of_tensor = MappingProxyType({key: view[name] for key, view in views.items()})
                g.copy_(one.filtered(tensors[name], g, of_tensor))

    def _scheduled(self, rate: Tensor, schedule: str, epoch: int) -> Tensor:
        if schedule == "constant":
            return rate
        return rate * schedule_factor(schedule, epoch, self.recipe.epochs)

    def _column(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=self.layout.dtype, device=self.layout.device)[:, None]


def filter_slot(place: int, name: str) -> str:
    """Under which name what the filter at a place remembers is kept."""
    return f"filter {place} {name}"
