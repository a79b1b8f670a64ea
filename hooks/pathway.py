"""The pathways: where each reads its input, from which residual stream, and through which norm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grokinterp.hooks.bridge import is_bridge
from grokinterp.hooks.intervention import Hook, Intervention

from grokinterp.checks import check_one_of

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformer_lens import HookedTransformer

INPUT_HOOKS = {
    "q": "blocks.{layer}.attn.hook_q_in",
    "k": "blocks.{layer}.attn.hook_k_in",
    "v": "blocks.{layer}.attn.hook_v_in",
    "mlp": "blocks.{layer}.mlp.hook_in",
    "final": "unembed.hook_in",
}
"""The hook on the tensor that the pathway's weights multiply; `final` is the readout."""

RESIDUAL_HOOKS = {
    "q": "blocks.{layer}.hook_resid_pre",
    "k": "blocks.{layer}.hook_resid_pre",
    "v": "blocks.{layer}.hook_resid_pre",
    "mlp": "blocks.{layer}.hook_resid_mid",
    "final": "blocks.{layer}.hook_resid_post",
}
"""The residual stream that the pathway reads, itself or through a norm."""


OUTPUTS = {
    "q": ("attn", "hook_q", "W_Q", "b_Q", "ln1"),
    "k": ("attn", "hook_k", "W_K", "b_K", "ln1"),
    "v": ("attn", "hook_v", "W_V", "b_V", "ln1"),
    "mlp": ("mlp", "hook_pre", "W_in", "b_in", "ln2"),
}
"""What the pathway's weights make of its input: the part, its hook, the weight, the bias; and the
norm in front, where TransformerLens has one."""


def reads_by_output(model: HookedTransformer, pathway: str) -> bool:
    """Whether a plain HookedTransformer's input can be changed by what its weights make of it.

    It has no hook on the input itself.
    """
    cfg = model.cfg
    split = getattr(cfg, "use_split_qkv_input", False) or getattr(cfg, "use_attn_in", False)
    gated = pathway == "mlp" and cfg.gated_mlp
    ours = hasattr(model.blocks[0], "placement")
    if pathway not in OUTPUTS or split or gated or ours or is_bridge(model):
        return False
    part, output, *_ = OUTPUTS[pathway]
    needed = (f"blocks.0.{part}.{output}", RESIDUAL_HOOKS[pathway].format(layer=0))
    return all(name in model.hook_dict for name in needed)


def input_hooks(
    model: HookedTransformer, pathway: str, layer: int, change: Callable[[Tensor], Tensor]
) -> list[Hook]:
    """Hooks that put `change` of the pathway's input in its place."""
    name = INPUT_HOOKS[pathway].format(layer=layer)
    if name in model.hook_dict or not reads_by_output(model, pathway):
        return [(name, lambda x, hook: change(x))]
    part, output, weight, bias, norm_name = OUTPUTS[pathway]
    block: Any = model.blocks[layer]
    module, norm = getattr(block, part), getattr(block, norm_name, None)
    normalized = f"blocks.{layer}.{norm_name}.hook_normalized"
    seen: dict[str, Tensor] = {}

    def remember(x: Tensor, hook: Any) -> None:
        seen["input"] = x if normalized not in model.hook_dict else affine(norm, x)

    def replace(x: Tensor, hook: Any) -> Tensor:
        w, b = getattr(module, weight), getattr(module, bias)
        new = change(seen["input"])
        return new @ w + b if w.ndim == 2 else (new[..., None, None, :] @ w)[..., 0, :] + b

    residual = RESIDUAL_HOOKS[pathway].format(layer=layer)
    source = normalized if normalized in model.hook_dict else residual
    see: Callable[..., Tensor | None] = remember
    return [(source, see), (f"blocks.{layer}.{part}.{output}", replace)]


def affine(norm: Any, normalized: Tensor) -> Tensor:
    """What a norm of TransformerLens gives out: gain and bias, where they are not folded."""
    gain, bias = getattr(norm, "w", None), getattr(norm, "b", None)
    scaled = normalized if gain is None else normalized * gain
    return scaled if bias is None else scaled + bias


def pathway_layers(model: HookedTransformer, pathway: str) -> range:
    """Every layer; for the readout, the last alone."""
    n_layers = model.cfg.n_layers
    return range(n_layers - 1, n_layers) if pathway == "final" else range(n_layers)


