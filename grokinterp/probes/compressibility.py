"""How compressible features and weights are: spectra of Gram matrices."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grokinterp.snapshot import Snapshot, Split

Summary = dict[str, float | np.ndarray]


def compressibility(snapshot: Snapshot, split: Split = "train") -> Summary:
    """The spectrum of G = XᵀX, uncentred, of the readout's input X at the last position.

    X is the residual stream, after the final norm where there is one; p_i are G's eigenvalues over
    their sum.

    Args:
        split: The inputs: `train`, `test` or `grid`, which is all of them.

    Returns:
        rank (float): torch.linalg.matrix_rank of G. 0 to d_model.
        effective_rank (float): exp(-Σ p_i ln p_i). 1 to d_model.
        stable_rank (float): ‖G‖_F²/‖G‖₂². 1 to d_model.
        stable_rank_paper (float): ‖G‖_F/‖G‖₂, as arXiv:2602.06702 has it. 1 to √d_model.
        alpha (float): Exponent of a power law fitted to the eigenvalues from `alpha_xmin` on
            (package powerlaw with its defaults, which choose that start and keep alpha between 1
            and 3). NaN where it finds none.
        alpha_xmin (float): Where the fit starts.
        eigenvalues ([d_model]): Descending.

    Raises:
        ValueError: X is all zeros.

    Nothing to find:
        r for r equal eigenvalues. Untrained features have a low effective rank, 1.7, because what
        all examples share outweighs the rest: it rises before it falls.

    Source:
        arXiv:2602.06702.
    """
    return spectrum_summary(snapshot.inputs(split).readout_input)


def weight_spectra(snapshot: Snapshot) -> Summary:
    """The spectrum of WᵀW of each weight matrix W: Q, K, V (heads stacked), O, W_in and W_out.

    Returns:
        values (dict): The values of `compressibility` for each matrix, as
            `blocks.0.attn.W_Q.effective_rank`; and their means over the matrices, the paper's
            summary, as `mean.effective_rank`.

    Raises:
        NotApplicable: The model has no MLP.

    Nothing to find:
        mean.effective_rank is 89 of 128 for the paper's initial weights.

    Source:
        arXiv:2602.06702.
    """
    snapshot.require("weight_spectra", mlp=True)
    summaries = {}
    for layer, block in enumerate(snapshot.model.blocks):
        attn, mlp = block.attn, block.mlp
        stacked = {
            "attn.W_Q": attn.W_Q.transpose(0, 1).flatten(1),
            "attn.W_K": attn.W_K.transpose(0, 1).flatten(1),
            "attn.W_V": attn.W_V.transpose(0, 1).flatten(1),
            "attn.W_O": attn.W_O.flatten(0, 1),
            "mlp.W_in": mlp.W_in,
            "mlp.W_out": mlp.W_out,
        }
        for name, weight in stacked.items():
            # The smaller of the two Gram matrices: their non-zero eigenvalues are the same.
            tall = weight if weight.shape[0] >= weight.shape[1] else weight.T
            summaries[f"blocks.{layer}.{name}"] = spectrum_summary(tall.detach())
    values: Summary = {
        f"{matrix}.{name}": value
        for matrix, summary in summaries.items()
        for name, value in summary.items()
    }
    no_mean = ("eigenvalues", "alpha_xmin")
    scalars = [name for name in next(iter(summaries.values())) if name not in no_mean]
    for name in scalars:
        values[f"mean.{name}"] = float(np.mean([summary[name] for summary in summaries.values()]))
    return values


def spectrum_summary(x: Float[Tensor, "row column"]) -> Summary:
    """The summary of one matrix's Gram matrix xᵀx.

    >>> round(spectrum_summary(torch.eye(8)[:3])["effective_rank"], 12)
    3.0
    """
    # Squared before they are summed, small singular values drown in a float32's rounding.
    x = x.cpu().double()
    gram = x.mT @ x
    eigenvalues = torch.linalg.eigvalsh(gram).clamp_min(0).flip(0)
    if eigenvalues[0] == 0:
        raise ValueError("a matrix of zeros has no spectrum to summarise")
    share = eigenvalues / eigenvalues.sum()
    frobenius = eigenvalues.square().sum().sqrt()
    return {
        "rank": float(torch.linalg.matrix_rank(gram)),
        "effective_rank": torch.special.entr(share).sum().exp().item(),
        "stable_rank": ((frobenius / eigenvalues[0]) ** 2).item(),
        "stable_rank_paper": (frobenius / eigenvalues[0]).item(),
        **_power_law(eigenvalues.numpy()),
        "eigenvalues": eigenvalues.numpy(),
    }


def _power_law(eigenvalues: np.ndarray) -> dict[str, float]:
    import powerlaw

    nothing = {"alpha": float("nan"), "alpha_xmin": float("nan")}
    positive = eigenvalues[eigenvalues > 0]
    if len(positive) < 3:
        return nothing
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # It warns where a candidate for the smallest value fits badly, and tries the next.
        warnings.simplefilter("ignore")
        try:
            # Not given a start it chooses one, in the same way and a hundred times as slowly.
            fit = powerlaw.Fit(positive, xmin=start_of_power_law(positive), verbose=False)
            return {"alpha": float(fit.power_law.alpha), "alpha_xmin": float(fit.xmin)}
        except ValueError:  # Equal eigenvalues leave it nothing to fit.
            return nothing


def start_of_power_law(values: Float[np.ndarray, " value"]) -> float | None:
    """The start x₀ from which positive values are closest to a power law, as powerlaw (2.0) has it.

    Of the values but the two largest that are distinct, the one whose largest distance between
    (x/x₀)^(1 - α) and the share of the values from x₀ on that are x or more is least, where
    α = 1 + n/Σ ln(x/x₀) over those n values is below 3. None: there is no such value, or there are
    fewer than two to choose from.

    Args:
        values: Above 0, in any order.

    Source:
        Clauset, Shalizi and Newman 2009, arXiv:0706.1062.

    >>> float(start_of_power_law(np.array([0.1, 0.2, 1.0, 1.2, 1.5, 2.0, 3.0, 6.0])))
    1.0
    """
    x, counts = np.unique(values, return_counts=True)
    if len(x) < 4:
        return None
    below = np.cumsum(counts) - counts
    # A row for each start, a column for each value: the part from the diagonal on counts.
    ratio = np.maximum(x / x[:-2, None], 1.0)
    start = below[:-2, None] / len(values)
    measured = (below / len(values) - start) / (1 - start)
    alpha = 1 + (len(values) - below[:-2]) / (np.log(ratio) @ counts)
    fitted = 1 - ratio ** (1 - alpha[:, None])
    distance = np.abs(np.triu(fitted - measured)).max(1)
    valid = alpha < 3
    if not valid.any():
        return None
    return x[np.where(valid, distance, np.inf).argmin()]
