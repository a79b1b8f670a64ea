"""The neural tangent kernel: how far the features have moved, since their start or lately."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from grokinterp.checks import check_one_of
from grokinterp.probes.gram import gradient_gram, require_known
from grokinterp.snapshot import Other, Snapshot, Split

Kind = Literal["sum_logits", "trace"]


@torch.inference_mode(False)  # Which switches gradients on, too.
def ntk(
    snapshot: Snapshot,
    kind: Kind = "sum_logits",
    split: Split = "train",
    rows: int | None = None,
    other: Other = "initial",
) -> dict[str, float | np.ndarray]:
    """How far the tangent kernel K is from that of another checkpoint, and how it fits the labels.

    K_ij = ⟨∇f(x_i), ∇f(x_j)⟩ over the trainable parameters, in the model's dtype. How far a kernel
    is from its start does not say whether it still moves; how far from the checkpoint before does,
    over the epochs in between.

    A pre-activation that rounding puts on the other side of the ReLU's kink changes its example's
    row by about a thousandth; float32 and float64 agree to 1e-6 elsewhere.

    Args:
        kind: `sum_logits`: f = Σ_c z_c, over all the classes of the last position's logits, `=` and
            the readout scale included. `trace`: the sum over classes c of the kernels of z_c, which
            takes a backward pass for each class and so some fifteen times as long.
        split: The inputs: `train`, `test` or `grid`, which is all of them.
        rows: The first so many examples; all when not given.
        other: K_0 is the kernel at the `initial` or `final` checkpoint, the one before (`previous`)
            or that of an epoch.

    Returns:
        norm (float): ‖K‖_F.
        relative_distance (float): ‖K - K_0‖_F/‖K_0‖_F. 0 or more.
        kernel_distance (float): 1 - cos_F(K, K_0), blind to scale. 0 to 1.
        initial_norm (float): ‖K_0‖_F; for another checkpoint than the initial one it is
            `other_norm`, and `other_epoch` its epoch.
        alignment (float): cos_F(K, YYᵀ) with Y the one-hot labels, uncentred. -1 to 1.
        centred_alignment (float): The same of HKH and HYYᵀH with H = I - 11ᵀ/n, which a kernel
            gains nothing in by being constant. -1 to 1.

    Raises:
        NotApplicable: Hooks act on the model, it uses a parameter in a way that is not known, or
            there is no such other checkpoint. A snapshot that knows no initial one has no
            distances.

    Nothing to find:
        Both distances are 0 while nothing moves. alignment is 0.095 before training at p = 113,
        because labels are shared by chance; centred_alignment is 0.016.

    Source:
        `sum_logits` and relative_distance: arXiv:2602.06702. kernel_distance: Fort et al. 2020.
        alignment: Cristianini et al. 2001; centred: Cortes et al. 2012.
    """
    compared = None
    if snapshot.has_others or other != "initial":
        compared = snapshot.other(other)
    if compared is snapshot:
        current = snapshot.once(kernel, kind, split, rows)
    else:
        current = kernel(snapshot, kind, split, rows)
    values: dict[str, float | np.ndarray] = {"norm": _norm(current)}
    if compared is not None:
        start = compared.once(kernel, kind, split, rows)
        size, norm = _norm(start), _norm(current)
        if other == "initial":
            values["initial_norm"] = size
        else:
            values["other_norm"] = size
            values["other_epoch"] = (
                float(compared.epoch) if compared.epoch is not None else float("nan")
            )
        values["relative_distance"] = _norm(current - start) / size
        # 1 - cos is half the squared distance of the unit kernels, which does not cancel.
        values["kernel_distance"] = _norm(current / norm - start / size) ** 2 / 2
    labels = snapshot.inputs(split).labels[:rows].to(current.device)
    values["alignment"] = _alignment(current, labels)
    values["centred_alignment"] = _alignment(_centred(current), labels, centred=True)
    return values


def kernel(
    snapshot: Snapshot,
    kind: Kind = "sum_logits",
    split: Split = "train",
    rows: int | None = None,
) -> Float[Tensor, "batch batch"]:
    """K_ij = ⟨∇f(x_i), ∇f(x_j)⟩ over the trainable parameters, in the model's dtype.

    `sum_logits`: f = Σ_c z_c, over all the classes of the last position's logits, `=` and the
    readout scale included, as arXiv:2602.06702 has it. `trace`: the sum over classes c of the
    kernels of z_c, which takes a backward pass for each class and so some fifteen times as long;
    `rows` keeps it short. On the first `rows` examples, or all.

    A pre-activation that rounding puts on the other side of the ReLU's kink changes its example's
    row by about a thousandth; float32 and float64 agree to 1e-6 elsewhere.
    """
    check_one_of("kind", kind, get_args(Kind))
    if rows is not None and rows < 1:
        raise ValueError(f"rows must be at least 1, or None for all; got {rows}")
    model = snapshot.model
    snapshot.require_unhooked("the tangent kernel")
    require_known(model)
    of_class = model.W_U.detach().T
    if kind == "sum_logits":
        summed = of_class.sum(0, keepdim=True)
        directions, of_class = summed, summed.expand_as(of_class)
    else:
        directions = _principal(of_class)
    return gradient_gram(model, snapshot.inputs(split).tokens[:rows], directions, of_class)


def _principal(of_class: Float[Tensor, "d_vocab d_model"]) -> Float[Tensor, "direction d_model"]:
    """The fewest directions u with Σ uuᵀ = Σ_c u_c u_cᵀ, by which alone the kernel depends on
    them; those that rounding hides are left out."""
    _, size, axes = torch.linalg.svd(of_class.double(), full_matrices=False)
    share = size.square() / size.square().sum()
    return (size[:, None] * axes)[share > torch.finfo(of_class.dtype).eps].to(of_class)


def _norm(k: Float[Tensor, "batch batch"]) -> float:
    return torch.linalg.vector_norm(k, dtype=torch.float64).item()


def _centred(k: Float[Tensor, "batch batch"]) -> Float[Tensor, "batch batch"]:
    return k - k.mean(0) - k.mean(1, keepdim=True) + k.mean()


def _alignment(
    k: Float[Tensor, "batch batch"], labels: Int[Tensor, " batch"], centred: bool = False
) -> float:
    target = (labels[:, None] == labels).to(k)
    if centred:
        target = _centred(target)
    return ((k * target).sum(dtype=torch.float64) / (_norm(k) * _norm(target))).item()
