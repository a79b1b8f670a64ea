"""What many tests share: small models of every placement, with weights that leave no symmetry."""

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from grokinterp.config import ModelConfig
from grokinterp.model.build import build_model
from grokinterp.model.transformer import PlacedTransformer
from grokinterp.placement import pre_norm_lattice
from grokinterp.task import ModularTask, Task
from grokinterp.training.forward import attend
from grokinterp.training.last_block import last_block

TASK = ModularTask(p=5)
EVERY_PLACEMENT = (*(placement.name for placement in pre_norm_lattice()), "post", "peri")
TOKENS, LABELS = TASK.encode(TASK.pairs())


def slow_but(quick: Iterable[str], every: Iterable[str]) -> list:
    """Values of a parameter, of which the quick tests take these alone."""
    quick, every = set(quick), list(every)
    assert quick < set(every)
    return [pytest.param(one, marks=() if one in quick else pytest.mark.slow) for one in every]


def small_config(placement: str, **options) -> ModelConfig:
    return ModelConfig(placement, d_model=8, n_heads=2, d_mlp=12, **options)


def perturbed_model(config: ModelConfig, seed: int = 0, task: Task = TASK) -> PlacedTransformer:
    """A float64 model whose gains and biases are not at their initial values."""
    model = build_model(config, task, seed, dtype="float64")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in filter(lambda p: p.requires_grad, model.parameters()):
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter += 0.3 * noise
    return model


def values_and_gradients(
    config: ModelConfig,
    parameters: dict[str, Tensor],
    tokens: Tensor,
    scale: Tensor,
    of_logits: Tensor,
    of_residual: Tensor | None,
    uniform: bool = False,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Of the fast path, with runs side by side: the logits and the residual, and the gradients of
    the trained parameters, the last block's own and autograd's of what is before it."""
    leaves = {n: v.detach().clone().requires_grad_(v.requires_grad) for n, v in parameters.items()}
    trained = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    written = {name: torch.zeros_like(leaf) for name, leaf in trained.items()}
    attended, pull_attended = attend(config, leaves, tokens, uniform)
    with torch.no_grad():
        logits, residual, pullback = last_block(config, leaves, attended, scale)
        # Their memory may be used.
        residual_gradient = None if of_residual is None else of_residual.clone()
        before = pullback(of_logits.clone(), residual_gradient, written)
    rest = pull_attended(before)
    gradients = {name: one + rest.get(name, 0) for name, one in written.items()}
    return logits, residual, gradients
