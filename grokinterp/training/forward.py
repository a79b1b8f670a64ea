"""The exact fast forward of the model's last position, over a leading run axis.

Only the last position is read out, so the last block needs one query and one MLP row for each
example; and the first block's inputs depend on (token, position) alone, so its norm, queries,
keys and values are computed once per table row, not once per example. Same function as the
HookedTransformer of the same config, by parameter name.
"""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from grokinterp.config import ModelConfig
from grokinterp.model.linear import linear
from grokinterp.model.normalise import layer_norm, rms_norm
from grokinterp.placement import norm_eps
from grokinterp.training.last_block import Attended, AttendedPullback, Parameters, last_block
from grokinterp.training.one_layer import attend_one_layer, split_heads, stack_heads, token_table
from grokinterp.training.reads import flat, gather


@torch.no_grad()
def last_position(
    config: ModelConfig,
    parameters: Parameters,
    tokens: Int[Tensor, "run batch 3"],
    readout_scale: Float[Tensor, " run"],
    uniform_attention: bool = False,
) -> tuple[Float[Tensor, "run batch d_vocab"], Float[Tensor, "run batch d_model"]]:
    """Logits and `hook_resid_post` of the last block, at the last position, without a graph.

    Every example must end in the same token, as every task's do. With `uniform_attention` every
    query attends alike to every key that it sees, as under the intervention UniformAttention.
    """
    attended, _ = attend(config, parameters, tokens, uniform_attention)
    logits, residual, _ = last_block(config, parameters, attended, readout_scale)
    return logits, residual


def attend(
    config: ModelConfig,
    parameters: Parameters,
    tokens: Int[Tensor, "run batch 3"],
    uniform_attention: bool = False,
) -> tuple[Attended, AttendedPullback]:
    """Everything before the last block's pattern, and the pullback of that.

    Of several layers by autograd: the pullback gives the gradients of the parameters that require
    them, and is there only where gradients are on.
    """
    if config.n_layers == 1:
        return attend_one_layer(config, parameters, tokens, uniform_attention)
    rows, index = token_table(parameters, tokens)
    of_rows: Tensor | None = index
    *before, last = (
        {
            name.removeprefix(f"blocks.{layer}."): value
            for name, value in parameters.items()
            if name.startswith(f"blocks.{layer}.")
        }
        for layer in range(config.n_layers)
    )
    for block in before:
        rows = _block(config, block, rows, of_rows, uniform_attention)
        of_rows = None
    attended = _attend_last(config, last, rows, uniform_attention)
    return attended, partial(_by_autograd, attended, parameters)


def _by_autograd(
    attended: Attended, parameters: Parameters, gradient: Attended
) -> dict[str, Tensor]:
    leaves = {name: value for name, value in parameters.items() if value.requires_grad}
    # Of attention that is uniform the scores depend on nothing.
    pairs = (
        (getattr(attended, name), getattr(gradient, name))
        for name in ("scores", "values", "residual")
    )
    outputs, d_outputs = zip(*(pair for pair in pairs if pair[0].requires_grad), strict=True)
    found = torch.autograd.grad(outputs, [*leaves.values()], d_outputs, allow_unused=True)
    return {name: g for name, g in zip(leaves, found, strict=True) if g is not None}


def _attend_last(
    config: ModelConfig,
    block: Parameters,
    rows: Float[Tensor, "run row d_model"],
    uniform: bool,
) -> Attended:
    """The last block's part of it, which needs one query for each example; rows are (example,
    position)."""
    q_in, k_in, values = _projections(config, block, rows)
    query = linear(_positions(q_in)[:, :, -1], stack_heads(block["attn.W_Q"]))
    products = linear(k_in, stack_heads(block["attn.W_K"])) * query.repeat_interleave(3, dim=1)
    scores = split_heads(products, config.d_head).sum(-1) / math.sqrt(config.d_head)
    residual = _positions(rows)[:, :, -1]
    return Attended(torch.zeros_like(scores) if uniform else scores, values, None, residual)


