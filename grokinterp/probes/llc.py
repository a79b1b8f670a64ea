"""The local learning coefficient: how degenerate the minimum is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from grokinterp.checks import integer, positive
from grokinterp.snapshot import Snapshot


@torch.inference_mode(False)  # Which switches gradients on, too.
def llc(
    snapshot: Snapshot,
    step_size: float = 1e-7,
    localization: float | int = 1e5,
    chains: int = 4,
    draws: int = 200,
    burn_in: int = 100,
    batch_size: int = 512,
    seed: int = 0,
) -> dict[str, float | np.ndarray]:
    """The local learning coefficient, how degenerate the minimum is: λ̂ = nβ (E[L_n(w)] − L_n(w*)).

    L_n is the mean train cross-entropy in nats (float64) of the model's own logits (a recipe's
    temperature, initial prediction and penalty are not in it), w* the snapshot's weights, n the
    number of train examples and nβ = n/ln n. The expectation is over SGLD chains (package
    devinterp) that start at w* and, with ε the `step_size` and γ the `localization`, step by Δw =
    −(ε/2) (nβ ∇L_B(w) + γ (w − w*)) + N(0, ε) on random batches B.

    The localization holds on to every direction whose curvature is below γ/nβ, so the value depends
    on γ and ε: compare checkpoints under one setting. The defaults suit the grokked models of the
    paper, whose sharpest curvature is about 2000: SGLD needs ε well below 4/(nβ · curvature), and a
    chain forgets its start in 2/(εγ) steps. At p = 113 a step takes about 0.07 s on one core, and
    the defaults about 90 s.

    Args:
        step_size: ε.
        localization: γ.
        chains: How many chains, at least 2.
        draws: Steps of each whose batch losses count.
        burn_in: Steps before them.
        batch_size: Examples in B, or all where there are fewer.
        seed: Draws batches and noise.

    Returns:
        value (float): Mean over chains. A regular minimum of d parameters has d/2, and a degenerate
            one less; a negative value means that the weights are no minimum of the loss.
        std (float): Their standard deviation.
        per_chain ([chain]): Each chain's.
        losses ([chain, step]): Burn-in included; they should have levelled off before the draws.

    Raises:
        NotApplicable: Hooks of the model mix examples, because a batch B would mix others.
        ValueError: A chain diverges, or the extra is missing: `pip install 'grokinterp[llc]'`.

    Nothing to find:
        0 where the loss is flat around the weights. Before training it is about 0 or negative,
        because the weights are no minimum.

    Source:
        arXiv:2308.12108.
    """
    for name, value, least in (
        ("chains", chains, 2),  # For their standard deviation.
        ("draws", draws, 1),
        ("burn_in", burn_in, 0),
        ("batch_size", batch_size, 1),
        ("seed", seed, 0),
    ):
        integer(name, value, least)
    positive("step_size", step_size)
    if not 0 <= localization < math.inf:
        raise ValueError(f"localization must be finite and at least 0; got {localization}")
    model, train = snapshot.model, snapshot.train
    snapshot.require_unmixed("llc", train)
    named = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    n = len(train.labels)
    n_beta = n / math.log(n)
    traces = []
    for chain in range(chains):
        # A seed each for the order of the batches and for the noise.
        batch_seed, noise_seed = (2 * (chains * seed + chain) + i for i in (0, 1))
        batches = _batches(n, batch_size, torch.Generator().manual_seed(batch_seed))

        def loss(parameters: Mapping[str, Tensor], batches: Iterator[Tensor] = batches) -> Tensor:
            batch = next(batches).to(train.tokens.device)
            logits = torch.func.functional_call(model, dict(parameters), (train.tokens[batch],))
            return F.cross_entropy(logits[:, -1].double(), train.labels[batch])

        steps = burn_in + draws
        traces.append(
            sgld_losses(loss, named, n_beta, step_size, float(localization), steps, noise_seed)
        )
    losses = np.stack(traces)
    at_minimum = F.cross_entropy(train.logits.double(), train.labels).item()
    per_chain = n_beta * (losses[:, burn_in:].mean(1) - at_minimum)
    return {
        "value": float(per_chain.mean()),
        "std": float(per_chain.std(ddof=1)),
        "per_chain": per_chain,
        "losses": losses,
    }


def sgld_losses(
    loss_function: Callable[[Mapping[str, Tensor]], Tensor],
    parameters: Mapping[str, Tensor],
    n_beta: float,
    step_size: float,
    localization: float,
    steps: int,
    seed: int = 0,
) -> np.ndarray:
    """The loss before each step of an SGLD chain from these parameters, which stay as they are."""
    sampler = _sampler()
    weights = {name: p.detach().clone().requires_grad_() for name, p in parameters.items()}
    leaves = list(weights.values())
    optimizer = sampler(leaves, lr=step_size, localization=localization, nbeta=n_beta)
    noise = torch.Generator(leaves[0].device).manual_seed(seed)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.inference_mode(False):  # Which switches gradients on, too.
            loss = loss_function(weights)
            gradient = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        for leaf, g in zip(leaves, gradient, strict=True):
            leaf.grad = g
        optimizer.step(noise_generator=noise)
        losses.append(loss.detach())
    trace = torch.stack(losses).cpu().double().numpy()
    if not np.isfinite(trace).all():
        raise ValueError(
            f"the SGLD chain diverged at step {int(np.argmin(np.isfinite(trace)))}; give a "
            f"step_size below {step_size}"
        )
    return trace


def _sampler() -> Callable[..., Any]:
    try:
        from devinterp.optim import SGMCMC
    except ImportError as error:
        raise ValueError(
            "llc needs the package devinterp; install it with pip install 'grokinterp[llc]'"
        ) from error
    return SGMCMC.sgld


def _batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        order = torch.randperm(n, generator=generator)
        # Whole batches only, so that every step has the same noise.
        yield from order.split(min(size, n))[: max(1, n // size)]
