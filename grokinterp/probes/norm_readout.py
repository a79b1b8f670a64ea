"""How much of the label can be read off the norm of the MLP's input."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from grokinterp.checks import check_one_of, integer
from grokinterp.snapshot import Snapshot

SOURCES = ("mlp_input", "residual")
Shuffle = Literal["mirrored", "examples"]


def norm_readout(
    snapshot: Snapshot,
    source: Literal["mlp_input", "residual"] = "mlp_input",
    shuffle: Shuffle = "mirrored",
    layer: int = 0,
    n_neighbors: int = 5,
    shuffles: int = 10,
    seed: int = 0,
) -> dict[str, float | np.ndarray]:
    """How much of the label can be read off the scalar ‖x‖ of the MLP's input.

    Train accuracy of a k-nearest-neighbour classifier of the label on ‖x‖ at the last position. A
    train example is among its own neighbours, so the accuracy is to be held against the same on
    shuffled labels, not against 1/p.

    Args:
        source: x is what the MLP's weights multiply (`mlp_input`: after its norm, where there is
            one), or the residual stream before that norm (`residual`).
        shuffle: A model that is nearly symmetric in a and b gives (a, b) and (b, a) one norm, and
            addition gives them one label, so without any training they find each other. `mirrored`
            keeps that out of the rise: mirrored pairs of one label are relabelled as one.
            `examples` permutes the labels of single examples, and counts it as readout.
        layer: Counted from 0, or from -1 backwards.
        n_neighbors: k.
        shuffles: How many times the labels are shuffled.
        seed: Draws the shuffles.

    Returns:
        accuracy (float): 0 to 1.
        shuffled_accuracy (float): The same on shuffled labels, mean over `shuffles`.
        shuffled_std (float): Its standard deviation (population).
        rise (float): The difference of the first two.

    Nothing to find:
        A rise of 0, give or take `shuffled_std` (0.004 at p = 113).

    Source:
        A control of ours for `shortcut`.
    """
    check_one_of("source", source, SOURCES)
    layer = snapshot.layer(layer)
    if source == "mlp_input":
        x = snapshot.train.mlp_input(layer)
    else:
        x = snapshot.train.last(f"blocks.{layer}.hook_resid_mid")
    return readout_of(
        x.cpu().double().norm(dim=-1).numpy(),
        snapshot.train.tokens[:, :2].cpu().numpy(),
        snapshot.train.labels.cpu().numpy(),
        shuffle,
        n_neighbors,
        shuffles,
        seed,
    )


def readout_of(
    norms: Float[np.ndarray, " batch"],
    pairs: Int[np.ndarray, "batch 2"],
    labels: Int[np.ndarray, " batch"],
    shuffle: Shuffle = "mirrored",
    n_neighbors: int = 5,
    shuffles: int = 10,
    seed: int = 0,
) -> dict[str, float | np.ndarray]:
    """The same of the norms, pairs (a, b) and labels of some examples."""
    from sklearn.neighbors import KNeighborsClassifier

    shuffles, seed = integer("shuffles", shuffles, 1), integer("seed", seed)
    if not 1 <= n_neighbors <= len(labels):
        raise ValueError(
            f"n_neighbors must lie between 1 and the {len(labels)} train examples; "
            f"got {n_neighbors}"
        )
    check_one_of("shuffle", shuffle, get_args(Shuffle))
    if shuffle == "mirrored":
        units = np.column_stack([np.sort(pairs, axis=1), labels])
        found, unit = np.unique(units, axis=0, return_inverse=True)
        unit_labels = found[:, 2]
    else:
        unit, unit_labels = np.arange(len(labels)), labels
    random = np.random.default_rng(seed)
    shuffled = [random.permutation(unit_labels)[unit] for _ in range(shuffles)]
    # As the outputs of one classifier, all labellings share one search for neighbours.
    targets = np.column_stack([labels, *shuffled])
    classifier = KNeighborsClassifier(n_neighbors).fit(norms[:, None], targets)
    accuracies = (classifier.predict(norms[:, None]) == targets).mean(0)
    actual, control = accuracies[0], accuracies[1:]
    return {
        "accuracy": float(actual),
        "shuffled_accuracy": float(control.mean()),
        "shuffled_std": float(control.std()),
        "rise": float(actual - control.mean()),
    }
