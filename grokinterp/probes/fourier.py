"""The Fourier basis of Z_p, and what probes read through it."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from grokinterp.snapshot import NotApplicable, Snapshot


def fourier_basis(p: int) -> Float[Tensor, "p p"]:
    """The orthonormal basis of functions on Z_p, a row each: const, cos ω₁, sin ω₁, cos ω₂, …

    With ω_k = 2πk/p, k = 1..⌊p/2⌋; for even p the last frequency has a cosine only.

    >>> basis = fourier_basis(7)
    >>> torch.allclose(basis @ basis.T, torch.eye(7, dtype=torch.float64))
    True
    """
    t = torch.arange(p, dtype=torch.float64)
    rows = [torch.full((p,), p**-0.5, dtype=torch.float64)]
    for k in range(1, p // 2 + 1):
        angle = 2 * math.pi * k * t / p
        rows.append(angle.cos() * (1 / p if 2 * k == p else 2 / p) ** 0.5)
        if 2 * k < p:
            rows.append(angle.sin() * (2 / p) ** 0.5)
    return torch.stack(rows)


def frequency_norms(x: Float[Tensor, "p column"]) -> Float[Tensor, " freq"]:
    """Norm of the part of x at each frequency k = 1..⌊p/2⌋ along its rows, over all columns."""
    square = (fourier_basis(len(x)) @ x.cpu().double()).square().sum(1)[1:]
    if len(square) % 2:  # Even p: the last frequency has no sine.
        square = torch.cat([square, square.new_zeros(1)])
    return square.view(-1, 2).sum(1).sqrt()


def sum_waves(p: int, frequencies: tuple[int, ...]) -> Float[Tensor, "pair wave"]:
    """cos ω_k(a + b) and sin ω_k(a + b) over the p² pairs, orthonormal columns."""
    t = torch.arange(p)
    total = (t[:, None] + t).flatten() % p
    basis = fourier_basis(p)
    rows = [row for k in frequencies for row in (2 * k - 1, 2 * k) if row < p]
    # Each value of a + b comes p times.
    return basis[rows][:, total].T / p**0.5


def require_grid(snapshot: Snapshot, probe: str) -> None:
    """NotApplicable if the task has no p × p grid of inputs."""
    task = snapshot.task
    if task.n_pairs != task.p**2:
        raise NotApplicable(
            f"{probe} needs all p × p pairs, and {task} has {task.n_pairs}; give it a task that "
            "is defined on all of them"
        )
