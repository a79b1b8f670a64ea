"""The paper's transformer with the initial weights of a seed."""

from __future__ import annotations

import math
import zlib

import torch
from jaxtyping import Float
from torch import Tensor

from grokinterp.config import ModelConfig
from grokinterp.model.shape import shape_of
from grokinterp.model.transformer import PlacedTransformer
from grokinterp.task import ModularTask


@torch.inference_mode(False)  # Its parameters can be trained, whatever mode the caller is in.
def build_model(
    config: ModelConfig,
    task: ModularTask,
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
    """
    model = PlacedTransformer(shape_of(config, task, dtype), config.readout_scale)
    # For the interventions that are about what the tokens mean.
    model.task = task  # type: ignore[assignment]
    model.load_state_dict(_initial_weights(model, config, seed), strict=False)
    for name, parameter in model.named_parameters():
        frozen = name.startswith("ln_final") and config.final_norm == "center-only"
        frozen |= config.freeze_ln and is_norm(name)
        frozen |= config.freeze_mlp_biases and ".mlp.b_" in name
        if frozen:
            parameter.requires_grad_(False)
    return model.to(device)


def is_norm(parameter_name: str) -> bool:
    """Whether this parameter is a norm's gain or bias."""
    return parameter_name.split(".")[-2].startswith("ln")


def _initial_weights(
    model: PlacedTransformer, config: ModelConfig, seed: int
) -> dict[str, Float[Tensor, "..."]]:
    """Every parameter's initial value, drawn in float64 from a stream of its own.

    A stream per (seed, name) keeps runs of one seed comparable: adding a norm, a layer or a
    gate leaves the values of all other tensors as they were.
    """
    weights = {}
    for name, parameter in model.named_parameters():
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}:{name}".encode()))
        value = torch.empty(parameter.shape, dtype=torch.float64)
        _draw(value, name, config, generator)
        weights[name] = (value * config.weight_init_scale).to(parameter.dtype)
    return weights


# A normal distribution within two standard deviations. Not by torch.nn.init.trunc_normal_: from one
# seed, PyTorch 2.11 draws by inversion with it, and 2.13 by rejection.


def _draw_by_rejection(value: Tensor, std: float, generator: torch.Generator) -> None:
    """What is beyond the two standard deviations is drawn again."""
    value.normal_(0, std, generator=generator)
    while (beyond := value.abs() > 2 * std).any():
        again = torch.empty_like(value).normal_(0, std, generator=generator)
        value.copy_(torch.where(beyond, again, value))


def _draw_by_inversion(value: Tensor, std: float, generator: torch.Generator) -> None:
    """The inverse of the distribution function, of uniform numbers."""
    bound = math.erf(math.sqrt(2))
    value.uniform_(-bound, bound, generator=generator).erfinv_().mul_(std * math.sqrt(2))
    value.clamp_(-2 * std, 2 * std)


def _draw(value: Tensor, name: str, config: ModelConfig, generator: torch.Generator) -> None:
    leaf = name.split(".")[-1]
    if leaf in ("W_E", "W_U"):
        value.normal_(0, config.d_model**-0.5, generator=generator)
    elif leaf == "W_pos":
        value.normal_(0, 0.02, generator=generator)
    elif leaf in ("W_Q", "W_K", "W_V"):
        bound = math.sqrt(6 / (4 * config.d_model))
        value.uniform_(-bound, bound, generator=generator)
    elif leaf in ("W_O", "W_in", "W_gate", "W_out"):
        fan_in = config.d_mlp if leaf == "W_out" else config.d_model
        assert fan_in is not None
        if config.init == "kaiming":
            value.normal_(0, math.sqrt(2 / fan_in), generator=generator)
        else:
            draw = _draw_by_rejection if config.init == "lecun" else _draw_by_inversion
            draw(value, fan_in**-0.5, generator)
    else:
        value.fill_(1.0 if leaf == "w" else 0.0)
