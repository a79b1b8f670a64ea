"""Where each parameter lies in a run's flat vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from grokinterp.store.state import Weights

Vectors = Float[Tensor, "run parameter"]


@dataclass(frozen=True)
class Layout:
    """Parameters by name and shape, one after another, and how vectors of them are made."""

    shapes: Mapping[str, torch.Size]
    device: torch.device
    dtype: torch.dtype

    def zeros(self, runs: int) -> Vectors:
        """Of as many runs."""
        size = sum(shape.numel() for shape in self.shapes.values())
        return torch.zeros(runs, size, device=self.device, dtype=self.dtype)

    def flatten(self, weights: Sequence[Weights]) -> Vectors:
        """Each run's weights as a row."""
        rows = [torch.cat([one[name].flatten() for name in self.shapes]) for one in weights]
        return torch.stack([row.to(self.device, self.dtype) for row in rows])

    def views(self, flat: Vectors) -> dict[str, Float[Tensor, "run ..."]]:
        """Of the same memory, by name, detached."""
        parts = flat.detach().split([shape.numel() for shape in self.shapes.values()], dim=1)
        return {
            name: part.unflatten(1, shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def of_run(self, flat: Vectors, run: int) -> Weights:
        """A copy of one run's, by name, on the CPU."""
        return {name: value[run].cpu().clone() for name, value in self.views(flat).items()}
