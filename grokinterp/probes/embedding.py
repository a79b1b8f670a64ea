"""How periodic the token embedding is."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grokinterp.probes.fourier import fourier_basis, frequency_norms, require_order
from grokinterp.snapshot import Snapshot


def fourier_concentration(snapshot: Snapshot) -> dict[str, float | np.ndarray]:
    """How periodic the token embedding is: variance between frequencies over variance within.

    With E the rows of W_E of the tokens in the order of the task's cyclic group (n = p for add and
    sub, p - 1 for mul and div; see `cyclic_order`) and S = |rfft(E, over tokens)|ᵀ, [d_model, ⌊n/2⌋
    + 1]: the population variance over frequencies of the column means, divided by mean((S - column
    mean)²) + 1e-8.

    Returns:
        value (float): 0 or more; at least 1 means periodic.
        per_frequency ([freq + 1]): The column means, the constant's first.

    Raises:
        NotApplicable: The task works in no cyclic group, or hooks act on the embedding.

    Nothing to find:
        Nearly 0: about 0.01 for Gaussian weights.

    Source:
        C_Fourier of arXiv:2602.06702.
    """
    spectrum = np.abs(np.fft.rfft(_embedding(snapshot, "fourier_concentration").numpy(), axis=0)).T
    columns = spectrum.mean(0)
    within = ((spectrum - columns) ** 2).mean()
    return {"value": float(columns.var() / (within + 1e-8)), "per_frequency": columns}


def embedding_spectrum(snapshot: Snapshot) -> dict[str, float | np.ndarray]:
    """How the embedding's energy is spread over frequencies k = 1..⌊n/2⌋, without the constant.

    Of the n tokens' rows of W_E, in the orthonormal Fourier basis over the task's cyclic group (see
    `cyclic_order`). With x ascending, Gini(x) = Σ(2i - n - 1)x_i/(n Σx).

    Returns:
        norms ([freq]): Of the part of the embedding at each frequency.
        gini_norms (float): Gini coefficient of the norms. 0 if all frequencies are alike, 1 -
            1/freq if one has all.
        gini_powers (float): The same of their squares.
        inverse_participation_ratio (float): Σ q² of the shares q of the powers, the inverse of an
            effective number of frequencies. 1/freq if all are alike, 1 if one has all. NaN where
            nothing varies, as the Ginis.

    Raises:
        NotApplicable: The task works in no cyclic group, or hooks act on the embedding.

    Nothing to find:
        Gaussian weights at p = 113 have 0.025, 0.05 and 1/56 = 0.018.

    Source:
        Gini as a progress measure: arXiv:2301.05217.
    """
    norms = frequency_norms(_embedding(snapshot, "embedding_spectrum")).numpy()
    powers = norms**2
    total = powers.sum()
    shares = powers / total if total > 0 else np.full_like(powers, np.nan)
    return {
        "gini_norms": gini(norms),
        "gini_powers": gini(powers),
        "inverse_participation_ratio": float((shares**2).sum()),
        "norms": norms,
    }


def circularity(snapshot: Snapshot, components: int = 4) -> dict[str, float | np.ndarray]:
    """How near the embedding's first principal components are to circles.

    The mean over the first components v (unit vectors over the n tokens t of the task's cyclic
    group, in its order: see `cyclic_order`) of max_k 2|Σ_t v_t e^{iω_k t}|²/n. Circles of equal
    radius share their components in any rotation, and count as less than 1. A component without
    variance, such as the third of a single circle, has no direction and is left out.

    Args:
        components: How many components.

    Returns:
        value (float): Mean over the components. 0 to 1: 1 if each is a single wave. NaN if none has
            variance.
        per_component ([component]): Each one's.
        frequencies ([component]): The k of each.

    Raises:
        NotApplicable: The task works in no cyclic group, or hooks act on the embedding.

    Nothing to find:
        About (ln(n/2) + 0.58)/(n/2) for noise: 0.08 at n = 113.

    Source:
        arXiv:2306.17844.
    """
    if components < 1:
        raise ValueError(f"components must be at least 1; got {components}")
    w_e = _embedding(snapshot, "circularity")
    vectors, variation, _ = torch.linalg.svd(w_e - w_e.mean(0), full_matrices=False)
    # What the rounding of the model's own weights leaves is no variance.
    epsilon = torch.finfo(snapshot.model.W_E.dtype).eps
    varies = variation[:components] > len(w_e) * epsilon * variation[0]
    waves = (fourier_basis(len(w_e)) @ vectors[:, :components][:, varies]).square()[1:]
    if len(waves) % 2:  # Even n: the last frequency has no sine.
        waves = torch.cat([waves, torch.zeros_like(waves[:1])])
    # A frequency's two orthonormal waves hold 2|Σ v e^{iωt}|²/p of a unit vector.
    share, index = waves.unflatten(0, (-1, 2)).sum(1).max(0)
    return {
        "value": share.mean().item(),
        "per_component": share.numpy(),
        "frequencies": index.numpy() + 1,
    }


def gini(x: Float[np.ndarray, " n"]) -> float:
    """Σ(2i - n - 1)x_i / (n Σx) for ascending x.

    >>> gini(np.array([1.0, 1.0, 1.0, 1.0])), gini(np.array([0.0, 0.0, 5.0, 0.0]))
    (0.0, 0.75)
    """
    n = len(x)
    rank = 2 * np.arange(1, n + 1) - n - 1
    total = x.sum()
    return float((rank * np.sort(x)).sum() / (n * total)) if total > 0 else float("nan")


def _embedding(snapshot: Snapshot, probe: str) -> Float[Tensor, "n d_model"]:
    order = require_order(snapshot, probe)
    # With a hook there, the model does not read W_E.
    snapshot.require_unhooked(probe, "hook_embed")
    return snapshot.model.W_E.detach().cpu().double()[order]
