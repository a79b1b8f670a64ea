"""The paper's transformer with the initial weights of a seed."""

from __future__ import annotations

import torch

from grokinterp.checks import check_kind
from grokinterp.config import ModelConfig
from grokinterp.model.parameters import initial_weights, is_trained
from grokinterp.model.shape import shape_of
from grokinterp.model.transformer import PlacedTransformer
from grokinterp.task import Task


@torch.inference_mode(False)  # Its parameters can be trained, whatever mode the caller is in.
def build_model(
    config: ModelConfig,
    task: Task,
    seed: int = 0,
    dtype: str = "float32",
    device: str = "cpu",
) -> PlacedTransformer:
    """The model of a config with the initial weights of a seed.

    The result is a HookedTransformer (on TransformerLens 4, a HookedRootModule with its hooks) with
    the paper's parameters and no others: the biases that TransformerLens adds to Q, K, V, O and the
    unembedding are zero buffers. Equal seeds give equal
    weights to equal names, whatever the placement. No global RNG is touched.

    Args:
        config: The architecture.
        task: Gives the vocabulary.
        seed: Draws the weights.
        dtype: float32 or float64.
        device: cpu, cuda, cuda:N or mps.

    Raises:
        ValueError: An argument is not what it must be.
    """
    check_kind("config", config, ModelConfig, 'ModelConfig("mlp-pre")')
    check_kind("task", task, Task, "ModularTask(113)")
    model = PlacedTransformer(shape_of(config, task, dtype), config.readout_scale)
    # For the interventions that are about what the tokens mean.
    model.task = task  # type: ignore[assignment]
    model.load_state_dict(initial_weights(config, task, seed, dtype), strict=False)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_trained(config, name))
    return model.to(device)
