"""What many tests share: small models of every placement, with weights that leave no symmetry."""

import torch

from grokinterp.config import ModelConfig
from grokinterp.model.build import build_model
from grokinterp.model.transformer import PlacedTransformer
from grokinterp.placement import pre_norm_lattice
from grokinterp.task import ModularTask

TASK = ModularTask(p=5)
EVERY_PLACEMENT = (*(placement.name for placement in pre_norm_lattice()), "post", "peri")
TOKENS, LABELS = TASK.encode(TASK.pairs())


def small_config(placement: str, **options) -> ModelConfig:
    return ModelConfig(placement, d_model=8, n_heads=2, d_mlp=12, **options)


def perturbed_model(config: ModelConfig, seed: int = 0) -> PlacedTransformer:
    """A float64 model whose gains and biases are not at their initial values."""
    model = build_model(config, TASK, seed, dtype="float64")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in filter(lambda p: p.requires_grad, model.parameters()):
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter += 0.3 * noise
    return model
