"""Whether an intervention's arguments fit a model."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer

SWITCHED = {
    ".attn.hook_result": "attn_result",
    ".hook_attn_in": "attn_in",
    ".hook_q_input": "split_qkv_input",
    ".hook_k_input": "split_qkv_input",
    ".hook_v_input": "split_qkv_input",
    ".hook_mlp_in": "hook_mlp_in",
}
"""Hooks that every model has, but that fire under a TransformerLens setting alone."""


def check_below(name: str, values: Sequence[int], size: int, what: str) -> None:
    """ValueError names the first value that is not an index of a model's `size` things."""
    for value in values:
        if not -size <= value < size:
            raise ValueError(f"{name} {value} is not there: the model has {size} {what}")


def chosen_layers(model: HookedTransformer, layer: int | None) -> list[int]:
    """This layer, or all of them; ValueError if the model has it not."""
    if layer is None:
        return [*range(model.cfg.n_layers)]
    check_below("layer", [layer], model.cfg.n_layers, "layers, counted from 0")
    return [layer]


def check_hook(model: HookedTransformer, name: str) -> None:
    """ValueError where no pass goes through such a hook: it names close ones, or the setting."""
    if name not in model.hook_dict:
        close = get_close_matches(name, model.hook_dict, n=3) or list(model.hook_dict)[:3]
        raise ValueError(f"the model has no hook {name!r}; close ones: {', '.join(close)}")
    for end, setting in SWITCHED.items():
        if name.endswith(end) and not getattr(model.cfg, f"use_{setting}"):
            raise ValueError(
                f"no pass goes through {name!r} as the model is set; "
                f"call model.set_use_{setting}(True) first"
            )
