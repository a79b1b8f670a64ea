"""The parameters of an architecture: names, shapes, which are trained, and what a seed draws.

Nothing here needs a model, nor the seconds that importing TransformerLens takes.
"""

from __future__ import annotations

import math
import zlib

import torch
from jaxtyping import Float
from torch import Tensor

from grokinterp.config import ModelConfig
from grokinterp.task import Task

CONSTANTS = ("mask", "IGNORE")
"""What a HookedTransformer's attention has in its state dict besides weights."""


def parameter_shapes(config: ModelConfig, task: Task) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter, by its TransformerLens name, in the order of the model's."""
    d_model, d_head, d_mlp = config.d_model, config.d_head, config.d_mlp
    assert d_mlp is not None

    into, out_of = (d_model, d_mlp), (d_mlp, d_model)
    mlp = {"W_in": into, "b_in": (d_mlp,), "W_out": out_of, "b_out": (d_model,)}
    if config.gated_mlp:
        mlp = {"W_in": into, "W_out": out_of, "W_gate": into}
        mlp |= {"b_in": (d_mlp,), "b_out": (d_model,), "b_gate": (d_mlp,)}
    heads = (config.n_heads, d_model, d_head)
    block = {f"mlp.{name}": shape for name, shape in mlp.items()}
    block = {
        "attn.W_Q": heads,
        "attn.W_O": (config.n_heads, d_head, d_model),
        "attn.W_K": heads,
        "attn.W_V": heads,
    } | block
    names = config.ln.norm_names
    before = _norm_shapes(config, *(name for name in ("ln1", "ln2") if name in names))
    after = _norm_shapes(config, *(name for name in ("ln1_post", "ln2_post") if name in names))
    block = before | block | after
    shapes: dict[str, tuple[int, ...]] = {
        "embed.W_E": (task.d_vocab, d_model),
        "pos_embed.W_pos": (3, d_model),
    }
    for layer in range(config.n_layers):
        shapes |= {f"blocks.{layer}.{name}": shape for name, shape in block.items()}
    if config.final_norm != "none":
        shapes |= _norm_shapes(config, "ln_final")
    if not config.tied_unembedding:
        answers = task.d_vocab if config.answers == "p+1" else task.equals_token
        shapes["unembed.W_U"] = (d_model, answers)
    return shapes


def _norm_shapes(config: ModelConfig, *names: str) -> dict[str, tuple[int, ...]]:
    parts = ("w", "b") if config.norm == "layer" else ("w",)
    return {f"{name}.{part}": (config.d_model,) for name in names for part in parts}


def is_trained(config: ModelConfig, parameter_name: str) -> bool:
    """Whether a run of this architecture trains this parameter."""
    frozen = parameter_name.startswith("ln_final") and config.final_norm == "center-only"
    frozen |= config.freeze_ln and is_norm(parameter_name)
    frozen |= config.freeze_mlp_biases and ".mlp.b_" in parameter_name
    return not frozen


def is_norm(parameter_name: str) -> bool:
    """Whether this parameter is a norm's gain or bias."""
    return parameter_name.split(".")[-2].startswith("ln")


@torch.inference_mode(False)  # They can be trained, whatever mode the caller is in.
def initial_weights(
    config: ModelConfig, task: Task, seed: int, dtype: str = "float32"
) -> dict[str, Float[Tensor, "..."]]:
    """Every parameter's initial value, drawn in float64 from a stream of its own.

    A stream per (seed, name) keeps runs of one seed comparable: adding a norm, a layer or a
    gate leaves the values of all other tensors as they were.
    """
    weights = {}
    for name, shape in parameter_shapes(config, task).items():
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}:{name}".encode()))
        value = torch.empty(shape, dtype=torch.float64)
        _draw(value, name, config, generator)
        weights[name] = (value * config.weight_init_scale).to(getattr(torch, dtype))
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
