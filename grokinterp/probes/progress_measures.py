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
    """How well Σ_k α_k cos ω_k(a + b − c) describes the logits.

    With c_k the wave scaled to unit norm over all (a, b, c): `coefficients` [key] α_k = ⟨L, c_k⟩,
    `fve_per_key` [key] the share of L's variance (about its overall mean) that each explains, and
    `fve` of all of them, 0 to 1; `keys` [key]. Addition only.
    """
    snapshot.require("logit_formula", addition=True)
    chosen = keys(snapshot, rule, at, frequencies)
    p, logits = snapshot.task.p, _logits(snapshot)
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
    """Cross-entropy of what the key frequencies leave: of P L + the mean of L over (a, b).

    Falls as the Fourier solution forms, before the test loss does. `level="neurons"` projects
    `mlp.hook_post` in the same way, and reruns the model from there. `loss`; `full`, that of L
    itself; `keys` [key]. Addition only.
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
    """Cross-entropy without the key frequencies: of L − P L.

    Low while the model memorises, up to chance when it relies on the Fourier solution alone.
    `loss` without all keys, `per_key` [key] without each alone, `full` that of L itself, and
    `keys` [key]. `level="neurons"` takes them out of `mlp.hook_post`, and reruns the model from
    there. Addition only.
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
    return snapshot.grid.logits[:, : snapshot.task.p].cpu().double()


def _projection(
    x: Float[Tensor, "pair column"], snapshot: Snapshot, frequencies: tuple[int, ...]
) -> Float[Tensor, "pair column"]:
    waves = sum_waves(snapshot.task.p, frequencies)
    return waves @ (waves.T @ x)


def _rerun(snapshot: Snapshot, post: Float[Tensor, "pair d_mlp"]) -> Float[Tensor, "pair p"]:
    """The logits over the grid with these neurons at the last position."""

    def replace(x: Tensor, hook: object) -> Tensor:
        return torch.cat([x[:, :-1], post[:, None].to(x)], dim=1)

    with snapshot.model.hooks(fwd_hooks=[("blocks.0.mlp.hook_post", replace)]):
        logits = snapshot.grid.rerun_last_mlp()
    return logits[:, : snapshot.task.p].cpu().double()


def _loss(snapshot: Snapshot, logits: Float[Tensor, "pair p"], split: Split) -> float:
    inputs = snapshot.inputs(split)
    if split != "grid":
        snapshot.require_unmixed(f"the loss of the {split} pairs", snapshot.grid)
    a, b = inputs.tokens[:, 0].cpu(), inputs.tokens[:, 1].cpu()
    return F.cross_entropy(logits[a * snapshot.task.p + b], inputs.labels.cpu()).item()
