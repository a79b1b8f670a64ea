"""The hook points of each placement, read off models of it: names, shapes, and what reads what."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor
from transformer_lens import HookedTransformer

from grokinterp import PLACEMENTS, ModelConfig, ModularTask, build_model
from grokinterp.placement import PAPER_NAMES

# Sizes that no two axes share, so that a shape tells its axes; query and key share pos.
SIZES = {"batch": 13, "pos": 3, "head": 5, "d_head": 6, "d_model": 30, "d_mlp": 7, "d_vocab": 12}
TASK = ModularTask(p=11)

# In the order of the forward pass.
WHAT = {
    "hook_embed": "the tokens' rows of W_E",
    "hook_pos_embed": "the positions' rows of W_pos",
    "blocks.0.hook_resid_pre": "x, the residual stream entering the block",
    "blocks.0.ln1.hook_scale": "what ln1 divides by",
    "blocks.0.ln1.hook_normalized": "what ln1 gives, before gain and bias",
    "blocks.0.attn.hook_q_in": "what W_Q multiplies",
    "blocks.0.attn.hook_k_in": "what W_K multiplies",
    "blocks.0.attn.hook_v_in": "what W_V multiplies",
    "blocks.0.attn.hook_q": "queries",
    "blocks.0.attn.hook_k": "keys",
    "blocks.0.attn.hook_v": "values",
    "blocks.0.attn.hook_attn_scores": "q · k/√d_head, before the softmax",
    "blocks.0.attn.hook_pattern": "their softmax over keys",
    "blocks.0.attn.hook_z": "the values that each head moves",
    "blocks.0.attn.hook_result": "what each head writes",
    "blocks.0.ln1_post.hook_scale": "what ln1_post divides by",
    "blocks.0.ln1_post.hook_normalized": "what ln1_post gives, before gain and bias",
    "blocks.0.hook_attn_out": "a, what attention adds to x",
    "blocks.0.hook_resid_mid": "y, the residual stream after attention",
    "blocks.0.ln2.hook_scale": "what ln2 divides by",
    "blocks.0.ln2.hook_normalized": "what ln2 gives, before gain and bias",
    "blocks.0.mlp.hook_in": "what W_in multiplies (and W_gate, if there is one)",
    "blocks.0.mlp.hook_pre": "neurons before the activation function; in a gated MLP the gate",
    "blocks.0.mlp.hook_pre_linear": "the other factor of a gated MLP",
    "blocks.0.mlp.hook_post": "neurons: what W_out multiplies",
    "blocks.0.ln2_post.hook_scale": "what ln2_post divides by",
    "blocks.0.ln2_post.hook_normalized": "what ln2_post gives, before gain and bias",
    "blocks.0.hook_mlp_out": "m, what the MLP adds to y",
    "blocks.0.hook_resid_post": "the residual stream leaving the block",
    "ln_final.hook_scale": "what the final norm divides by",
    "ln_final.hook_normalized": "what the final norm gives, before gain and bias",
    "unembed.hook_in": "what W_U multiplies",
    "unembed.hook_out": "logits",
    "blocks.0.hook_attn_in": "x, a copy for each head",
    "blocks.0.hook_q_input": "x for the queries, a copy for each head",
    "blocks.0.hook_k_input": "x for the keys, a copy for each head",
    "blocks.0.hook_v_input": "x for the values, a copy for each head",
    "blocks.0.hook_mlp_in": "y, a copy for the MLP",
}
# What a model must have, besides its placement, for a hook to be there.
OPTIONS = {"a final norm": {"final_norm": "learned"}, "a gated MLP": {"gated_mlp": True}}
FLAGS = ("use_attn_in", "use_split_qkv_input", "use_hook_mlp_in", "use_attn_result")


def hook_table() -> str:
    """Each hook that a pass fires: its shape, what it is, and where it is there."""
    plain = {name: cached(build(name)) for name in PLACEMENTS}
    optional = {option: cached(build("pre", **settings)) for option, settings in OPTIONS.items()}
    everything = {
        key: x for cache in (*plain.values(), *optional.values()) for key, x in cache.items()
    }
    check_known(everything)
    rows = []
    for hook in WHAT:
        if hook not in everything:
            continue
        having = [f"`{name}`" for name, cache in plain.items() if hook in cache]
        where = "all" if len(having) == len(plain) else ", ".join(having)
        options = [option for option, cache in optional.items() if hook in cache]
        rows.append(
            (f"`{hook}`", shape(everything[hook]), WHAT[hook], where or f"with {options[0]}")
        )
    return markdown(("hook", "shape", "what it is", "placements"), rows)


def optional_hooks() -> str:
    """The hooks that fire under a setting of TransformerLens alone."""
    model = build("pre")
    silent = set(model.hook_dict) - set(cached(model))
    check_known(dict.fromkeys(silent))
    rows = []
    for flag in FLAGS:
        setattr(model.cfg, flag, True)
        found = cached(model)
        setattr(model.cfg, flag, False)
        rows += [
            (f"`{hook}`", shape(found[hook]), WHAT[hook], f"`model.cfg.{flag}`")
            for hook in WHAT
            if hook in silent and hook in found
        ]
    if missing := silent - {row[0].strip("`") for row in rows}:
        raise ValueError(f"FLAGS must have the settings under which these hooks fire: {missing}")
    return markdown(("hook", "shape", "what it is", "fires under"), rows)


def reads_table() -> str:
    """What each tensor of a block is, by comparing it with what it may be."""
    rows = []
    for name in PLACEMENTS:
        model = build(name)
        found, block = cached(model), model.blocks[0]
        points = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
        x, a, y, m, out = (found[f"blocks.0.hook_{point}"] for point in points)
        attention = torch.einsum("bphd,hdm->bpm", found["blocks.0.attn.hook_z"], block.attn.W_O)
        mlp = found["blocks.0.mlp.hook_post"] @ block.mlp.W_out + block.mlp.b_out

        def normed(norm: str, of: Tensor) -> Tensor:
            return getattr(block, norm)(of)  # noqa: B023

        inputs = {"x": x, "LN x": normed("ln1", x)}
        tensors = (
            *((found[f"blocks.0.attn.hook_{one}_in"], inputs) for one in "qkv"),
            (a, {"attn": attention, "LN attn": normed("ln1_post", attention)}),
            (y, {"x + a": x + a, "LN (x + a)": normed("ln1", x + a)}),
            (found["blocks.0.mlp.hook_in"], {"y": y, "LN y": normed("ln2", y)}),
            (m, {"mlp": mlp, "LN mlp": normed("ln2_post", mlp)}),
            (out, {"y + m": y + m, "LN (y + m)": normed("ln2", y + m)}),
        )
        cells = [named(tensor, choices) for tensor, choices in tensors]
        rows.append((f"`{name}`", PAPER_NAMES.get(name, ""), *cells))
    head = ("placement", "paper", "`hook_q_in`", "`hook_k_in`", "`hook_v_in`", "a", "y")
    return markdown((*head, "`mlp.hook_in`", "m", "`hook_resid_post`"), rows)


def named(tensor: Tensor, choices: Mapping[str, Tensor]) -> str:
    """Which of these it is; the first, where a norm that is not there leaves all the same."""
    for name, choice in choices.items():
        if torch.allclose(tensor, choice, rtol=0, atol=1e-9):
            return name
    raise ValueError(f"a hook's tensor must be one of {', '.join(choices)}; it is none")


@cache
def build(placement: str, **options: object) -> HookedTransformer:
    """A small model whose norms have gains and biases that are seen in what they give."""
    sizes = {"d_model": SIZES["d_model"], "n_heads": SIZES["head"], "d_mlp": SIZES["d_mlp"]}
    config = ModelConfig(placement, **sizes, **options)  # type: ignore[arg-type]
    model = build_model(config, TASK, dtype="float64")
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if ".ln" in name:
            noise = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.data += noise
    return model


def cached(model: HookedTransformer) -> dict[str, Tensor]:
    tokens, _ = TASK.encode(TASK.pairs()[: SIZES["batch"]])
    with torch.no_grad():
        return dict(model.run_with_cache(tokens)[1])


def shape(tensor: Tensor) -> str:
    """Its axes by their names."""
    sizes = {size: name for name, size in SIZES.items()}
    axes = [sizes.get(size, str(size)) for size in tensor.shape]
    if axes[2:] == ["pos", "pos"]:
        axes[2:] = ["query", "key"]
    return f"[{', '.join(axes)}]"


def check_known(hooks: Mapping[str, object]) -> None:
    if unknown := [hook for hook in hooks if hook not in WHAT]:
        raise ValueError(f"WHAT must say what these hooks are: {', '.join(unknown)}")


def markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
