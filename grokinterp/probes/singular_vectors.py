"""The singular vectors of a weight matrix over tokens, and the waves in them."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch

from grokinterp.checks import check_one_of
from grokinterp.probes.fourier import frequency_norms, require_order
from grokinterp.snapshot import Snapshot

Matrix = Literal["embedding", "neuron_logit"]


def singular_vectors(
    snapshot: Snapshot, matrix: Matrix = "embedding"
) -> dict[str, float | np.ndarray]:
    """The singular value decomposition U S Vᵀ of weights whose rows are tokens.

    The columns of U are functions of the token, in the order of the task's cyclic group of n
    tokens (see `cyclic_order`). A circle is two directions of one frequency and of equal singular
    values, between which the decomposition may turn them; where two frequencies have equal
    singular values, a direction may be a mixture of both.

    Args:
        matrix: `embedding`: W_E, without `=`; `neuron_logit`: (W_out W_U)ᵀ, a row for each class
            that is a token of the group.

    Returns:
        singular_values ([direction]): Descending.
        tokens ([direction, token]): The columns of U, of norm 1, with the largest entry positive.
        spectra ([direction, freq]): Share of each direction's energy at k = 1..⌊n/2⌋. 0 to 1; the
            rest is the constant's.
        purity (float): The mean over directions of the largest share, weighted by their squared
            singular values. 0 to 1.

    Raises:
        NotApplicable: The task works in no cyclic group; it is of neurons, and the model has more
            than one layer or no MLP; or hooks stand between these weights and what they multiply.

    Nothing to find:
        No direction is a wave: purity is 0.08 before training at p = 113.

    Source:
        The decomposition is textbook; circles of embedded tokens are those of arXiv:2205.10343.
    """
    of_neurons = matrix != "embedding"
    what = f"singular_vectors of {matrix}"
    snapshot.require(what, one_layer=of_neurons, mlp=of_neurons)
    order = require_order(snapshot, "singular_vectors")
    check_one_of("matrix", matrix, get_args(Matrix))
    model = snapshot.model
    if of_neurons:
        snapshot.require_unhooked(
            what,
            *("mlp.hook_post", "hook_mlp_out", "hook_resid_post"),
            *("unembed.hook_in", "unembed.hook_out"),
        )
        weights = (model.blocks[0].mlp.W_out.detach().double() @ model.W_U.detach().double()).T
    else:
        snapshot.require_unhooked(what, "hook_embed")
        weights = model.W_E.detach().double()
    u, values, _ = torch.linalg.svd(weights.cpu()[order], full_matrices=False)
    largest = u.gather(0, u.abs().argmax(0, keepdim=True))
    tokens = (u * torch.where(largest < 0, -1.0, 1.0)).T
    spectra = torch.stack([frequency_norms(row[:, None]).square() for row in tokens])
    energy = values.square()
    weighed = (energy * spectra.amax(1)).sum() / energy.sum() if energy.any() else energy.sum()
    return {
        "singular_values": values.numpy(),
        "tokens": tokens.contiguous().numpy(),
        "spectra": spectra.numpy(),
        "purity": weighed.item(),
    }
