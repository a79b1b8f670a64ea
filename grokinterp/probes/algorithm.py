"""Which algorithm adds: clock or pizza, by the two measures of arXiv:2306.17844."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from grokinterp.checks import integer
from grokinterp.snapshot import Inputs, Snapshot

ROUNDING = 64
"""Machine epsilons of spread, relative to the largest value, that rounding alone may cause."""


def gradient_symmetricity(
    snapshot: Snapshot, samples: int = 1000, seed: int = 0
) -> dict[str, float | np.ndarray]:
    """Whether a logit's gradients in the two embeddings point the same way: pizza or clock.

    Mean over sampled (a, b, c) of cos(∂L_c/∂E_a, ∂L_c/∂E_b), with L_c the logit of class c at the
    last position, and E_a, E_b `hook_embed` at positions 0 and 1. 1 if the model reads a and b only
    through E_a + E_b, as a pizza does; a clock, which multiplies them, has cos ω(a - b) at a single
    frequency ω, 0 on average.

    Args:
        samples: How many (a, b, c): the pairs uniform over the task's inputs, c over every class
            but `=`, with replacement.
        seed: Draws them.

    Returns:
        value (float): Over the samples whose two gradients are both non-zero; NaN if there are
            none. -1 to 1.
        std (float): Their standard deviation (population).
        per_sample ([sample]): The cosines; NaN at the other samples.
        sampled ([sample, 3]): (a, b, c).

    Raises:
        NotApplicable: Hooks of the model mix examples.

    Nothing to find:
        Nearly 1: before training attention is nearly uniform, and the model reads little but E_a +
        E_b. A norm in front of the values lowers it, because it acts on E_a and E_b apart.

    Source:
        arXiv:2306.17844.
    """
    samples, seed = integer("samples", samples, 1), integer("seed", seed)
    task = snapshot.task
    random = np.random.default_rng(seed)
    pairs = np.array(task.pairs())[random.integers(task.n_pairs, size=samples)]
    classes = random.integers(task.equals_token, size=samples)
    return symmetricity_of(snapshot, np.column_stack([pairs, classes]))


@torch.inference_mode(False)  # Which switches gradients on, too.
def symmetricity_of(
    snapshot: Snapshot, sampled: Int[np.ndarray, "sample 3"]
) -> dict[str, float | np.ndarray]:
    """The same of given (a, b, c)."""
    model, pairs, classes = snapshot.model, sampled[:, :2], sampled[:, 2]
    tokens = snapshot.encode([(int(a), int(b)) for a, b in pairs])
    snapshot.require_unmixed("gradient_symmetricity", Inputs(model, tokens, tokens[:, 0]))
    embedded: list[Tensor] = []

    def start_here(x: Tensor, hook: Any) -> Tensor:
        embedded.append(x.detach().requires_grad_())
        return embedded[0]

    logits = model.run_with_hooks(tokens, fwd_hooks=[("hook_embed", start_here)])
    chosen = torch.from_numpy(classes).to(logits.device)[:, None]
    # Examples do not mix, so one backward of the sum gives each its own gradient.
    total = logits[:, -1].gather(1, chosen).sum()
    [gradient] = torch.autograd.grad(total, embedded)
    by_a, by_b = gradient[:, 0].cpu().double(), gradient[:, 1].cpu().double()
    lengths = by_a.norm(dim=1) * by_b.norm(dim=1)
    cosines = ((by_a * by_b).sum(1) / lengths).numpy()
    defined = cosines[np.isfinite(cosines)]
    return {
        "value": float(defined.mean()) if len(defined) else float("nan"),
        "std": float(defined.std()) if len(defined) else float("nan"),
        "per_sample": cosines,
        "sampled": sampled,
    }


def distance_irrelevance(snapshot: Snapshot) -> dict[str, float | np.ndarray]:
    """How little the correct logit depends on d = a - b: clock or pizza.

    The mean over d of the standard deviation over s = a + b (both mod p) of the correct logit,
    divided by its standard deviation over all p² pairs; population ones.

    Returns:
        value (float): 0 to 1: 0 if the correct logit is a function of a - b alone (a pizza); for
            odd p, 1 if of a + b alone, √(v_s/(v_s + v_d)) for a sum of both. NaN where the spread
            is no more than rounding: an ideal clock has a constant correct logit, and the
            definition is 0/0.
        std (float): The spread over all pairs, in logits.
        per_distance ([p]): The spread at each d.

    Raises:
        NotApplicable: The task is not addition.

    Nothing to find:
        1 - 3/(4p) for noise (0.993 at p = 113): a value near 1 says no more than that distance does
        not matter.

    Source:
        arXiv:2306.17844.
    """
    snapshot.require("distance_irrelevance", addition=True)
    p = snapshot.task.n_elements
    logits, labels = snapshot.grid.logits, snapshot.grid.labels
    return irrelevance_of(logits.gather(1, labels.to(logits.device)[:, None]).view(p, p))


def irrelevance_of(correct: Float[Tensor, "p p"]) -> dict[str, float | np.ndarray]:
    """The same of a table of correct logits by [a, b].

    >>> a = torch.arange(7.0)
    >>> irrelevance_of(torch.cos(0.9 * ((a[:, None] - a) % 7)))["value"]
    0.0
    >>> round(irrelevance_of(torch.cos(0.9 * ((a[:, None] + a) % 7)))["value"], 6)
    1.0
    """
    epsilon = torch.finfo(correct.dtype).eps
    table = correct.detach().cpu().double().numpy()
    a = np.arange(len(table))
    # Row d holds the pairs (a, a - d).
    by_distance = table[a, (a - a[:, None]) % len(table)]
    per_distance, std = by_distance.std(1), table.std()
    degenerate = std <= ROUNDING * epsilon * np.abs(table).max()
    return {
        "value": float("nan") if degenerate else float(per_distance.mean() / std),
        "std": float(std),
        "per_distance": per_distance,
    }