def pathway_norm(model: HookedTransformer, pathway: str, layer: int) -> nn.Module | None:
    """The norm between the residual stream and this pathway, where there is one.

    The norms of `post` are part of the residual stream, so there is none before a pathway.
    ValueError for a block that build_model has not made, but at the readout.
    """
    if pathway == "final":
        return model.ln_final if "ln_final.hook_scale" in model.hook_dict else None
    block = model.blocks[layer]
    if not hasattr(block, "placement"):
        raise ValueError(
            f"the norm of the {pathway} pathway is known in models of build_model alone; "
            "this HookedTransformer is another's, where TransformerLens places the norms"
        )
    if not getattr(block.placement, pathway):
        return None
    return block.ln2 if pathway == "mlp" else block.ln1


def require_norm(model: HookedTransformer, pathway: str, layer: int, who: str) -> nn.Module:
    """The pathway's norm; ValueError names the pathways that have one."""
    norm = pathway_norm(model, pathway, layer)
    if norm is None:
        have = [path for path in INPUT_HOOKS if pathway_norm(model, path, layer) is not None]
        raise ValueError(
            f"{who} needs a norm at the {pathway} pathway, and this model has none there; "
            f"its pathways with a norm: {', '.join(have) or 'none'}"
        )
    return norm


def centred(residual: Tensor, norm: nn.Module) -> Tensor:
    """What this norm divides by its scale: LayerNorm centres first, RMSNorm does not."""
    return residual - residual.mean(-1, keepdim=True) if hasattr(norm, "b") else residual


def own_scale(centred: Tensor, norm: Any) -> Tensor:
    """The norm's scale, hook_scale: √(mean of squares + eps), with the last axis kept at 1."""
    return root_mean_square(centred, norm.eps)


def root_mean_square(x: Tensor, eps: float = 0.0) -> Tensor:
    """√(mean x² + eps) with the last axis kept at 1; where that is 0, its derivative is 0 too."""
    import torch

    square = x.pow(2).mean(-1, keepdim=True) + eps
    zero = square == 0
    # Before the root as well, whose derivative at 0 is infinite.
    return torch.where(zero, 0, torch.where(zero, 1, square).sqrt())


def divided(x: Tensor, size: Tensor) -> Tensor:
    """x/size; 0, with derivative 0, where the size is 0: zeros have no direction to keep."""
    import torch

    return x / torch.where(size == 0, torch.inf, size)


@dataclass(frozen=True)
class _OnPathway(Intervention):
    """One that acts on the input of a pathway, in every layer."""

    pathway: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_of("pathway", self.pathway, [*INPUT_HOOKS])


@dataclass(frozen=True)
class _OfInput(_OnPathway, ABC):
    """One that makes the new input out of the input, after the norm if there is one."""

    def hooks(self, model: HookedTransformer) -> list[Hook]:
        layers = pathway_layers(model, self.pathway)
        return [
            hook
            for layer in layers
            for hook in input_hooks(model, self.pathway, layer, self._changed)
        ]

    @abstractmethod
    def _changed(self, x: Tensor) -> Tensor:
        """The new input."""


@dataclass(frozen=True)
class _OfResidual(_OnPathway, ABC):
    """One that makes the new input out of the residual stream that the pathway reads.

    What an earlier intervention made of the input is replaced.
    """

    def hooks(self, model: HookedTransformer) -> list[Hook]:
        layers = pathway_layers(model, self.pathway)
        rebuilders = [self._rebuilder(model, layer) for layer in layers]
        return [
            hook
            for layer, rebuild in zip(layers, rebuilders, strict=True)
            for hook in self._bypass(layer, rebuild)
        ]

    @abstractmethod
    def _rebuilder(self, model: HookedTransformer, layer: int) -> Callable[[Tensor], Tensor]:
        """The function from residual stream to input; ValueError if the model does not fit."""

    def _bypass(self, layer: int, rebuild: Callable[[Tensor], Tensor]) -> list[Hook]:
        seen: dict[str, Tensor] = {}

        def remember(x: Tensor, hook: Any) -> None:
            seen["residual"] = x

        def bypass(x: Tensor, hook: Any) -> Tensor:
            new = rebuild(seen.pop("residual"))
            # TransformerLens's split inputs have a head axis, which the residual stream has not.
            return new.unsqueeze(-2).expand_as(x) if x.ndim > new.ndim else new

        residual: Callable[..., Tensor | None] = remember
        return [
            (RESIDUAL_HOOKS[self.pathway].format(layer=layer), residual),
            (INPUT_HOOKS[self.pathway].format(layer=layer), bypass),
        ]
