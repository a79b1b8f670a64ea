"""The Fourier basis of the cyclic group that a task works in, and what probes read through it.

Addition and subtraction mod p work in Z_p. Multiplication and division mod a prime work in the
powers g⁰, …, g^(p-2) of a primitive root g, which multiply as their exponents add mod p - 1; the
token 0 is no power, and stands apart. So a frequency k is a wave over tokens, cos 2πkt/p, or over
their discrete logarithms, cos 2πk log_g(t)/(p - 1).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grokinterp.hooks.fourier import ADDITIVE
from grokinterp.snapshot import NotApplicable, Snapshot
from grokinterp.task import ModularTask, Task

MULTIPLICATIVE = ("mul", "div")


def cyclic_order(task: Task) -> Int[Tensor, " n"] | None:
    """The tokens in the order of the task's cyclic group; None if it works in none.

    0, …, p - 1 for add and sub; for mul and div mod a prime the powers of the smallest primitive
    root, without 0. The squares and cubes of the other operations, and the carries of the bit
    games, are no waves over the tokens, nor is what a table or another group makes of them.

    >>> cyclic_order(ModularTask(7, "mul"))
    tensor([1, 3, 2, 6, 4, 5])
    """
    if not isinstance(task, ModularTask):
        return None
    if task.operation in ADDITIVE:
        return torch.arange(task.p)
    if task.operation not in MULTIPLICATIVE:
        return None
    for root in range(2, task.p):
        powers = [1]
        while (power := powers[-1] * root % task.p) not in powers:
            powers.append(power)
        # Mod a number that is not prime, no root reaches every token but 0.
        if sorted(powers) == [*range(1, task.p)]:
            return torch.tensor(powers)
    return None


def require_order(snapshot: Snapshot, probe: str) -> Int[Tensor, " n"]:
    """The same; NotApplicable, naming the probe, if there is none."""
    order = cyclic_order(snapshot.task)
    if order is None:
        raise NotApplicable(
            f"{probe} is in waves over a cyclic group of the tokens, and {snapshot.task} works in "
            "none; give it a model trained on add or sub, or on mul or div mod a prime"
        )
    return order


def cyclic_grid(
    snapshot: Snapshot,
    values: Float[Tensor, "pair *rest"],  # noqa: F821
    order: Int[Tensor, " n"],
) -> Float[Tensor, "n n *rest"]:
    """Values over all inputs by a and b, each in this order."""
    n = snapshot.task.n_elements
    a, b = snapshot.grid.tokens[:, :2].cpu().T
    rows = torch.empty(n, n, dtype=torch.long)
    rows[a, b] = torch.arange(len(a))
    return values[rows[order[:, None], order]]


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
    """NotApplicable if the task is not defined on all pairs of tokens."""
    task = snapshot.task
    if task.n_pairs != task.n_elements**2:
        raise NotApplicable(
            f"{probe} needs all p × p pairs, and {task} has {task.n_pairs}; give it a task that "
            "is defined on all of them"
        )
