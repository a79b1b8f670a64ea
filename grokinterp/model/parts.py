"""What the model is made of, on PyTorch and TransformerLens' HookPoint alone.

A plain HookedTransformer normalises every block input or none. Here each norm is placed, so that
one block serves all placements, and every pathway has one hook on the tensor that its weights
multiply (after the norm, where there is one):

    blocks.i.attn.hook_q_in   blocks.i.attn.hook_k_in   blocks.i.attn.hook_v_in
    blocks.i.mlp.hook_in      unembed.hook_in

Each norm runs once per forward, so its hook_scale and hook_normalized fire once (for each of q, k
and v where TransformerLens' split inputs are asked for). Every other hook,
parameter and flag has the name and the meaning that TransformerLens gives it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens.FactoredMatrix import FactoredMatrix
from transformer_lens.hook_points import HookPoint

from grokinterp.hooks.pathway import divided, root_mean_square
from grokinterp.model.parameters import CONSTANTS
from grokinterp.model.shape import ModelShape
from grokinterp.placement import norm_eps

Residual = Float[Tensor, "batch pos d_model"]


class Embed(nn.Module):
    """The row of W_E of each token."""

    def __init__(self, cfg: ModelShape) -> None:
        super().__init__()
        self.W_E = _weight(cfg, cfg.d_vocab, cfg.d_model)

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Residual:
        return self.W_E[tokens]


class PosEmbed(nn.Module):
    """The row of W_pos of each position."""

    def __init__(self, cfg: ModelShape) -> None:
        super().__init__()
        self.W_pos = _weight(cfg, cfg.n_ctx, cfg.d_model)

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Residual:
        return self.W_pos[: tokens.shape[1]].expand(len(tokens), -1, -1).clone()


class Attention(nn.Module):
    """softmax(QKᵀ/√d_head) V W_O, with a hook on each of its inputs.

    Its biases are zero buffers: the paper's model has none, and TransformerLens' tools read them.
    """

    b_Q: Float[Tensor, "head d_head"]
    b_K: Float[Tensor, "head d_head"]
    b_V: Float[Tensor, "head d_head"]
    b_O: Float[Tensor, " d_model"]

    def __init__(self, cfg: ModelShape) -> None:
        super().__init__()
        self.cfg = cfg
        self.attn_scale = math.sqrt(cfg.d_head)
        heads = (cfg.n_heads, cfg.d_model, cfg.d_head)
        self.W_Q = _weight(cfg, *heads)
        self.W_O = _weight(cfg, cfg.n_heads, cfg.d_head, cfg.d_model)
        self.W_K = _weight(cfg, *heads)
        self.W_V = _weight(cfg, *heads)
        for name in ("b_Q", "b_K", "b_V"):
            self.register_buffer(name, torch.zeros(cfg.n_heads, cfg.d_head, dtype=cfg.dtype))
        self.register_buffer("b_O", torch.zeros(cfg.d_model, dtype=cfg.dtype))
        self.hook_k = HookPoint()  # [batch, pos, head, d_head]
        self.hook_q = HookPoint()  # [batch, pos, head, d_head]
        self.hook_v = HookPoint()  # [batch, pos, head, d_head]
        self.hook_z = HookPoint()  # [batch, pos, head, d_head]
        self.hook_attn_scores = HookPoint()  # [batch, head, query, key]
        self.hook_pattern = HookPoint()  # [batch, head, query, key]
        self.hook_result = HookPoint()  # [batch, pos, head, d_model], if cfg.use_attn_result
        self.hook_q_in = HookPoint()  # [batch, pos, d_model]
        self.hook_k_in = HookPoint()  # [batch, pos, d_model]
        self.hook_v_in = HookPoint()  # [batch, pos, d_model]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Also of a plain HookedTransformer's, whose attention has constants in it."""
        for name in CONSTANTS:
            state_dict.pop(f"{prefix}{name}", None)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def QK(self) -> FactoredMatrix:
        """W_Q W_Kᵀ of each head."""
        return FactoredMatrix(self.W_Q, self.W_K.mT)

    @property
    def OV(self) -> FactoredMatrix:
        """W_V W_O of each head."""
        return FactoredMatrix(self.W_V, self.W_O)

    def forward(self, query_input: Tensor, key_input: Tensor, value_input: Tensor) -> Tensor:
        """Each input is [batch, pos, d_model], or [batch, pos, head, d_model]: one for each head.

        Of fewer queries than keys, the queries are at the last positions.
        """
        q = self.hook_q(_by_head(self.hook_q_in(query_input), self.W_Q, self.b_Q))
        k = self.hook_k(_by_head(self.hook_k_in(key_input), self.W_K, self.b_K))
        v = self.hook_v(_by_head(self.hook_v_in(value_input), self.W_V, self.b_V))
        scores = q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1) / self.attn_scale
        if self.cfg.attention_dir == "causal":
            n_queries, n_keys = scores.shape[-2:]
            every = torch.ones(n_queries, n_keys, dtype=torch.bool, device=scores.device)
            scores = scores.masked_fill(every.triu(n_keys - n_queries + 1), -torch.inf)
        pattern = self.hook_pattern(self.hook_attn_scores(scores).softmax(-1))
        z = self.hook_z((pattern @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3))
        if not self.cfg.use_attn_result:
            return F.linear(z.flatten(2), self.W_O.flatten(0, 1).T, self.b_O)
        result = self.hook_result(torch.einsum("bphd,hdm->bphm", z, self.W_O))
        return result.sum(2) + self.b_O


