"""What the axes of each hook point are, after the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grokinterp.hooks.model_checks import check_hook

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer

_RESIDUAL = ("pos", "d_model")
_HEADS = ("pos", "head", "d_head")
_PER_HEAD = ("pos", "head", "d_model")
_ATTENTION = ("head", "pos", "key")
_NEURONS = ("pos", "d_mlp")

AXES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_z"), _HEADS),
    **dict.fromkeys(("attn.hook_result", "hook_attn_in"), _PER_HEAD),
    **dict.fromkeys(("hook_q_input", "hook_k_input", "hook_v_input"), _PER_HEAD),
    **dict.fromkeys(("attn.hook_attn_scores", "attn.hook_pattern"), _ATTENTION),
    **dict.fromkeys(("mlp.hook_pre", "mlp.hook_pre_linear", "mlp.hook_post"), _NEURONS),
    "hook_scale": ("pos", "one"),
    "unembed.hook_out": ("pos", "d_vocab"),
}
"""By the end of a hook's name; every other hook is [batch, pos, d_model]."""


def axes_of(hook: str) -> tuple[str, ...]:
    """The names of a hook's axes after the batch; `pos` is the query's where there is a key.

    >>> axes_of("blocks.0.attn.hook_pattern")
    ('head', 'pos', 'key')
    """
    ends = (axes for end, axes in AXES.items() if hook == end or hook.endswith(f".{end}"))
    return next(ends, _RESIDUAL)


def sizes_of(model: HookedTransformer, hook: str) -> dict[str, int]:
    """The size of each of a hook's axes in this model; ValueError if it has no such hook."""
    check_hook(model, hook)
    cfg = model.cfg
    sizes = {
        "pos": cfg.n_ctx,
        "key": cfg.n_ctx,
        "head": cfg.n_heads,
        "d_model": cfg.d_model,
        "d_head": cfg.d_head,
        "d_mlp": cfg.d_mlp or 0,
        "d_vocab": cfg.d_vocab_out,
        "one": 1,
    }
    return {axis: sizes[axis] for axis in axes_of(hook)}
