"""The paper's transformer as a HookedTransformer: the only place that builds TransformerLens parts.

A plain HookedTransformer normalises every block input or none. Here each part is placed, so
that one block serves all placements, and every pathway has one hook on the tensor that its
weights multiply (after the norm, where there is one):

    blocks.i.attn.hook_q_in   blocks.i.attn.hook_k_in   blocks.i.attn.hook_v_in
    blocks.i.mlp.hook_in      unembed.hook_in

Each norm runs once per forward, so its hook_scale and hook_normalized fire once.
"""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Callable
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.components import MLP, Attention, GatedMLP, LayerNorm, RMSNorm, Unembed
from transformer_lens.components import TransformerBlock as PlainBlock
from transformer_lens.hook_points import HookPoint

from grokinterp.config import ModelConfig
from grokinterp.hooks.pathway import divided, root_mean_square
from grokinterp.task import ModularTask

DTYPES = {"float32": torch.float32, "float64": torch.float64}

# The authors' code: exact norms in a block, but for the two around the MLP of peri, which keep
# their default, as does the final norm. Their numbers (tests/reference.json) hold only so.
EXACT_EPS = 0.0
DEFAULT_EPS = 1e-5


@torch.inference_mode(False)  # Its parameters can be trained, whatever mode the caller is in.
def build_model(
    config: ModelConfig,
    task: ModularTask,
    seed: int = 0,
    dtype: str = "float32",
    device: str = "cpu",
) -> HookedTransformer:
    """The model of a config with the initial weights of a seed.

    The result is a HookedTransformer with the paper's parameters and no others: the biases that
    TransformerLens adds to Q, K, V, O and the unembedding are zero buffers. Equal seeds give equal
    weights to equal names, whatever the placement. No global RNG is touched.

    Args:
        config: The architecture.
        task: Gives the vocabulary.
        seed: Draws the weights.
        dtype: float32 or float64.
        device: cpu, cuda, cuda:N or mps.
    """
    model = _assemble(config, task, dtype)
    model.load_state_dict(_initial_weights(model, config, seed), strict=False)
    for name, parameter in model.named_parameters():
        frozen = name.startswith("ln_final") and config.final_norm == "center-only"
        frozen |= config.freeze_ln and is_norm(name)
        frozen |= config.freeze_mlp_biases and ".mlp.b_" in name
        if frozen:
            parameter.requires_grad_(False)
    return model.to(device, print_details=False)


def is_norm(parameter_name: str) -> bool:
    """Whether this parameter is a norm's gain or bias."""
    return parameter_name.split(".")[-2].startswith("ln")


def norm_eps(config: ModelConfig, name: str) -> float:
    """The eps of a block's norm, by its name in the block."""
    around_mlp = name in ("ln2", "ln2_post")
    return DEFAULT_EPS if config.ln.style == "peri" and around_mlp else EXACT_EPS