class MLP(nn.Module):
    """ReLU(x W_in + b_in) W_out + b_out, with a hook on its input."""

    def __init__(self, cfg: ModelShape) -> None:
        super().__init__()
        self.W_in = _weight(cfg, cfg.d_model, cfg.d_mlp)
        self.b_in = _zeros(cfg, cfg.d_mlp)
        self.W_out = _weight(cfg, cfg.d_mlp, cfg.d_model)
        self.b_out = _zeros(cfg, cfg.d_model)
        self.act_fn: Callable[[Tensor], Tensor] = F.relu
        self.hook_pre = HookPoint()  # [batch, pos, d_mlp]
        self.hook_post = HookPoint()  # [batch, pos, d_mlp]
        self.hook_in = HookPoint()  # [batch, pos, d_model]

    def forward(self, x: Residual) -> Residual:
        pre = self.hook_pre(F.linear(self.hook_in(x), self.W_in.T, self.b_in))
        return F.linear(self.hook_post(self.act_fn(pre)), self.W_out.T, self.b_out)


class GatedMLP(nn.Module):
    """((x W_in + b_in) * SiLU(x W_gate + b_gate)) W_out + b_out, with a hook on its input.

    As the authors define it: TransformerLens' own has no b_gate, and adds b_in after the product.
    """

    def __init__(self, cfg: ModelShape) -> None:
        super().__init__()
        self.W_in = _weight(cfg, cfg.d_model, cfg.d_mlp)
        self.W_out = _weight(cfg, cfg.d_mlp, cfg.d_model)
        self.W_gate = _weight(cfg, cfg.d_model, cfg.d_mlp)
        self.b_in = _zeros(cfg, cfg.d_mlp)
        self.b_out = _zeros(cfg, cfg.d_model)
        self.b_gate = _zeros(cfg, cfg.d_mlp)
        self.act_fn: Callable[[Tensor], Tensor] = F.silu
        self.hook_pre = HookPoint()  # [batch, pos, d_mlp]
        self.hook_pre_linear = HookPoint()  # [batch, pos, d_mlp]
        self.hook_post = HookPoint()  # [batch, pos, d_mlp]
        self.hook_in = HookPoint()  # [batch, pos, d_model]

    def forward(self, x: Residual) -> Residual:
        x = self.hook_in(x)
        gate = self.hook_pre(x @ self.W_gate + self.b_gate)
        linear = self.hook_pre_linear(x @ self.W_in + self.b_in)
        return self.hook_post(linear * self.act_fn(gate)) @ self.W_out + self.b_out


