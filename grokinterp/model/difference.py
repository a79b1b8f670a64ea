"""What a model computes besides its weights, and how two models differ in it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from grokinterp.model.memo import hooks_of
from grokinterp.model.parts import is_rms

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer

# A difference beyond this share of the largest logit is no rounding.
ROUNDING = 1e-4

ELSEWHERE = {
    *("d_head", "d_mlp", "d_model", "d_vocab", "d_vocab_out", "n_heads", "n_key_value_heads"),
    *("n_ctx", "n_params", "eps", "normalization_type", "layer_norm_folding", "final_rms"),
    *("uses_rms_norm", "gated_mlp", "attn_scale", "tie_word_embeddings", "attn_only"),
    "placement",
}
"""Fields of a TransformerLens config that shapes of weights, or the modules themselves, tell."""

NO_PART_OF_IT = {
    *("checkpoint_index", "checkpoint_label_type", "checkpoint_value", "from_checkpoint"),
    *("decoder_start_token_id", "default_prepend_bos", "device", "dtype", "init_mode"),
    *("init_weights", "initializer_range", "load_in_4bit", "model_name", "n_devices"),
    *("original_architecture", "quantization_method", "seed", "tokenizer_name"),
    *("tokenizer_prepends_bos", "train_seq_length", "trust_remote_code", "use_attn_in"),
    *("use_attn_result", "use_hook_mlp_in", "use_hook_tokens", "use_split_qkv_input"),
    *("ungroup_grouped_query_attention",),
}
"""Fields that change no logit: names, devices, initialisation, and which hooks fire."""


def differences(model: HookedTransformer, expected: HookedTransformer) -> list[str]:
    """How what a model computes with its weights differs from what another computes with them.

    Both must have the same parameters; `expected` is loaded with those of `model` to see.
    """
    attached = dict.fromkeys(name for name, _ in hooks_of(model))
    if attached:
        return [f"hooks are attached to it, at {', '.join(attached)}"]
    found, wanted = _described(model), _described(expected)
    # A field that one config lacks is at its default there: what it is for is not done.
    defaults = {f.name: f.default for one in (model, expected) for f in fields(one.cfg)}
    pairs = {
        name: [values.get(name, defaults.get(name)) for values in (found, wanted)]
        for name in found | wanted
    }
    told = [
        f"its {name} is {_text(theirs)} and must be {_text(ours)}"
        for name, (theirs, ours) in pairs.items()
        if theirs != ours
    ]
    return told or _other_logits(model, expected)


def _described(model: HookedTransformer) -> dict[str, Any]:
    left_out = ELSEWHERE | NO_PART_OF_IT
    described = {name: v for name, v in vars(model.cfg).items() if name not in left_out}
    for layer, block in enumerate(model.blocks):
        of = f" of layer {layer}" if len(model.blocks) > 1 else ""
        placement = getattr(block, "placement", None)
        plain = "off" if isinstance(block.ln1, nn.Identity) else "pre"
        described[f"placement{of}"] = plain if placement is None else placement.name
        described[f"attention scale{of}"] = float(block.attn.attn_scale)
        for name in ("ln1", "ln1_post", "ln2", "ln2_post"):
            described |= _norm(f"{name}{of}", getattr(block, name, None))
    described |= _norm("final norm", getattr(model, "ln_final", None))
    described["readout scale"] = float(getattr(model.unembed, "readout_scale", 1.0))
    described["unembedding"] = "tied" if getattr(model.unembed, "tied_to", None) else "untied"
    return described


def _norm(name: str, norm: Any) -> dict[str, Any]:
    if norm is None or isinstance(norm, nn.Identity):
        return {name: "none"}
    kind = "rms" if is_rms(norm) else "layer"
    return {name: kind, f"eps of {name}": float(norm.eps)}


def _other_logits(model: HookedTransformer, expected: HookedTransformer) -> list[str]:
    """Whether the same weights make other logits, for whatever is not described."""
    d_vocab = model.cfg.d_vocab
    tokens: Int[Tensor, "batch 3"] = torch.arange(3 * 32).reshape(32, 3) * 7 % (d_vocab - 1)
    tokens[:, -1] = d_vocab - 1
    expected.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        theirs = model(tokens.to(model.W_E.device))[:, -1].cpu().double()
        ours = expected(tokens)[:, -1].double()
    if bool((theirs - ours).abs().max() <= ROUNDING * ours.abs().max()):
        return []
    return ["it computes other logits with the same weights"]


def _text(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
