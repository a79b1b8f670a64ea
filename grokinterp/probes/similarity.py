"""How alike the features of two checkpoints are: linear CKA, and drift after Procrustes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

from grokinterp.snapshot import Inputs, Other, Snapshot, Split


def cka(
    snapshot: Snapshot,
    other: Other = "final",
    hooks: tuple[str, ...] | None = None,
    split: Split = "train",
) -> dict[str, float | np.ndarray]:
    """How alike a hook's activations are at two checkpoints: linear CKA, at the last position.

    ‖XᵀY‖²_F/(‖XᵀX‖_F ‖YᵀY‖_F) of the centred features X and Y.

    Args:
        other: The `initial`, `final` or `previous` checkpoint, or that of an epoch.
        hooks: By default the last block's attn.hook_z (heads flattened), hook_resid_mid,
            mlp.hook_post and hook_resid_post.
        split: The inputs: `train`, `test` or `grid`, which is all of them.

    Returns:
        values (dict): For each hook, by its name: 0 to 1; 1 if the two differ by a rotation, a
            scale and a shift alone; NaN where the hook is constant over the examples.

    Raises:
        NotApplicable: There is no such checkpoint or hook.

    Nothing to find:
        About d/n for features that have nothing in common, d of them in n examples: 0.13 for
        mlp.hook_post at p = 113.

    Source:
        arXiv:1905.00414.
    """
    compared = snapshot.other(other).inputs(split)
    if hooks is None:
        last = f"blocks.{snapshot.model.cfg.n_layers - 1}"
        hooks = (f"{last}.attn.hook_z", *last_block_hooks(snapshot))
    mine = snapshot.inputs(split)
    return {
        hook: linear_cka(last_position(mine, hook), last_position(compared, hook)) for hook in hooks
    }


def representation_drift(
    snapshot: Snapshot, other: Other = "previous", split: Split = "train"
) -> dict[str, float | np.ndarray]:
    """How far the readout's input X has moved since another checkpoint: ‖X_t - X_s‖_F/‖X_s‖_F.

    At the last position.

    Args:
        other: The `previous`, `initial` or `final` checkpoint, or that of an epoch.
        split: The inputs: `train`, `test` or `grid`, which is all of them.

    Returns:
        value (float): After X_s is rotated onto X_t (orthogonal Procrustes), which the following
            weights could undo. 0 or more.
        unaligned (float): Without that; never below `value`.

    Raises:
        NotApplicable: There is no such checkpoint.

    Nothing to find:
        0 where nothing moves.

    Source:
        Procrustes distance, as in arXiv:2108.01661.
    """
    compared = snapshot.other(other).inputs(split)
    x = as_rows(compared.readout_input)
    y = as_rows(snapshot.inputs(split).readout_input)
    return {
        "value": procrustes_distance(x, y),
        "unaligned": float(np.linalg.norm(y - x) / np.linalg.norm(x)),
    }


def linear_cka(x: Float[np.ndarray, "batch d_x"], y: Float[np.ndarray, "batch d_y"]) -> float:
    """‖XᵀY‖²_F/(‖XᵀX‖_F ‖YᵀY‖_F) of the centred features; NaN if either is constant.

    >>> x = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    >>> round(linear_cka(x, 5 - 2 * x[:, ::-1]), 12)
    1.0
    """
    x, y = _centred(x), _centred(y)
    scale = float(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    return float(np.linalg.norm(x.T @ y) ** 2) / scale if scale > 0 else float("nan")


def procrustes_distance(
    x: Float[np.ndarray, "batch d_model"], y: Float[np.ndarray, "batch d_model"]
) -> float:
    """min over orthogonal Q of ‖Y - XQ‖_F/‖X‖_F.

    >>> x = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    >>> round(procrustes_distance(x, x[:, ::-1]), 12), round(procrustes_distance(x, 3 * x), 12)
    (0.0, 2.0)
    """
    from scipy.linalg import orthogonal_procrustes

    rotation, _ = orthogonal_procrustes(x, y)
    return float(np.linalg.norm(y - x @ rotation) / np.linalg.norm(x))


def last_block_hooks(snapshot: Snapshot) -> tuple[str, ...]:
    """The last block's stages whose last position depends on the example."""
    last = f"blocks.{snapshot.model.cfg.n_layers - 1}"
    return (f"{last}.hook_resid_mid", f"{last}.mlp.hook_post", f"{last}.hook_resid_post")


def last_position(inputs: Inputs, hook: str) -> Float[np.ndarray, "batch feature"]:
    """A hook's activations at the last position, in float64; heads are flattened."""
    return as_rows(inputs.last(hook))


def as_rows(x: Tensor) -> Float[np.ndarray, "batch feature"]:
    return x.flatten(1).cpu().double().numpy()


def _centred(x: Float[np.ndarray, "batch d_x"]) -> Float[np.ndarray, "batch d_x"]:
    centred = x - x.mean(0)
    # Rounding of the mean must not pass for variation in a feature that is constant.
    return np.where(np.ptp(x, axis=0) > 0, centred, 0.0)
