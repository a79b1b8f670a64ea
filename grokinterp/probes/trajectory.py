"""The path of the weights over a run's checkpoints: its principal components and its length."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grokinterp.snapshot import NotApplicable, Snapshot

COMPONENTS = 3

# Weights at a time whose products are summed in float64.
BLOCK = 10_000


def trajectory(snapshot: Snapshot, parameter: str | None = None) -> dict[str, float | np.ndarray]:
    """How the weights θ moved through a run: PCA of its checkpoints, and how straight they went.

    One PCA for the whole run, from its start to its end, so that the coordinates of all its
    checkpoints are in the same axes. Each checkpoint counts once, however many epochs lie between
    two: where they are closer together, that time counts more.

    Args:
        parameter: Only this one, such as `blocks.0.mlp.W_in`; all of them, frozen ones too, when
            not given.

    Returns:
        share (float): Of the checkpoints' variance about their mean, the first component's. 0 to 1;
            NaN where nothing moved.
        share_of_three (float): The first three components'. 0 to 1.
        shares ([component]): Each one's, descending.
        component_1 (float): This checkpoint's coordinate on the first component, from the mean over
            the checkpoints, in the weights' own units. Of the coordinates on a component, the
            largest in size is positive.
        component_2 (float): On the second.
        component_3 (float): On the third.
        coordinates ([checkpoint, 3]): Those of every checkpoint of the run.
        epochs ([checkpoint]): Their epochs.
        path_length (float): Σ ‖θ_i - θ_{i-1}‖ over the checkpoints up to this one. Training itself
            went at least as far.
        net_displacement (float): ‖θ - θ_0‖ of this one.
        path_over_net (float): The one over the other. 1 (a straight line) or more; NaN where the
            weights are those of the start.

    Raises:
        NotApplicable: The run is not over, one of its checkpoints is gone, it has one alone, or the
            model has no such parameter.

    Nothing to find:
        A random walk in many dimensions looks like a path: its components are cosines over time,
        with shares 6/(πk)² for component k: 0.61, 0.15 and 0.07, 0.83 together. Its path is √steps
        times as long as its displacement.

    Source:
        PCA of trajectories: arXiv:1712.09913. That of random walks: arXiv:1806.08805.
    """
    path = snapshot.other("final").once(path_of, parameter)
    if snapshot.epoch not in path.epochs:
        raise NotApplicable(
            f"trajectory places a checkpoint among those of its run, and epoch {snapshot.epoch} is "
            f"none of {', '.join(map(str, path.epochs))}"
        )
    here = path.epochs.index(snapshot.epoch)
    values: dict[str, float | np.ndarray] = {
        "share": float(path.shares[0]),
        "share_of_three": float(path.shares[:COMPONENTS].sum()),
        "shares": path.shares,
    }
    for number, coordinate in enumerate(path.coordinates[here], start=1):
        values[f"component_{number}"] = float(coordinate)
    length, net = path.lengths[:here].sum(), path.displacements[here]
    return {
        **values,
        "coordinates": path.coordinates,
        "epochs": np.array(path.epochs),
        "path_length": float(length),
        "net_displacement": float(net),
        "path_over_net": float(length / net) if net > 0 else float("nan"),
    }


@dataclass(frozen=True)
class Path:
    """What is known of the checkpoints of a run together."""

    epochs: tuple[int, ...]
    shares: Float[np.ndarray, " component"]
    coordinates: Float[np.ndarray, "checkpoint 3"]
    lengths: Float[np.ndarray, " step"]
    displacements: Float[np.ndarray, " checkpoint"]


def path_of(final: Snapshot, parameter: str | None = None) -> Path:
    """The path from the start, epoch 0, to a snapshot, by way of every checkpoint in between."""
    epochs, weights, at = [_epoch(final)], [_weights(final, parameter)], final
    while epochs[-1] > 0:
        at = at.other("previous")
        if _epoch(at) >= epochs[-1]:
            raise NotApplicable(
                f"the checkpoint before epoch {epochs[-1]} must be of an earlier one; it is of "
                f"epoch {at.epoch}"
            )
        epochs.append(_epoch(at))
        weights.append(_weights(at, parameter))
    if len(epochs) < 2:
        raise NotApplicable("a path goes through two checkpoints or more, and there is one alone")
    points = torch.stack(weights[::-1])
    shares, coordinates = principal_components(points)
    return Path(
        tuple(epochs[::-1]),
        shares,
        coordinates,
        np.array([_distance(a, b) for a, b in pairwise(points)]),
        np.array([_distance(points[0], point) for point in points]),
    )


def principal_components(
    points: Float[Tensor, "point weight"],
) -> tuple[Float[np.ndarray, " component"], Float[np.ndarray, "point 3"]]:
    """The components' shares of the points' variance, descending, and the first coordinates.

    From the points' inner products, of which there are fewer than weights.

    >>> corners = torch.tensor([[0.0, 0.0], [0.0, 2.0], [4.0, 0.0], [4.0, 2.0]])
    >>> shares, coordinates = principal_components(corners)
    >>> shares.round(12), abs(coordinates).round(12)[0]
    (array([0.8, 0.2, 0. ]), array([2., 1., 0.]))
    """
    products = torch.zeros(len(points), len(points), dtype=torch.float64)
    for block in points.split(BLOCK, dim=1):
        # Rounding of a mean must not pass for movement, which a difference is free of.
        moved = block.double() - block[0].double()
        moved -= moved.mean(0)
        products += moved @ moved.T
    squares, axes = torch.linalg.eigh(products)
    squares, axes = squares.flip(0).clamp_min(0), axes.flip(1)
    coordinates = torch.zeros(len(points), COMPONENTS, dtype=torch.float64)
    first = (axes * squares.sqrt())[:, :COMPONENTS]
    largest = first.abs().argmax(0, keepdim=True)
    coordinates[:, : first.shape[1]] = first * first.gather(0, largest).sign()
    # The mean is taken off, so that as many points have one component fewer.
    shares = squares[:-1] / squares.sum()
    return shares.numpy(), coordinates.numpy()


def _epoch(snapshot: Snapshot) -> int:
    if snapshot.epoch is None:
        raise NotApplicable(
            "a path goes from epoch to epoch, and of this snapshot none is known; take it from a "
            "run (run.snapshot()), or give Snapshot(epoch=...)"
        )
    return snapshot.epoch


def _weights(snapshot: Snapshot, parameter: str | None) -> Float[Tensor, " weight"]:
    named = {name: p.detach().cpu().flatten() for name, p in snapshot.model.named_parameters()}
    if parameter is None:
        return torch.cat([*named.values()])
    if parameter not in named:
        close = get_close_matches(parameter, named, n=3) or list(named)[:3]
        raise NotApplicable(
            f"the model has no parameter {parameter!r}; close ones: {', '.join(close)}"
        )
    return named[parameter].clone()


def _distance(a: Float[Tensor, " weight"], b: Float[Tensor, " weight"]) -> float:
    return (a.double() - b.double()).norm().item()
