"""How much of the embedding and of the logits each irreducible representation makes up."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from grokinterp.probes.irreps import character, irreps, quotients, require_group
from grokinterp.snapshot import Snapshot


def irrep_shares(snapshot: Snapshot) -> dict[str, float | np.ndarray]:
    """How much of the embedding's and of the logits' variance each representation ρ explains.

    Of the embedding, over the n elements, about its mean: the part in the span of the d² matrix
    elements of ρ, as functions of the token. The span is one, whether a token stands left or right
    in a product, and so is W_E. Of the logits L over all (a, b, c), about their mean, without the
    class `=`: the part along the character tr ρ(a b c⁻¹), which is largest where c = a b.

    Returns:
        values (dict): For each ρ but the trivial one, which is constant: `embedding.ρ` and
            `logits.ρ`. 0 to 1. Of the embedding they sum to 1. Irreducible representations of
            permutations are named by partitions, such as (4,1), those of a polygon A2, B1, B2 and
            Ek, those of addition by the frequency. NaN where nothing varies.
        logits (float): The sum over ρ of the logits' shares: how much of them follows from a b c⁻¹
            by characters. 0 to 1.

    Raises:
        NotApplicable: The task is not composition in a permutation or dihedral group, or addition;
            or hooks act on the embedding.

    Nothing to find:
        About d²/(n - 1) of a random embedding for each ρ of dimension d (2/(n - 1) for a frequency
        of addition), and about 0 of the logits.

    Source:
        Chughtai, Chan & Nanda 2023, arXiv:2302.03025.
    """
    group = require_group(snapshot, "irrep_shares")
    snapshot.require_unhooked("irrep_shares", "hook_embed")
    n = snapshot.task.n_elements
    table = snapshot.grid.labels.cpu().numpy().reshape(n, n)
    quotient = quotients(table)
    embedding = snapshot.model.W_E[:n].detach().cpu().double().numpy()
    logits = snapshot.grid.logits[:, :n].detach().cpu().double().numpy()
    of_embedding = embedding_shares(embedding, group, quotient)
    of_logits = logit_shares(logits, group, table, quotient)
    return {
        **{f"embedding.{name}": share for name, share in of_embedding.items()},
        **{f"logits.{name}": share for name, share in of_logits.items()},
        "logits": sum(of_logits.values()),
    }


def embedding_shares(
    rows: Float[np.ndarray, "n column"], group: str, quotient: Int[np.ndarray, "n n"]
) -> dict[str, float]:
    """The share of each non-trivial representation in functions on the group, a column each."""
    rows = rows - rows.mean(0)
    total = np.square(rows).sum()
    # The projection onto ρ is d/(n ⟨χ, χ⟩) χ(g h⁻¹).
    of_quotient = _summed_by(quotient, rows @ rows.T)
    return {
        name: _ratio(dimension / (len(rows) * norm) * (chi @ of_quotient), total)
        for name, dimension, norm, chi in _characters(group)
    }


def logit_shares(
    logits: Float[np.ndarray, "pair n"],
    group: str,
    table: Int[np.ndarray, "n n"],
    quotient: Int[np.ndarray, "n n"],
) -> dict[str, float]:
    """The share of each non-trivial character tr ρ(a b c⁻¹) in logits over all (a, b, c)."""
    n = len(table)
    logits = logits - logits.mean()
    total = np.square(logits).sum()
    # Each product is that of n pairs.
    of_product = logits[np.argsort(table.ravel())].reshape(n, n, n).sum(1)
    of_quotient = _summed_by(quotient, of_product)
    # Each value of a b c⁻¹ comes n² times.
    return {
        name: _ratio((chi @ of_quotient) ** 2 / (n**3 * norm), total)
        for name, _, norm, chi in _characters(group)
    }


def _characters(group: str) -> list[tuple[str, int, float, Float[np.ndarray, " n"]]]:
    """Name, dimension, ⟨χ, χ⟩ (1, or 2 where ρ is two over the complex numbers) and χ of each."""
    found = []
    for name, matrices in [*irreps(group).items()][1:]:
        chi = character(matrices)
        found.append((name, matrices.shape[-1], float(np.square(chi).mean()), chi))
    return found


def _summed_by(
    quotient: Int[np.ndarray, "n n"], values: Float[np.ndarray, "n n"]
) -> Float[np.ndarray, " n"]:
    return np.bincount(quotient.ravel(), values.ravel(), minlength=len(quotient))


def _ratio(part: float, total: float) -> float:
    return float(part / total) if total > 0 else float("nan")
