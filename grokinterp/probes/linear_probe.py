"""What a linear map can read off the activations: the frequencies of a + b, and the label."""

from __future__ import annotations

import warnings
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from grokinterp.checks import check_one_of, integer
from grokinterp.probes.similarity import last_block_hooks, last_position
from grokinterp.snapshot import Inputs, Snapshot

Fit = Literal["train", "test"]
HeldOut = Literal["unordered", "ordered"]


def linear_probe(
    snapshot: Snapshot,
    hooks: tuple[str, ...] | None = None,
    frequencies: tuple[int, ...] | None = None,
    label: bool = True,
    fit: Fit = "train",
    held_out: HeldOut = "unordered",
    alpha: float | int = 1.0,
    max_iter: int = 200,
    seed: int = 0,
) -> dict[str, float | np.ndarray]:
    """What a linear map reads off the activations: the waves of a + b, and the label.

    Ridge regression of cos ω_k(a + b) and sin ω_k(a + b), ω_k = 2πk/p, and a logistic probe of the
    label, from each hook's activations at the last position, centred and divided by their overall
    standard deviation, so that a rotation of the features changes nothing.

    Addition does not tell (a, b) from (b, a), and neither does a model that is nearly symmetric:
    even a random one then has the label of a pair whose mirror image was fitted.

    Args:
        hooks: By default the last block's hook_resid_mid, mlp.hook_post and hook_resid_post.
        frequencies: The k; by default 1 to ⌊p/2⌋, and () for none.
        label: Whether to fit the logistic probe.
        fit: `train` fits on the train split and scores on test pairs; `test` fits on a seeded half
            of the test split and scores on the other half, so that the model has seen neither.
        held_out: `unordered` scores only pairs whose mirror image was not fitted; `ordered` all.
        alpha: The ridge penalty.
        max_iter: Steps of the logistic fit.
        seed: Draws the halves.

    Returns:
        values (dict): For each hook `.cos`, `.sin` and `.r2` [freq], the R² of either and of both
            together (1 is perfect; the sine of k = p/2, which is 0, has NaN), `.r2_mean` and
            `.r2_max` over k; with `label` `.accuracy`, 0 to 1, and `.converged`, 1 or 0: whether
            the logistic fit did within `max_iter` steps.
        frequencies ([freq]): The k.

    Raises:
        NotApplicable: Frequencies are asked for, and the task is not addition; there is no such
            hook.

    Nothing to find:
        R² at most about 0; accuracy about 1/p, or the share of the most frequent label where the
        labels are not equally frequent.

    Source:
        Held-out linear probes, arXiv:1610.01644.
    """
    if not 0 <= alpha < np.inf:
        raise ValueError(f"alpha must be a finite number of at least 0; got {alpha}")
    max_iter, seed = integer("max_iter", max_iter, 1), integer("seed", seed)
    p = snapshot.task.n_elements
    if frequencies is None:
        frequencies = tuple(range(1, p // 2 + 1))
    if any(not 1 <= k <= p // 2 for k in frequencies):
        raise ValueError(f"frequencies must lie between 1 and {p // 2}; got {frequencies}")
    if frequencies:
        snapshot.require("linear_probe of frequencies", addition=True)
    fitted, scored = _sides(snapshot, fit, seed)
    fit_pairs, score_pairs = _pairs(*fitted), _pairs(*scored)
    kept = _held_out(fit_pairs, score_pairs, held_out)
    fit_labels = fitted[0].labels.cpu().numpy()[fitted[1]]
    score_labels = scored[0].labels.cpu().numpy()[scored[1]][kept]
    targets = [fourier_targets(x.sum(1), frequencies, p) for x in (fit_pairs, score_pairs[kept])]

    values: dict[str, float | np.ndarray] = {"frequencies": np.array(frequencies)}
    for hook in last_block_hooks(snapshot) if hooks is None else hooks:
        x = last_position(fitted[0], hook)[fitted[1]]
        y = last_position(scored[0], hook)[scored[1]][kept]
        mean = x.mean(0)
        scale = (x - mean).std() or 1.0
        x, y = (x - mean) / scale, (y - mean) / scale
        found: dict[str, float | np.ndarray] = {}
        if frequencies:
            found |= ridge_r2(x, targets[0], y, targets[1], alpha)
        if label:
            found |= logistic_accuracy(x, fit_labels, y, score_labels, max_iter)
        values |= {f"{hook}.{name}": value for name, value in found.items()}
    return values


def fourier_targets(
    sums: Int[np.ndarray, " batch"], frequencies: tuple[int, ...], p: int
) -> Float[np.ndarray, "batch 2 freq"]:
    """cos ω_k s and sin ω_k s."""
    angle = 2 * np.pi / p * (np.outer(sums, np.array(frequencies, dtype=int)) % p)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def ridge_r2(
    fit_x: Float[np.ndarray, "fit feature"],
    fit_targets: Float[np.ndarray, "fit 2 freq"],
    x: Float[np.ndarray, "batch feature"],
    targets: Float[np.ndarray, "batch 2 freq"],
    alpha: float | int = 1.0,
) -> dict[str, float | np.ndarray]:
    """R² on (x, targets) of one ridge regression, fitted on the others, for all targets."""
    from sklearn.linear_model import Ridge

    flat = fit_targets.reshape(len(fit_targets), -1)
    predicted = Ridge(alpha).fit(fit_x, flat).predict(x).reshape(targets.shape)
    residual = np.square(targets - predicted).sum(0)
    total = np.square(targets - targets.mean(0)).sum(0)
    # The sine of k = p/2 is 0 but for rounding, and has no variance to explain.
    r2 = 1 - residual / np.where(total > 1e-12 * len(x), total, np.nan)
    both = 1 - residual.sum(0) / total.sum(0)
    return {
        "cos": r2[0],
        "sin": r2[1],
        "r2": both,
        "r2_mean": float(both.mean()),
        "r2_max": float(both.max()),
    }


def logistic_accuracy(
    fit_x: Float[np.ndarray, "fit feature"],
    fit_labels: Int[np.ndarray, " fit"],
    x: Float[np.ndarray, "batch feature"],
    labels: Int[np.ndarray, " batch"],
    max_iter: int = 200,
) -> dict[str, float | np.ndarray]:
    """Accuracy on (x, labels) of a multinomial logistic regression, fitted on the others."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # `converged` says it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe = LogisticRegression(solver="lbfgs", max_iter=max_iter).fit(fit_x, fit_labels)
    return {
        "accuracy": float((probe.predict(x) == labels).mean()),
        "converged": float(probe.n_iter_.max() < max_iter),
    }


Rows = tuple[Inputs, np.ndarray]


def _sides(snapshot: Snapshot, fit: str, seed: int) -> tuple[Rows, Rows]:
    """The inputs, and which of their rows, to fit on and to score on."""
    check_one_of("fit", fit, get_args(Fit))
    if fit == "train":
        train, test = snapshot.train, snapshot.test
        return (train, np.arange(len(train.tokens))), (test, np.arange(len(test.tokens)))
    order = np.random.default_rng(seed).permutation(len(snapshot.test.tokens))
    half = len(order) // 2
    return (snapshot.test, order[:half]), (snapshot.test, order[half:])


def _pairs(inputs: Inputs, rows: np.ndarray) -> Int[np.ndarray, "batch 2"]:
    return inputs.tokens[:, :2].cpu().numpy()[rows]


def _held_out(
    fitted: Int[np.ndarray, "fit 2"], scored: Int[np.ndarray, "batch 2"], held_out: str
) -> Bool[np.ndarray, " batch"]:
    check_one_of("held_out", held_out, get_args(HeldOut))
    if held_out == "ordered":
        return np.ones(len(scored), dtype=bool)
    known = {(int(a), int(b)) for a, b in fitted}
    kept = np.array([(int(b), int(a)) not in known for a, b in scored])
    if kept.sum() < 2:
        raise ValueError(
            "at least two pairs to score must not be mirror images of the fitted ones; got "
            f"{kept.sum()} of {len(kept)}: give held_out='ordered'"
        )
    return kept