def _block(
    config: ModelConfig,
    block: Parameters,
    rows: Float[Tensor, "run row d_model"],
    index: Int[Tensor, "run batch 3"] | None,
    uniform: bool,
) -> Float[Tensor, "run row_out d_model"]:
    """One block, not the last. `index` maps (example, position) to rows; None: rows are (example,
    position), as those that it returns are."""
    q_in, k_in, values = _projections(config, block, rows)
    keys = linear(k_in, stack_heads(block["attn.W_K"]))
    query = linear(q_in, stack_heads(block["attn.W_Q"]))
    if index is not None:
        index = flat(index, rows.shape[1])
        query, keys, values = (gather(x, index) for x in (query, keys, values))
        resid = gather(rows, index).flatten(1, 2)
    else:
        query, keys, values = (_positions(x) for x in (query, keys, values))
        resid = rows
    query, keys, values = (split_heads(x, config.d_head) for x in (query, keys, values))
    scores = torch.einsum("rnqhd,rnkhd->rnqhk", query, keys) / math.sqrt(config.d_head)
    if uniform:
        scores = torch.zeros_like(scores)
    if config.causal:
        scores = scores.masked_fill(_later(scores), -torch.inf)
    pattern = scores.softmax(-1)
    a, b, equals = (pattern[..., j, None] * values[:, :, None, j] for j in range(3))
    z = a + b + equals
    attn_out = linear(z.flatten(3).flatten(1, 2), block["attn.W_O"].flatten(1, 2))
    return _finish_block(config, block, resid, attn_out)


def _projections(
    config: ModelConfig, block: Parameters, rows: Float[Tensor, "run row d_model"]
) -> tuple[Tensor, Tensor, Tensor]:
    """What queries and keys are read from, and the values, of these rows."""
    ln = config.ln
    ln_rows = _norm(config, block, "ln1", rows) if ln.attention else rows
    q_in, k_in, v_in = (ln_rows if norm else rows for norm in (ln.q, ln.k, ln.v))
    return q_in, k_in, linear(v_in, stack_heads(block["attn.W_V"]))


def _later(scores: Float[Tensor, "run batch query head key"]) -> Bool[Tensor, "query 1 key"]:
    """Whether a key is at a later position than the query."""
    square = torch.ones(scores.shape[2], scores.shape[4], dtype=torch.bool, device=scores.device)
    return square.triu(1)[:, None]


def _finish_block(
    config: ModelConfig, block: Parameters, resid: Tensor, attn_out: Tensor
) -> Float[Tensor, "run row d_model"]:
    """From the attention's output to the end of the block, for the rows given."""
    style = config.ln.style
    if style == "peri":
        attn_out = _norm(config, block, "ln1_post", attn_out)
    mid = resid + attn_out
    if style == "post":
        mid = _norm(config, block, "ln1", mid)
    mlp_in = _norm(config, block, "ln2", mid) if config.ln.mlp else mid
    if config.gated_mlp:
        gate = linear(mlp_in, block["mlp.W_gate"], block["mlp.b_gate"])
        hidden = linear(mlp_in, block["mlp.W_in"], block["mlp.b_in"]) * F.silu(gate)
    else:
        hidden = linear(mlp_in, block["mlp.W_in"], block["mlp.b_in"], relu=True)
    mlp_out = linear(hidden, block["mlp.W_out"], block["mlp.b_out"])
    if style == "peri":
        mlp_out = _norm(config, block, "ln2_post", mlp_out)
    out = mid + mlp_out
    return _norm(config, block, "ln2", out) if style == "post" else out


def _norm(config: ModelConfig, block: Parameters, name: str, x: Tensor) -> Tensor:
    gain, bias = block[f"{name}.w"], block.get(f"{name}.b")
    return _normalise(config, x, gain, bias, norm_eps(config.ln, name))


def _normalise(
    config: ModelConfig, x: Tensor, gain: Tensor | None, bias: Tensor | None, eps: float
) -> Float[Tensor, "run row d_model"]:
    """LayerNorm or RMSNorm with each run's own gain and bias."""
    one = x.shape[0] == 1  # The fused affine form takes one gain, so one run.
    w = gain[0] if one and gain is not None else None
    if config.norm == "rms":
        normal = rms_norm(x, w, eps)
    else:
        normal = layer_norm(x, w, bias[0] if one and bias is not None else None, eps)
    if one:
        return normal
    if gain is not None:
        normal = normal * gain[:, None]
    return normal if bias is None else normal + bias[:, None]


def _positions(rows: Float[Tensor, "run row d"]) -> Float[Tensor, "run batch 3 d"]:
    return rows.unflatten(1, (-1, 3))
