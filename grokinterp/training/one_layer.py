"""What a model of one layer attends to, from the embedding to the scores: forward, and the backward
written out.

All of it depends on (token, position) alone, and the query on nothing, so it is computed once for a
table's row. It is little arithmetic, and what autograd would do besides takes longer than that.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grokinterp.config import ModelConfig
from grokinterp.model.linear import linear
from grokinterp.placement import norm_eps
from grokinterp.training.last_block import Attended, AttendedPullback, Parameters, norm

Rows = Float[Tensor, "run row d_model"]
BLOCK = "blocks.0."


@torch.no_grad()
def attend_one_layer(
    config: ModelConfig, parameters: Parameters, tokens: Int[Tensor, "run batch 3"], uniform: bool
) -> tuple[Attended, AttendedPullback]:
    """What is attended to, and the pullback of that to all parameters before it.

    With `uniform` the scores are 0, whatever the queries and keys.
    """
    w_q, w_k, w_v = (parameters[f"{BLOCK}attn.{name}"] for name in ("W_Q", "W_K", "W_V"))
    ln = config.ln
    rows, index = token_table(parameters, tokens)
    normal, pull_norm = rows, None
    if ln.attention:
        name = f"{BLOCK}ln1"
        normal, pull_norm = norm(config, parameters, name, rows, norm_eps(ln, "ln1"))
    q_in, k_in, v_in = (normal if normed else rows for normed in (ln.q, ln.k, ln.v))
    values = linear(v_in, stack_heads(w_v))
    # All examples share the last token, so one query serves them, and keys need not be made.
    query = split_heads(linear(q_in[:, -1:], stack_heads(w_q))[:, 0], config.d_head)[..., None]
    of_query = (w_k @ query)[..., 0]
    scores = linear(k_in, of_query.mT) / math.sqrt(config.d_head)
    if uniform:
        scores = torch.zeros_like(scores)

    @torch.no_grad()
    def pullback(gradient: Attended) -> dict[str, Tensor]:
        found = {f"{BLOCK}attn.W_V": _unstack_heads(v_in.mT @ gradient.values, w_v)}
        d_rows, d_normal = torch.zeros_like(rows), torch.zeros_like(rows)
        d_q_in, d_k_in, d_v_in = (d_normal if normed else d_rows for normed in (ln.q, ln.k, ln.v))
        d_rows[:, -1:] += gradient.residual
        d_v_in += linear(gradient.values, stack_heads(w_v).mT)
        if not uniform:
            d_scores = gradient.scores / math.sqrt(config.d_head)
            d_k_in += d_scores @ of_query
            d_of_query = (d_scores.mT @ k_in)[..., None]
            d_query = w_k.mT @ d_of_query
            stacked = d_query.flatten(1)[:, None]
            d_q_in[:, -1:] += linear(stacked, stack_heads(w_q).mT)
            found[f"{BLOCK}attn.W_K"] = d_of_query * query.mT
            found[f"{BLOCK}attn.W_Q"] = q_in[:, -1, None, :, None] * d_query.mT
        if pull_norm is not None:
            affine = (f"{BLOCK}ln1.{suffix}" for suffix in ("w", "b"))
            found |= {one: torch.empty_like(parameters[one]) for one in affine if one in parameters}
            d_rows += pull_norm(d_normal, found)
        return found | _table_gradients(d_rows)

    return Attended(scores, values, index, rows[:, -1:]), pullback


def token_table(
    parameters: Parameters, tokens: Int[Tensor, "run batch 3"]
) -> tuple[Rows, Int[Tensor, "run batch 3"]]:
    """Embedding rows of every token at positions 0 and 1 and of the last token, and each
    example's rows in that table."""
    w_e, w_pos = parameters["embed.W_E"], parameters["pos_embed.W_pos"]
    n = w_e.shape[1] - 1  # `=` is the last token of the vocabulary, and never an operand.
    table = torch.cat(
        [w_e[:, :n] + w_pos[:, :1], w_e[:, :n] + w_pos[:, 1:2], w_e[:, n:] + w_pos[:, 2:]], dim=1
    )
    shift = torch.tensor([0, n, n], device=tokens.device)
    return table, tokens + shift


def _table_gradients(d_table: Rows) -> dict[str, Tensor]:
    """From the gradient of `token_table`'s table to those of the embeddings."""
    n = d_table.shape[1] // 2
    a, b, equals = d_table.split([n, n, 1], dim=1)
    return {
        "embed.W_E": torch.cat([a + b, equals], dim=1),
        "pos_embed.W_pos": torch.cat([part.sum(1, keepdim=True) for part in (a, b, equals)], dim=1),
    }


def split_heads(x: Float[Tensor, "... d"], d_head: int) -> Float[Tensor, "... head d_head"]:
    """Heads that were side by side."""
    return x.unflatten(-1, (-1, d_head))


def stack_heads(w: Float[Tensor, "run head d_model d_head"]) -> Float[Tensor, "run d_model d"]:
    """Heads side by side."""
    return w.transpose(1, 2).flatten(2)


def _unstack_heads(w: Float[Tensor, "run d_model d"], like: Tensor) -> Tensor:
    return w.unflatten(2, (like.shape[1], like.shape[3])).transpose(1, 2)