class LayerNorm(nn.Module):
    """LayerNorm, also of a vector without variation, which becomes zeros before gain and bias."""

    def __init__(self, cfg: ModelShape, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.w = nn.Parameter(torch.ones(cfg.d_model, dtype=cfg.dtype))
        self.b = _zeros(cfg, cfg.d_model)
        self.hook_scale = HookPoint()  # [batch, pos, 1]
        self.hook_normalized = HookPoint()  # [batch, pos, d_model]

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        x = x - x.mean(-1, keepdim=True)
        scale = self.hook_scale(root_mean_square(x, self.eps))
        return self.hook_normalized(divided(x, scale)) * self.w + self.b


class RMSNorm(nn.Module):
    """RMSNorm, also of zeros, which stay zeros."""

    def __init__(self, cfg: ModelShape, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.w = nn.Parameter(torch.ones(cfg.d_model, dtype=cfg.dtype))
        self.hook_scale = HookPoint()  # [batch, pos, 1]
        self.hook_normalized = HookPoint()  # [batch, pos, d_model]

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        scale = self.hook_scale(root_mean_square(x, self.eps))
        return self.hook_normalized(divided(x, scale)) * self.w


class Unembed(nn.Module):
    """logits = α (x W_U + b_U), with W_U the transposed embedding if tied.

    Its `W_U` is the weight; the model's own `W_U` is what multiplies, α included. b_U is a zero
    buffer, as those of the attention.
    """

    def __init__(self, cfg: ModelShape, readout_scale: float, tied_to: Embed | None) -> None:
        super().__init__()
        self.readout_scale = readout_scale
        self.d_vocab_out = cfg.d_vocab_out
        # In a tuple, so that the embedding is not registered here a second time.
        self.tied_to = None if tied_to is None else (tied_to,)
        if tied_to is None:
            self.register_parameter("W_U", _weight(cfg, cfg.d_model, cfg.d_vocab_out))
        self.register_buffer("b_U", torch.zeros(cfg.d_vocab_out, dtype=cfg.dtype))
        self.hook_in = HookPoint()  # [batch, pos, d_model]
        self.hook_out = HookPoint()  # [batch, pos, d_vocab_out]

    def __getattr__(self, name: str) -> Any:
        tied_to = self.__dict__.get("tied_to")
        if name == "W_U" and tied_to is not None:
            return tied_to[0].W_E.T[:, : self.d_vocab_out]
        return super().__getattr__(name)

    def forward(self, residual: Residual) -> Float[Tensor, "batch pos d_vocab_out"]:
        logits = self.hook_in(residual) @ self.W_U + self.b_U
        return self.hook_out(self.readout_scale * logits)


class Block(nn.Module):
    """A transformer block whose norms sit where the placement says."""

    # For TransformerLens 4's logit lens: what comes out is the residual stream.
    hook_out_is_single_residual_stream = True

    def __init__(self, cfg: ModelShape) -> None:
        super().__init__()
        self.cfg = cfg
        self.placement = cfg.placement
        self.ln1 = self._norm("ln1")
        self.ln2 = self._norm("ln2")
        self.attn = Attention(cfg)
        self.mlp = GatedMLP(cfg) if cfg.gated_mlp else MLP(cfg)
        self.hook_attn_in = HookPoint()  # [batch, pos, head, d_model], if cfg.use_attn_in
        self.hook_q_input = HookPoint()  # [batch, pos, head, d_model], if cfg.use_split_qkv_input
        self.hook_k_input = HookPoint()  # likewise
        self.hook_v_input = HookPoint()  # likewise
        self.hook_mlp_in = HookPoint()  # [batch, pos, d_model], if cfg.use_hook_mlp_in
        self.hook_attn_out = HookPoint()  # [batch, pos, d_model]
        self.hook_mlp_out = HookPoint()  # [batch, pos, d_model]
        self.hook_resid_pre = HookPoint()  # [batch, pos, d_model]
        self.hook_resid_mid = HookPoint()  # [batch, pos, d_model]
        self.hook_resid_post = HookPoint()  # [batch, pos, d_model]
        self.ln1_post = self._norm("ln1_post")
        self.ln2_post = self._norm("ln2_post")

    def _norm(self, name: str) -> nn.Module:
        if name not in self.placement.norm_names:
            return nn.Identity()
        return norm(self.cfg, norm_eps(self.placement, name))

    def forward(self, resid_pre: Residual) -> Residual:
        resid_pre = self.hook_resid_pre(resid_pre)
        query, key, value = self._attention_inputs(resid_pre)
        attn_out = self.attn(query_input=query, key_input=key, value_input=value)
        attn_out = self.hook_attn_out(self.ln1_post(attn_out))
        post = self.placement.style == "post"
        resid_mid = resid_pre + attn_out
        return self.finish(self.hook_resid_mid(self.ln1(resid_mid) if post else resid_mid))

    def finish(self, resid_mid: Residual) -> Residual:
        """From the residual stream between attention and MLP to the block's end."""
        post = self.placement.style == "post"
        mlp_in = self.hook_mlp_in(resid_mid.clone()) if self.cfg.use_hook_mlp_in else resid_mid
        mlp_out = self.mlp(mlp_in if post else self.ln2(mlp_in))
        mlp_out = self.hook_mlp_out(self.ln2_post(mlp_out))
        resid_post = resid_mid + mlp_out
        return self.hook_resid_post(self.ln2(resid_post) if post else resid_post)

    def _attention_inputs(self, resid_pre: Residual) -> tuple[Tensor, Tensor, Tensor]:
        normalised = (self.placement.q, self.placement.k, self.placement.v)
        if self.cfg.use_split_qkv_input or self.cfg.use_attn_in:
            # TransformerLens' per-head inputs, before the norm: one norm call for each.
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


def norm(cfg: ModelShape, eps: float) -> LayerNorm | RMSNorm:
    """A norm of the model's kind."""
    return (RMSNorm if cfg.uses_rms_norm else LayerNorm)(cfg, eps)


def is_rms(norm: nn.Module) -> bool:
    """Whether a norm, ours or TransformerLens' own, divides without centring first."""
    return "RMS" in type(norm).__name__


def _by_head(
    x: Tensor,
    w: Float[Tensor, "head d_model d_head"],
    b: Float[Tensor, "head d_head"],
) -> Float[Tensor, "batch pos head d_head"]:
    """x w + b for each head, of one input or of each head's own."""
    if x.ndim == 4:
        return torch.einsum("bphm,hmd->bphd", x, w) + b
    return F.linear(x, w.mT.flatten(0, 1), b.flatten()).unflatten(-1, b.shape)


def _weight(cfg: ModelShape, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, dtype=cfg.dtype))


def _zeros(cfg: ModelShape, size: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(size, dtype=cfg.dtype))
