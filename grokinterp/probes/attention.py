"""How diffuse attention is, and how alike its heads are. Entropies in nats."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grokinterp.checks import check_one_of
from grokinterp.snapshot import NotApplicable, Snapshot, Split

Convention = Literal["final_query", "all_queries", "head_average", "paper"]


NO_SHARES = 1e-3
"""How far from 1 the weights of a query sum where it is not rounding."""


def attention_entropy(
    snapshot: Snapshot,
    convention: Convention = "final_query",
    split: Split = "train",
    layer: int = 0,
) -> dict[str, float | np.ndarray]:
    """How spread attention is over the keys: H = -Σ_j A_j ln A_j of the pattern A, in nats.

    Averaging the heads first never lowers it, because entropy is concave.

    Args:
        convention: `final_query`: of each head's pattern at the last query, the one that is read
            out; mean over the inputs. `all_queries`: the same, mean over all query rows.
            `head_average`: of the head-averaged pattern at the last query, mean over the inputs.
            `paper`: that, mean over all query rows.
        split: The inputs: `train`, `test` or `grid`, which is all of them.
        layer: Counted from 0, or from -1 backwards.

    Returns:
        mean (float): Over the heads. 0 (one key) to ln 3 (uniform), or ln 2 without `=`.
        per_head ([head]): Each head's, where they are not averaged first.

    Raises:
        NotApplicable: The weights of a query do not sum to 1.

    Nothing to find:
        ln 3 = 1.10: before training every head attends nearly uniformly.

    Source:
        `paper` is the convention of arXiv:2602.06702.
    """
    check_one_of("convention", convention, get_args(Convention))
    pattern = _pattern(snapshot, split, layer)
    if convention in ("final_query", "head_average"):
        pattern = pattern[:, :, -1:]
    if convention in ("head_average", "paper"):
        return {"mean": _entropy(pattern.mean(1)).mean().item()}
    per_head = _entropy(pattern).mean((0, 2))
    return {"mean": per_head.mean().item(), "per_head": per_head.cpu().numpy()}


def attention_uniformity(
    snapshot: Snapshot, split: Split = "train", layer: int = 0
) -> dict[str, float | np.ndarray]:
    """Entropy at the last query as a share of its maximum (ln 3), and the mean pattern there.

    Args:
        split: The inputs: `train`, `test` or `grid`, which is all of them.
        layer: Counted from 0, or from -1 backwards.

    Returns:
        mean (float): Over the heads. 0 (one key) to 1 (uniform).
        per_head ([head]): Each head's.
        pattern ([head, key]): The attention itself, mean over the inputs.

    Raises:
        NotApplicable: The weights of a query do not sum to 1.

    Nothing to find:
        1, as before training.

    Source:
        `attention_entropy`, on another scale.
    """
    pattern = _pattern(snapshot, split, layer)[:, :, -1]
    per_head = _entropy(pattern).mean(0) / math.log(pattern.shape[-1])
    return {
        "mean": per_head.mean().item(),
        "per_head": per_head.cpu().numpy(),
        "pattern": pattern.mean(0).cpu().numpy(),
    }


def head_similarity(
    snapshot: Snapshot, split: Split = "train", layer: int = 0
) -> dict[str, float | np.ndarray]:
    """How alike the heads are.

    Args:
        split: The inputs: `train`, `test` or `grid`, which is all of them.
        layer: Counted from 0, or from -1 backwards.

    Returns:
        cosine (float): Mean over pairs of heads of the cosine of their flattened patterns. 0 to 1.
        entropy_std (float): Standard deviation (population) over heads of the entropy at the last
            query, in nats. 0 or more.
        participation (float): ((Σλ)²/Σλ² - 1)/(heads - 1) of the eigenvalues λ of the covariance of
            the heads' patterns. 0 if one mode of variation drives all heads, 1 if they vary
            independently.

    Raises:
        NotApplicable: The model has one head, or the weights of a query do not sum to 1.

    Nothing to find:
        Heads that know nothing of each other are nearly uniform before training, and so alike:
        cosine 1, entropy_std 0; what little varies does so independently, participation about 0.95.

    Source:
        arXiv:2605.20441.
    """
    pattern = _pattern(snapshot, split, layer)
    if pattern.shape[1] < 2:
        raise NotApplicable("head_similarity compares heads, and this model has one")
    return dict(similarity_of(pattern))


def similarity_of(pattern: Float[Tensor, "batch head query key"]) -> dict[str, float]:
    """The same of patterns."""
    n_heads = pattern.shape[1]
    flat = pattern.transpose(0, 1).flatten(1)
    unit = flat / flat.norm(dim=1, keepdim=True)
    cosines = unit @ unit.T
    upper = torch.triu_indices(n_heads, n_heads, offset=1)
    eigenvalues = torch.linalg.eigvalsh(torch.cov(flat)).clamp_min(0)
    modes = eigenvalues.sum() ** 2 / eigenvalues.square().sum()
    return {
        "cosine": cosines[upper[0], upper[1]].mean().item(),
        "entropy_std": _entropy(pattern[:, :, -1]).mean(0).std(correction=0).item(),
        "participation": ((modes - 1) / (n_heads - 1)).item(),
    }


def _pattern(snapshot: Snapshot, split: Split, layer: int) -> Float[Tensor, "batch head query key"]:
    pattern = snapshot.inputs(split).cache["pattern", snapshot.layer(layer)]
    total = pattern.sum(-1)
    if bool(((total - 1).abs() > NO_SHARES).any()):
        raise NotApplicable(
            "this probe is of attention that is shared among the keys, with weights that sum to 1; "
            f"those of this model sum to {total.min():g} to {total.max():g}"
        )
    return pattern


def _entropy(pattern: Float[Tensor, "*rows key"]) -> Float[Tensor, "*rows"]:
    return torch.special.entr(pattern).sum(-1)
