"""What takes an activation's place in an ablation: zeros, its mean, or another example's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

KINDS = ("zero", "mean", "resample")


def replacement(x: Tensor, kind: str, seed: int) -> Tensor:
    """`zero`: 0; `mean`: its mean over the batch; `resample`: another example's, whole."""
    import torch

    if kind == "zero":
        return torch.zeros_like(x)
    if kind == "mean":
        return x.mean(0, keepdim=True).expand_as(x)
    return x[donors(len(x), seed, x.device)]


def donors(n: int, seed: int, device: torch.device) -> Tensor:
    """For each of n examples another one, by a permutation without fixed points (if n > 1)."""
    import numpy as np
    import torch

    # Not torch's generator: torch.func.vmap draws from it anew for each run.
    order = np.random.default_rng(seed).permutation(n)
    taken = np.empty_like(order)
    taken[order] = np.roll(order, 1)  # Each takes the next one's along a random cycle.
    return torch.from_numpy(taken).to(device)


def selection(size: int, chosen: tuple[int, ...], device: torch.device) -> Tensor:
    """A mask of the chosen indices; of all of them when none is named."""
    import torch

    mask = torch.zeros(size, dtype=torch.bool, device=device)
    mask[[*chosen] if chosen else slice(None)] = True
    return mask