def _assemble(config: ModelConfig, task: ModularTask, dtype: str) -> HookedTransformer:
    kind = {"layer": "LN", "rms": "RMS"}[config.norm]
    cfg = HookedTransformerConfig(
        n_layers=config.n_layers,
        d_model=config.d_model,
        d_head=config.d_head,
        n_heads=config.n_heads,
        d_mlp=config.d_mlp,
        n_ctx=3,
        d_vocab=task.d_vocab,
        d_vocab_out=task.d_vocab if config.answers == "p+1" else task.equals_token,
        act_fn="silu" if config.gated_mlp else "relu",
        gated_mlp=config.gated_mlp,
        attention_dir="causal" if config.causal else "bidirectional",
        # TransformerLens reads this for the final norm; norms inside blocks are placed below.
        normalization_type=None if config.final_norm == "none" else kind,
        eps=DEFAULT_EPS,
        init_weights=False,
        device="cpu",
        dtype=DTYPES[dtype],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        model = HookedTransformer(cfg, move_to_device=False)
    for index in range(config.n_layers):
        model.blocks[index] = PlacedBlock(cfg, index, config)
    tied_to = model.embed if config.tied_unembedding else None
    model.unembed = cast(Unembed, ScaledUnembed(cfg, config.readout_scale, tied_to))
    model.setup()
    # For the interventions that are about what the tokens mean.
    model.task = task  # type: ignore[assignment]
    return model


class HookedAttention(Attention):
    """Attention with a hook on each of its inputs, and without trainable biases."""

    def __init__(self, cfg: HookedTransformerConfig, index: int) -> None:
        super().__init__(cfg, "global", index)
        for name in ("b_Q", "b_K", "b_V", "b_O"):
            _freeze_to_buffer(self, name)
        self.hook_q_in = HookPoint()  # [batch, pos, d_model]
        self.hook_k_in = HookPoint()  # [batch, pos, d_model]
        self.hook_v_in = HookPoint()  # [batch, pos, d_model]

    def calculate_qkv_matrices(
        self, query_input: Tensor, key_input: Tensor, value_input: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return super().calculate_qkv_matrices(
            self.hook_q_in(query_input), self.hook_k_in(key_input), self.hook_v_in(value_input)
        )


class HookedMLP(MLP):
    """ReLU MLP with a hook on its input."""

    def __init__(self, cfg: HookedTransformerConfig) -> None:
        super().__init__(cfg)
        self.hook_in = HookPoint()  # [batch, pos, d_model]

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        return super().forward(self.hook_in(x))


class BiasedGatedMLP(GatedMLP):
    """((x W_in + b_in) * silu(x W_gate + b_gate)) W_out + b_out, as the authors define it.

    TransformerLens's own gated MLP has no b_gate and adds b_in after the product.
    """

    def __init__(self, cfg: HookedTransformerConfig) -> None:
        super().__init__(cfg)
        self.b_gate = nn.Parameter(torch.zeros(self.d_mlp, dtype=cfg.dtype))
        self.hook_in = HookPoint()  # [batch, pos, d_model]

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        x = self.hook_in(x)
        gate = self.hook_pre(x @ self.W_gate + self.b_gate)
        linear = self.hook_pre_linear(x @ self.W_in + self.b_in)
        return self.hook_post(linear * self.act_fn(gate)) @ self.W_out + self.b_out


class ScaledUnembed(nn.Module):
    """logits = α · x W_U, with W_U the transposed embedding if tied.

    TransformerLens's logit attributions read W_U, so they are of the logits before α.
    """

    def __init__(
        self, cfg: HookedTransformerConfig, readout_scale: float, tied_to: nn.Module | None
    ) -> None:
        super().__init__()
        self.cfg = cfg
        self.readout_scale = readout_scale
        # In a tuple, so that the embedding is not registered here a second time.
        self.tied_to = None if tied_to is None else (tied_to,)
        if tied_to is None:
            self.register_parameter(
                "W_U", nn.Parameter(torch.empty(cfg.d_model, cfg.d_vocab_out, dtype=cfg.dtype))
            )
        self.register_buffer("b_U", torch.zeros(cfg.d_vocab_out, dtype=cfg.dtype))
        self.hook_in = HookPoint()  # [batch, pos, d_model]
        self.hook_out = HookPoint()  # [batch, pos, d_vocab]

    def __getattr__(self, name: str) -> Tensor | nn.Module:
        tied_to = self.__dict__.get("tied_to")
        if name == "W_U" and tied_to is not None:
            return tied_to[0].W_E.T[:, : self.cfg.d_vocab_out]
        return super().__getattr__(name)

    def forward(self, residual: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos v"]:
        logits = self.hook_in(residual) @ self.W_U + self.b_U
        return self.hook_out(self.readout_scale * logits)


class PlacedBlock(PlainBlock):
    """A transformer block whose norms sit where the placement says."""

    def __init__(self, cfg: HookedTransformerConfig, index: int, config: ModelConfig) -> None:
        super().__init__(cfg, index)
        self.placement = config.ln
        self.attn = HookedAttention(cfg, index)
        self.mlp = BiasedGatedMLP(cfg) if config.gated_mlp else HookedMLP(cfg)
        for name in ("ln1", "ln1_post", "ln2", "ln2_post"):
            placed = name in self.placement.norm_names
            setattr(self, name, _norm(cfg, config, name) if placed else nn.Identity())

    def forward(
        self,
        resid_pre: Float[Tensor, "batch pos d_model"],
        shortformer_pos_embed: Tensor | None = None,
        past_kv_cache_entry: object = None,
        attention_mask: Tensor | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        resid_pre = self.hook_resid_pre(resid_pre)
        query, key, value = self._attention_inputs(resid_pre)
        attn_out = self.attn(
            query_input=query,
            key_input=key,
            value_input=value,
            past_kv_cache_entry=past_kv_cache_entry,
            attention_mask=attention_mask,
        )
        attn_out = self.hook_attn_out(self.ln1_post(attn_out))
        post = self.placement.style == "post"
        resid_mid = resid_pre + attn_out
        return self.finish(self.hook_resid_mid(self.ln1(resid_mid) if post else resid_mid))

    def finish(
        self, resid_mid: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch pos d_model"]:
        """From the residual stream between attention and MLP to the block's end."""
        post = self.placement.style == "post"
        mlp_in = self.hook_mlp_in(resid_mid.clone()) if self.cfg.use_hook_mlp_in else resid_mid
        mlp_out = self.mlp(mlp_in if post else self.ln2(mlp_in))
        mlp_out = self.hook_mlp_out(self.ln2_post(mlp_out))
        resid_post = resid_mid + mlp_out
        return self.hook_resid_post(self.ln2(resid_post) if post else resid_post)

    def _attention_inputs(self, resid_pre: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        placement = self.placement
        normalised = (placement.q, placement.k, placement.v)
        if self.cfg.use_split_qkv_input or self.cfg.use_attn_in:
            # TransformerLens's per-head inputs, before the norm: one norm call for each.
            heads = resid_pre.unsqueeze(-2).expand(-1, -1, self.cfg.n_heads, -1)
            if self.cfg.use_attn_in:
                heads = self.hook_attn_in(heads.clone())
            hooks: tuple[Callable[[Tensor], Tensor], ...] = (
                (self.hook_q_input, self.hook_k_input, self.hook_v_input)
                if self.cfg.use_split_qkv_input
                else (nn.Identity(),) * 3
            )
            split = [hook(heads.clone()) for hook in hooks]
            q, k, v = (
                self.ln1(x) if norm else x for x, norm in zip(split, normalised, strict=True)
            )
            return q, k, v
        ln_x = self.ln1(resid_pre) if any(normalised) else resid_pre
        q, k, v = (ln_x if norm else resid_pre for norm in normalised)
        return q, k, v


class PlacedLayerNorm(LayerNorm):
    """LayerNorm, also of a vector without variation, which becomes zeros before gain and bias."""

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        x = x - x.mean(-1, keepdim=True)
        scale = self.hook_scale(root_mean_square(x, self.eps))
        return self.hook_normalized(divided(x, scale)) * self.w + self.b


class PlacedRMSNorm(RMSNorm):
    """RMSNorm, also of zeros, which stay zeros."""

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        scale = self.hook_scale(root_mean_square(x, self.eps))
        return self.hook_normalized(divided(x, scale)) * self.w


def _norm(cfg: HookedTransformerConfig, config: ModelConfig, name: str) -> nn.Module:
    norm = (PlacedLayerNorm if config.norm == "layer" else PlacedRMSNorm)(cfg)
    norm.eps = norm_eps(config, name)
    return norm


def _freeze_to_buffer(module: nn.Module, name: str) -> None:
    value = getattr(module, name).detach().clone()
    delattr(module, name)
    module.register_buffer(name, value)


def _initial_weights(
    model: HookedTransformer, config: ModelConfig, seed: int
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
