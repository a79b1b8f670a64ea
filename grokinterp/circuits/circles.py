"""The embedding on the circles of its frequencies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grokinterp.circuits.picture import Frame, Picture, pack
from grokinterp.probes.fourier import frequency_norms, require_order
from grokinterp.snapshot import Snapshot


def frequency_circles(snapshot: Snapshot, frequencies: Sequence[int]) -> Picture:
    """Each token's embedding on the cos/sin plane of each frequency: see `circle_coordinates`.

    A dashed ring shows where random weights of the same power fall.

    Args:
        snapshot: The model.
        frequencies: Each from 1 to n // 2, of waves over the n tokens of the task's cyclic group;
            for a slider, the same at every checkpoint.
    """
    snapshot.require_unhooked("frequency_circles", "hook_embed")
    order = require_order(snapshot, "frequency_circles")
    n = len(order)
    frequencies = [int(frequency) for frequency in frequencies]
    if not frequencies:
        raise ValueError(f"frequency_circles needs at least one frequency from 1 to {n // 2}")
    for frequency in frequencies:
        if not 1 <= frequency <= n // 2:
            raise ValueError(f"a frequency must be from 1 to {n // 2}; got {frequency}")
    embedding = snapshot.model.W_E.detach().cpu().double()[order]
    total = embedding.square().sum().item()
    shares = frequency_norms(embedding).square() / total
    panels = [
        {
            "title": f"frequency {frequency}",
            "frequency": frequency,
            "note": f"{100 * shares[frequency - 1]:.1f}% of the embedding's power; "
            f"of random weights, {100 * 2 / n:.1f}%",
            "points": pack(circle_coordinates(embedding, frequency)),
            "tokens": order.tolist(),
            "ring": (2 * total) ** 0.5 / n,
        }
        for frequency in frequencies
    ]
    return Picture(
        "circles",
        "Tokens on the circles of the embedding",
        "The embedding of each token on the plane of its cosine and sine at a frequency. Colour, "
        "and the line, follow the angle that the token has on a perfect circle. Random weights "
        "of the same power scatter around the dashed ring: a circle counts where it is wider.",
        (Frame(snapshot.epoch, {"panels": panels}),),
        snapshot.title,
    )


def circle_coordinates(
    embedding: Float[Tensor, "p d_model"], frequency: int
) -> Float[np.ndarray, "p 2"]:
    """Each row of an embedding on the cos/sin plane of ω = 2πk/p, on orthonormal axes.

    The axes are the orthonormal pair closest to [Σ E_t cos ωt, Σ E_t sin ωt], its polar factor, so
    that a circle stays a circle and row 0 lies at angle 0.

    The plane is found from the tokens that it shows, so even random embeddings form a ring: of
    radius √2 ‖E‖ / p, as their power at each frequency is 2/p of ‖E‖² on average.

    Args:
        embedding: Row t is the token in place t of the task's cyclic group: token t, where the task
            is addition.
        frequency: k, from 1 to p // 2.
    """
    p = len(embedding)
    tokens = torch.arange(p, dtype=embedding.dtype, device=embedding.device)
    angle = 2 * torch.pi * frequency / p * tokens
    amplitudes = embedding.T @ torch.stack([angle.cos(), angle.sin()], dim=1)
    left, _, right = torch.linalg.svd(amplitudes, full_matrices=False)
    points = embedding @ left @ right
    if 2 * frequency == p:
        points[:, 1] = 0  # The last frequency of an even p is a cosine alone.
    return points.cpu().numpy()
