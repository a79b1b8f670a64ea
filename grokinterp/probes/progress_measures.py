"""Progress measures of arXiv:2301.05217: how far the Fourier solution is, under the memorised one.

L[a, b, c] are the logits over the p × p grid without the class `=`, and P their projection, class
by class, on cos ω_k(a + b) and sin ω_k(a + b) of the key frequencies k. Cross-entropies are over
the p classes, in float64, in nats; a recipe's temperature and initial prediction are not in them.
All are read off the pass over the grid, so a split's is refused where hooks mix the examples of a
batch. The keys are those of the training's end by a rule, of the snapshot itself with `at="self"`,
or the given `frequencies`, whatever the model uses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from grokinterp.checks import check_one_of
from grokinterp.probes.fourier import sum_waves
from grokinterp.probes.frequencies import At, Frequencies, Rule, keys
from grokinterp.snapshot import Snapshot, Split

Level = Literal["logits", "neurons"]
Values = dict[str, float | np.ndarray]


def logit_formula(
    snapshot: Snapshot,
    rule: Rule = "neuron_logit",
    at: At = "final",
    frequencies: Frequencies = None,
) -> Values:
    """How well Σ_k α_k cos ω_k(a + b − c) describes the logits L.

    With c_k the wave scaled to unit norm over all (a, b, c), α_k = ⟨L, c_k⟩. The logits are those
    of all p × p inputs without the class `=`.

    Args:
        rule: Which frequencies are key ones; see `key_frequencies`.
        at: Whose: the training's end's (`final`), or the snapshot's own (`self`).
        frequencies: These, in place of those of a rule.

    Returns:
        fve (float): Share of L's variance, about its overall mean, that all keys explain. 0 to 1.
        fve_per_key ([key]): The share of each.
        coefficients ([key]): α_k.
        keys ([key]): The k.

    Raises:
        NotApplicable: The task is not addition.
        ValueError: The model has no key frequency by the rule.

    Nothing to find:
        About 0: 1e-8 before training.

    Source:
        arXiv:2301.05217.
    """
    snapshot.require("logit_formula", addition=True)
    chosen = keys(snapshot, rule, at, frequencies)
    p, logits = snapshot.task.n_elements, _logits(snapshot)
    t = torch.arange(p)
    # L summed over the pairs of one a + b, then over the c of one a + b - c.
    total = (t[:, None] + t).flatten() % p
    by_sum = torch.zeros(p, p, dtype=torch.float64).index_add_(0, total, logits)
    difference = (t[:, None] - t) % p
    by_difference = torch.zeros(p, dtype=torch.float64)
    by_difference.index_add_(0, difference.flatten(), by_sum.flatten())
    turns = torch.tensor(chosen)[:, None] * t % p
    waves = (2 * math.pi / p * turns.double()).cos()
    # A wave's square sums to p³/2 over (a, b, c), or to p³ for k = p/2.
    norms = (waves.square().sum(1) * p**2).sqrt()
    coefficients = waves @ by_difference / norms
    variance = (logits - logits.mean()).square().sum()
    shares = coefficients.square() / variance
    return {
        "fve": shares.sum().item(),
        "fve_per_key": shares.numpy(),
        "coefficients": coefficients.numpy(),
        "keys": np.array(chosen),
    }


def restricted_loss(
    snapshot: Snapshot,
    split: Split = "grid",
    level: Level = "logits",
    rule: Rule = "neuron_logit",
    at: At = "final",
    frequencies: Frequencies = None,
) -> Values:
    """Cross-entropy of the key frequencies' part of the logits: of P L + mean over (a, b) of L.

    P projects the logits L, class by class, on cos ω_k(a + b) and sin ω_k(a + b) of the key
    frequencies. Over the p classes, in float64; a recipe's temperature and initial prediction are
    not in it. Falls as the Fourier solution forms, before the test loss does.

    Args:
        split: The inputs: `train`, `test` or `grid`, which is all of them.
        level: `logits`, or `neurons`: project `mlp.hook_post` in the same way, and rerun the model
            from there.
        rule: Which frequencies are key ones; see `key_frequencies`.
        at: Whose: the training's end's (`final`), or the snapshot's own (`self`).
        frequencies: These, in place of those of a rule.

    Returns:
        loss (float): In nats, 0 or more.
        full (float): That of L itself.
        keys ([key]): The k.

    Raises:
        NotApplicable: The task is not addition; the level is neurons, and the model has more than
            one layer; or a split is asked for, and hooks mix the examples of a batch.
        ValueError: The model has no key frequency by the rule.

    Nothing to find:
        ln p (4.73 at p = 113) or a little more, the loss of logits that do not depend on a + b.

    Source:
        arXiv:2301.05217.
    """
    snapshot.require("restricted_loss", addition=True)
    chosen = keys(snapshot, rule, at, frequencies)
    whole, logits_of = _level(snapshot, level)
    restricted = _projection(whole, snapshot, chosen) + whole.mean(0)
    return {
        "loss": _loss(snapshot, logits_of(restricted), split),
        "full": _loss(snapshot, _logits(snapshot), split),
        "keys": np.array(chosen),
    }


def excluded_loss(
    snapshot: Snapshot,
    split: Split = "train",
    level: Level = "logits",
    rule: Rule = "neuron_logit",
    at: At = "final",
    frequencies: Frequencies = None,
) -> Values:
    """Cross-entropy of the logits without the key frequencies: of L − P L.

    P projects the logits L, class by class, on cos ω_k(a + b) and sin ω_k(a + b) of the key
    frequencies. Over the p classes, in float64; a recipe's temperature and initial prediction are
    not in it. Low while the model memorises, up to chance and beyond when it relies on the Fourier
    solution alone.

    Args:
        split: The inputs: `train`, `test` or `grid`, which is all of them.
        level: `logits`, or `neurons`: take them out of `mlp.hook_post`, and rerun the model from
            there.
        rule: Which frequencies are key ones; see `key_frequencies`.
        at: Whose: the training's end's (`final`), or the snapshot's own (`self`).
        frequencies: These, in place of those of a rule.

    Returns:
        loss (float): Without all keys. In nats, 0 or more.
        per_key ([key]): Without each alone.
        full (float): That of L itself.
        keys ([key]): The k.

    Raises:
        NotApplicable: The task is not addition; the level is neurons, and the model has more than
            one layer; or a split is asked for, and hooks mix the examples of a batch.
        ValueError: The model has no key frequency by the rule.

    Nothing to find:
        `full`: taking out waves that carry nothing changes nothing.

    Source:
        arXiv:2301.05217.
    """
    snapshot.require("excluded_loss", addition=True)
    chosen = keys(snapshot, rule, at, frequencies)
    whole, logits_of = _level(snapshot, level)

    def without(some: tuple[int, ...]) -> float:
        rest = whole - _projection(whole, snapshot, some)
        return _loss(snapshot, logits_of(rest), split)

    return {
        "loss": without(chosen),
        "per_key": np.array([without((k,)) for k in chosen]),
        "full": _loss(snapshot, _logits(snapshot), split),
        "keys": np.array(chosen),
    }


def _level(snapshot: Snapshot, level: Level) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """What is projected, [pair, column], and the logits that follow from a change of it."""
    check_one_of("level", level, get_args(Level))
    if level == "logits":
        return _logits(snapshot), lambda logits: logits
    snapshot.require("the level neurons", one_layer=True, mlp=True)
    post = snapshot.grid.last("blocks.0.mlp.hook_post").cpu().double()
    return post, lambda changed: _rerun(snapshot, changed)


def _logits(snapshot: Snapshot) -> Float[Tensor, "pair p"]:
    return snapshot.grid.logits[:, : snapshot.task.n_elements].cpu().double()


def _projection(
    x: Float[Tensor, "pair column"], snapshot: Snapshot, frequencies: tuple[int, ...]
) -> Float[Tensor, "pair column"]:
    waves = sum_waves(snapshot.task.n_elements, frequencies)
    return waves @ (waves.T @ x)


def _rerun(snapshot: Snapshot, post: Float[Tensor, "pair d_mlp"]) -> Float[Tensor, "pair p"]:
    """The logits over the grid with these neurons at the last position."""

    def replace(x: Tensor, hook: object) -> Tensor:
        return torch.cat([x[:, :-1], post[:, None].to(x)], dim=1)

    with snapshot.model.hooks(fwd_hooks=[("blocks.0.mlp.hook_post", replace)]):
        logits = snapshot.grid.rerun_last_mlp()
    return logits[:, : snapshot.task.n_elements].cpu().double()


def _loss(snapshot: Snapshot, logits: Float[Tensor, "pair p"], split: Split) -> float:
    inputs = snapshot.inputs(split)
    if split != "grid":
        snapshot.require_unmixed(f"the loss of the {split} pairs", snapshot.grid)
    a, b = inputs.tokens[:, 0].cpu(), inputs.tokens[:, 1].cpu()
    return F.cross_entropy(logits[a * snapshot.task.n_elements + b], inputs.labels.cpu()).item()
