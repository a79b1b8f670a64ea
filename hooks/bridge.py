"""What the hooks of a TransformerBridge say, held against each other.

TransformerLens' bridges give the hooks of another library's blocks the names of its own. Not all
of them hold the same tensor, and an edit of some is discarded or changes something else. What a
hook must say follows from its neighbours, so that each bridge can be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# Beyond this share of the largest value, a difference is no rounding of float32.
ROUNDING = 1e-4

Read = Callable[[str], "Tensor"]
Pair = tuple["Tensor", "Tensor"]


def is_bridge(model: object) -> bool:
    """Whether it is a TransformerBridge."""
    return any(cls.__name__ == "TransformerBridge" for cls in type(model).__mro__)


def _z(block: Any, read: Read) -> Pair:
    moved = read("attn.hook_pattern") @ read("attn.hook_v").permute(0, 2, 1, 3)
    return read("attn.hook_z"), moved.permute(0, 2, 1, 3)


def _attn_out(block: Any, read: Read) -> Pair:
    import torch

    attn = block.attn
    written = torch.einsum("bphd,hdm->bpm", read("attn.hook_z"), attn.W_O)
    return read("hook_attn_out"), _plus(written, attn.b_O)


def _plus(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias


def _pre(block: Any, read: Read) -> Pair:
    mlp = block.mlp
    if getattr(mlp, "W_gate", None) is not None:
        return read("mlp.hook_pre"), read("mlp.hook_in") @ mlp.W_gate
    return read("mlp.hook_pre"), _plus(read("mlp.hook_in") @ mlp.W_in, mlp.b_in)


# Of each hook of a block: it, and what it must be by others.
OF_A_BLOCK: Mapping[str, Callable[[Any, Read], Pair]] = {
    "attn.hook_attn_scores": lambda block, read: (
        read("attn.hook_attn_scores").softmax(-1),
        read("attn.hook_pattern"),
    ),
    "attn.hook_z": _z,
    "hook_attn_out": _attn_out,
    "hook_resid_mid": lambda block, read: (
        read("hook_resid_mid"),
        read("hook_resid_pre") + read("hook_attn_out"),
    ),
    "mlp.hook_pre": _pre,
    "hook_mlp_out": lambda block, read: (
        read("hook_mlp_out"),
        _plus(read("mlp.hook_post") @ block.mlp.W_out, block.mlp.b_out),
    ),
    "hook_resid_post": lambda block, read: (
        read("hook_resid_post"),
        read("hook_resid_mid") + read("hook_mlp_out"),
    ),
}


def untrue_hooks(model: Any, cache: Mapping[str, Tensor], logits: Tensor) -> list[str]:
    """The hooks that do not hold what follows from their neighbours.

    Args:
        model: A TransformerBridge.
        cache: Its activations, by hook.
        logits: Its logits on the same tokens, [batch, pos, d_vocab].
    """
    import torch

    untrue = []
    with torch.no_grad():
        for layer, block in enumerate(model.blocks):
            for name, pair in OF_A_BLOCK.items():
                try:
                    holds = _close(*pair(block, partial(_of_block, cache, layer)))
                except (AttributeError, KeyError):  # Without one of them, nothing follows.
                    continue
                if not holds:
                    untrue.append(f"blocks.{layer}.{name}")
        if "unembed.hook_in" in cache:
            read_out = cache["unembed.hook_in"] @ model.W_U + model.b_U
            if not _close(read_out, logits):
                untrue.append("unembed.hook_in")
    return untrue


def require_editable(model: Any, names: Iterable[str]) -> None:
    """ValueError if an edit at one of these hooks is discarded, or changes something else.

    Args:
        model: A TransformerBridge.
        names: Hooks that it has.
    """
    import torch

    device = next(model.parameters()).device
    tokens = torch.arange(4 * min(3, model.cfg.n_ctx), device=device).reshape(4, -1)
    tokens = tokens % model.cfg.d_vocab

    def more(x: Tensor, hook: Any) -> Tensor:
        return 1.25 * x

    for name in dict.fromkeys(names):
        found = []
        for hooks in ([], [(name, more)]):
            with torch.no_grad(), model.hooks(fwd_hooks=hooks):
                logits, cache = model.run_with_cache(tokens)
            found.append((logits, untrue_hooks(model, cache.cache_dict, logits)))
        (before, untrue), (after, untrue_then) = found
        if torch.equal(before, after):
            raise ValueError(
                f"an edit at {name} must change what this TransformerBridge computes, and is "
                f"discarded; choose another hook, or {ADVICE}"
            )
        # What is edited no longer follows from what is in front of it.
        own = (name, name.replace("hook_pattern", "hook_attn_scores"))
        if new := [hook for hook in untrue_then if hook not in (*untrue, *own)]:
            raise ValueError(
                f"an edit at {name} must change what follows from it, and in this "
                f"TransformerBridge {', '.join(new)} stays as it was; choose another hook, or "
                f"{ADVICE}"
            )


ADVICE = "load the weights into a model of build_model"


def _of_block(cache: Mapping[str, Tensor], layer: int, hook: str) -> Tensor:
    return cache[f"blocks.{layer}.{hook}"]


def _close(x: Tensor, y: Tensor) -> bool:
    return bool((x - y).abs().max() <= ROUNDING * y.abs().max())
