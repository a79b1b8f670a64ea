"""Weights made simpler, where the model computes the same with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from grokinterp.model.parts import is_rms

if TYPE_CHECKING:
    from torch import Tensor, nn


def is_folded(norm: nn.Module) -> bool:
    """Whether the gain is 1 and the bias 0, so that the norm centres and divides alone."""
    gain, bias = getattr(norm, "w", None), getattr(norm, "b", None)
    return (gain is None or bool((gain == 1).all())) and (bias is None or not bool(bias.any()))


@torch.no_grad()
def process_weights(
    model: Any, fold_ln: bool, center_writing_weights: bool, center_unembed: bool
) -> None:
    """In place; ValueError, before anything is changed, where it would change the model."""
    if fold_ln:
        _require_foldable(model)
    if center_writing_weights:
        _require_centred_everywhere(model)
    if center_unembed and model.cfg.tie_word_embeddings:
        raise ValueError(
            "center_unembed must be False in a model with a tied unembedding, whose weights are "
            "the embedding's too"
        )
    model.is_processed = True
    if fold_ln:
        _fold(model)
    if center_writing_weights:
        _center_writing_weights(model)
    if center_unembed:
        unembed: Any = model.unembed
        unembed.W_U -= unembed.W_U.mean(-1, keepdim=True)
        unembed.b_U -= unembed.b_U.mean()


def _require_foldable(model: Any) -> None:
    if model.cfg.placement.style == "post":
        raise ValueError(
            "fold_ln must be False in post, whose norms are in the residual stream: no weights "
            "read them alone"
        )
    if model.cfg.tie_word_embeddings and model.cfg.normalization_type is not None:
        raise ValueError(
            "fold_ln must be False in a model with a final norm and a tied unembedding, whose "
            "weights are the embedding's too"
        )


def _require_centred_everywhere(model: Any) -> None:
    cfg = model.cfg
    reads_all = cfg.placement.q and cfg.placement.k and cfg.placement.v and cfg.placement.mlp
    plain = cfg.placement.style == "pre" and cfg.normalization_type is not None
    if cfg.uses_rms_norm or cfg.tie_word_embeddings or not (plain and reads_all):
        raise ValueError(
            "center_writing_weights must be False unless everything that reads the residual "
            "stream reads a LayerNorm of it (pre, with a final norm and an unembedding of its "
            "own): elsewhere the mean that it takes off is read"
        )


def _fold(model: Any) -> None:
    for block in model.blocks:
        placement, attn, mlp = block.placement, block.attn, block.mlp
        for name, letter in (("q", "Q"), ("k", "K"), ("v", "V")):
            if getattr(placement, name):
                weight, bias = getattr(attn, f"W_{letter}"), getattr(attn, f"b_{letter}")
                if (added := _bias(block.ln1)) is not None:
                    bias += torch.einsum("m,hmd->hd", added, weight)
                _into(weight, block.ln1)
        if placement.attention:
            _empty(block.ln1)
        if placement.mlp:
            gated = model.cfg.gated_mlp
            for name in ("in", "gate") if gated else ("in",):
                weight, bias = getattr(mlp, f"W_{name}"), getattr(mlp, f"b_{name}")
                if (added := _bias(block.ln2)) is not None:
                    bias += added @ weight
                _into(weight, block.ln2)
            _empty(block.ln2)
    if model.cfg.normalization_type is not None:
        unembed: Any = model.unembed
        if (added := _bias(model.ln_final)) is not None:
            unembed.b_U += added @ unembed.W_U
        _into(unembed.W_U, model.ln_final)
        _empty(model.ln_final)


def _bias(norm: Any) -> Tensor | None:
    return getattr(norm, "b", None)


def _into(weight: Tensor, norm: Any) -> None:
    """The gain; and of a LayerNorm, whose output has a mean of 0, the weight's mean off."""
    weight *= norm.w[:, None]
    if not is_rms(norm):
        weight -= weight.mean(-2, keepdim=True)


def _empty(norm: Any) -> None:
    norm.w.fill_(1)
    if (bias := _bias(norm)) is not None:
        bias.zero_()


def _center_writing_weights(model: Any) -> None:
    model.embed.W_E -= model.embed.W_E.mean(-1, keepdim=True)
    model.pos_embed.W_pos -= model.pos_embed.W_pos.mean(-1, keepdim=True)
    for block in model.blocks:
        block.attn.W_O -= block.attn.W_O.mean(-1, keepdim=True)
        block.attn.b_O -= block.attn.b_O.mean()
        block.mlp.W_out -= block.mlp.W_out.mean(-1, keepdim=True)
        block.mlp.b_out -= block.mlp.b_out.mean()
