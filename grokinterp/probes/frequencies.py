"""Which frequencies the model uses, and which neuron serves which."""

from __future__ import annotations

from numbers import Integral
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grokinterp.checks import check_one_of
from grokinterp.probes.fourier import (
    cyclic_grid,
    fourier_basis,
    frequency_norms,
    require_order,
)
from grokinterp.snapshot import Snapshot

Rule = Literal["neuron_logit", "embedding_quarter_max", "neuron_argmax"]
At = Literal["final", "self"]
Frequencies = tuple[int, ...] | None

KEY_SHARE = 0.25
CLUSTERED = 0.85


def key_frequencies(
    snapshot: Snapshot, rule: Rule = "neuron_logit"
) -> dict[str, float | np.ndarray]:
    """The frequencies k that the model's addition, or multiplication, is made of.

    They are those of waves over the task's cyclic group of n tokens (see `cyclic_order`).

    Args:
        rule: `neuron_logit`: those whose norm in W_out W_U, over the class axis, is at least a
            quarter of the largest. `embedding_quarter_max`: those whose norm in the embedding is
            more than a quarter of the largest. `neuron_argmax`: those that some clustered neuron
            serves (see `neuron_frequencies`).

    Returns:
        frequencies ([key]): The k, ascending, of 1 to ⌊n/2⌋.
        count (float): How many.
        criterion ([freq]): The norms, or how many clustered neurons serve each.

    Raises:
        NotApplicable: The task works in no cyclic group; the rule is on neurons, and the model has
            more than one layer or no MLP; or hooks stand between these weights and what they
            multiply.

    Nothing to find:
        A flat spectrum, all of it above a quarter of its largest: a count near ⌊n/2⌋ means that
        there is none. By `neuron_argmax` the count is 0.

    Source:
        `neuron_logit` is the rule of arXiv:2301.05217.
    """
    of_neurons = rule != "embedding_quarter_max"
    snapshot.require(f"key_frequencies by the rule {rule}", one_layer=of_neurons, mlp=of_neurons)
    order = require_order(snapshot, "key_frequencies")
    check_one_of("rule", rule, get_args(Rule))
    if rule == "embedding_quarter_max":
        snapshot.require_unhooked(f"key_frequencies by the rule {rule}", "hook_embed")
        criterion = frequency_norms(snapshot.model.W_E.detach().cpu()[order])
        chosen = criterion > KEY_SHARE * criterion.max()
    elif rule == "neuron_logit":
        snapshot.require_unhooked(
            f"key_frequencies by the rule {rule}",
            *("mlp.hook_post", "hook_mlp_out", "hook_resid_post"),
            *("unembed.hook_in", "unembed.hook_out"),
        )
        model = snapshot.model
        w_l = (model.blocks[0].mlp.W_out @ model.W_U).detach()
        criterion = frequency_norms(w_l.T.cpu()[order])
        chosen = (criterion >= KEY_SHARE * criterion.max()) & (criterion > 0)
    else:
        sizes = neuron_frequencies(snapshot)["sizes"]
        criterion = torch.from_numpy(np.asarray(sizes))
        chosen = criterion > 0
    frequencies = chosen.nonzero().flatten().numpy() + 1
    return {
        "frequencies": frequencies,
        "count": float(len(frequencies)),
        "criterion": criterion.numpy(),
    }


def keys(
    snapshot: Snapshot,
    rule: Rule,
    at: At = "final",
    frequencies: Frequencies = None,
) -> tuple[int, ...]:
    """The key frequencies of the training's end, by which a whole trajectory is measured.

    `at="self"`, or a snapshot that knows no other checkpoint: of the snapshot itself. Given
    `frequencies` are taken as they are, and neither `rule` nor `at` matters.
    ValueError if there are none.
    """
    if frequencies is not None:
        return given(frequencies, snapshot.task.n_elements)
    check_one_of("at", at, get_args(At))
    source = snapshot.other("final") if at == "final" and snapshot.has_others else snapshot
    found = np.asarray(source.once(key_frequencies, rule)["frequencies"])
    if not len(found):
        raise ValueError(
            f"the model has no key frequency by the rule {rule}; choose another rule, of "
            f"{', '.join(get_args(Rule))}"
        )
    return tuple(found.tolist())


def given(frequencies: tuple[int, ...], p: int) -> tuple[int, ...]:
    """Frequencies that a user named, as Python integers; ValueError if they are not some mod p."""
    whole = all(isinstance(k, Integral) and not isinstance(k, bool) for k in frequencies)
    chosen = tuple(int(k) for k in frequencies) if whole else ()
    inside = all(1 <= k <= p // 2 for k in chosen)
    if not chosen or not inside or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"frequencies must be one or more distinct integers from 1 to {p // 2}; "
            f"got {frequencies}"
        )
    return chosen


def neuron_frequencies(snapshot: Snapshot, layer: int = 0) -> dict[str, float | np.ndarray]:
    """How much of each neuron's variation over the inputs is at one frequency.

    Of `mlp.hook_post` at the last position over all a and b of the task's cyclic group (see
    `cyclic_order`), mean-centred, in the 2-D Fourier basis: the energy in {1, cos ω_k, sin ω_k}²
    (of a and of b) less the constant, over all of it.

    Args:
        layer: Counted from 0, or from -1 backwards.

    Returns:
        fve ([d_mlp, freq]): Each neuron's share at each frequency. 0 to 1.
        cluster ([d_mlp]): The k of a neuron's largest share; 0 for one that never varies.
        clustered (float): Share of the neurons whose largest is above 0.85.
        mean_fve (float): Mean of the largest.
        sizes ([freq]): Clustered neurons of each frequency.

    Raises:
        NotApplicable: The task works in no cyclic group, or the model has no MLP.

    Nothing to find:
        clustered is 0, and mean_fve 0.05 before training at p = 113.

    Source:
        arXiv:2301.05217.
    """
    order = require_order(snapshot, "neuron_frequencies")
    post = snapshot.grid.last(f"blocks.{snapshot.layer(layer)}.mlp.hook_post")
    fve = frequency_shares(cyclic_grid(snapshot, post, order))
    best, index = fve.max(1)
    clustered = best > CLUSTERED
    sizes = torch.bincount(index[clustered], minlength=fve.shape[1])
    return {
        "fve": fve.numpy(),
        "cluster": torch.where(best > 0, index + 1, 0).numpy(),
        "clustered": clustered.double().mean().item(),
        "mean_fve": best.mean().item(),
        "sizes": sizes.numpy(),
    }


def frequency_shares(grid: Float[Tensor, "p p neuron"]) -> Float[Tensor, "neuron freq"]:
    """The same share of any functions of (a, b); 0 for one that is constant."""
    p = len(grid)
    basis = fourier_basis(p)
    grid = grid.cpu().double()
    over_a = (basis @ grid.flatten(1)).view(p, p, -1)
    energy = torch.einsum("jb,ibn->ijn", basis, over_a).square()
    energy[0, 0] = 0
    total = energy.sum((0, 1))
    blocks = []
    for k in range(1, p // 2 + 1):
        rows = [0, *(row for row in (2 * k - 1, 2 * k) if row < p)]
        blocks.append(energy[rows][:, rows].sum((0, 1)))
    # A constant's energy is what rounding leaves.
    varies = total > 1e-20 * grid.square().sum((0, 1))
    return torch.where(varies, torch.stack(blocks) / total, 0).T
