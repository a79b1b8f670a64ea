"""The 2-D Fourier components of what a model computes over all pairs (a, b)."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grokinterp.checks import check_one_of
from grokinterp.probes.fourier import cyclic_grid, fourier_basis, require_order
from grokinterp.snapshot import Snapshot

Of = Literal["neurons", "logits"]


def fourier_plane(
    snapshot: Snapshot, of: Of = "neurons", layer: int = -1
) -> dict[str, float | np.ndarray]:
    """Norms of the 2-D Fourier components, by the frequency in a and that in b.

    x̂[i, j] = Σ_ab f_i(a) f_j(b) x[a, b], with the orthonormal waves f of the task's cyclic group
    of n tokens (see `cyclic_order`). A cell is the norm of x̂ over the cosine and the sine of its
    frequency in a, those of its frequency in b, and all neurons or logits, whatever the phases.

    Args:
        of: `neurons`: of `mlp.hook_post` at the last position; `logits`: of the classes that are
            tokens of the group.
        layer: Of the neurons, counted from 0, or from -1 backwards.

    Returns:
        norms ([freq, freq]): By the frequency of a and that of b, both from 0, the constant.
        diagonal (float): Share of the energy, without the constant's, at one frequency k ≥ 1 in
            both a and b, where the waves of a + b and of a − b are. 0 to 1.
        linear (float): Share at the constant in a or in b: waves of one of them alone. 0 to 1.

    Raises:
        NotApplicable: The task works in no cyclic group; or it is of neurons, and the model has
            no MLP.

    Nothing to find:
        diagonal and linear are each 2/(n + 1) for noise over n tokens, n odd: 0.018 for 113. Of
        what is constant, both are 0. Before training, neurons and logits are nearly functions of
        a plus functions of b: linear is 0.97 and diagonal 0.001 at p = 113.

    Source:
        arXiv:2301.05217.
    """
    order = require_order(snapshot, "fourier_plane")
    check_one_of("of", of, get_args(Of))
    if of == "neurons":
        snapshot.require("fourier_plane of neurons", mlp=True)
        values = snapshot.grid.last(f"blocks.{snapshot.layer(layer)}.mlp.hook_post")
    else:
        values = snapshot.grid.logits[:, order.to(snapshot.grid.logits.device)]
    energy = plane_energy(cyclic_grid(snapshot, values.cpu().double(), order))
    varying = energy.sum() - energy[0, 0]
    # A constant's energy elsewhere is what rounding leaves.
    shares = energy / varying if varying > 1e-20 * energy[0, 0] else torch.zeros_like(energy)
    return {
        "norms": energy.sqrt().numpy(),
        "diagonal": shares.diagonal()[1:].sum().item(),
        "linear": (shares[0, 1:].sum() + shares[1:, 0].sum()).item(),
    }


def plane_energy(grid: Float[Tensor, "n n column"]) -> Float[Tensor, "freq freq"]:
    """The energy of functions of (a, b), summed over them, by the frequency in each."""
    n = len(grid)
    basis = fourier_basis(n)
    over_a = (basis @ grid.flatten(1)).view(n, n, -1)
    energy = torch.einsum("jb,ibc->ijc", basis, over_a).square().sum(-1)
    # Rows of the basis: the constant, then a cosine and a sine for each frequency.
    frequency = (torch.arange(n) + 1) // 2
    by_a = torch.zeros(n // 2 + 1, n, dtype=energy.dtype).index_add_(0, frequency, energy)
    return torch.zeros(n // 2 + 1, n // 2 + 1, dtype=energy.dtype).index_add_(1, frequency, by_a)
