"""Linearised LN: a norm whose scale is frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grokinterp.hooks.pathway import (
    RESIDUAL_HOOKS,
    _OfResidual,
    centred,
    divided,
    own_scale,
    pathway_layers,
    require_norm,
)
from grokinterp.hooks.tensors import Held, is_tensor

from grokinterp.checks import positive

if TYPE_CHECKING:
    from torch import Tensor
    from transformer_lens import HookedTransformer


@dataclass(frozen=True)
class FreezeScale(_OfResidual):
    """Divide by a scale s that does not depend on the example, so that the norm becomes linear.

    The pathway reads (residual − its mean)/s · gain + bias (RMSNorm: residual/s · gain), where the
    norm itself divides by its hook_scale. It acts on this pathway alone, though q, k and v share
    one norm. ValueError where the pathway has no norm.

    Args:
        pathway: q, k, v, mlp or final.
        to: `mean`: s is the norm's own scale, averaged over the batch of the same pass at each
            position; gradients flow through that mean. A number, or a tuple of one for each
            position. Or a tensor of each example's scales [layer, batch, pos], as `like` takes them
            from another model; for analysis only, on the same examples in the same order.
    """

    to: Any = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        to = self.to
        if is_tensor(to):
            to = Held(to)
        elif not isinstance(to, Held) and hasattr(to, "tolist"):
            to = to.tolist()
        if isinstance(to, (list, tuple)):
            to = tuple(positive("each of FreezeScale's scales", each) for each in to)
            if not to:
                raise ValueError("FreezeScale needs a scale for each position; got none")
        elif isinstance(to, str) and to != "mean":
            raise ValueError(
                f"unknown scale {to!r}; give 'mean', a number, a tuple of numbers (one for each "
                "position), or FreezeScale.like(model, tokens, pathway)"
            )
        elif not isinstance(to, (str, Held)):
            to = positive("FreezeScale's scale", to)
        object.__setattr__(self, "to", to)

    @classmethod
    def like(
        cls, model: HookedTransformer, tokens: Tensor, pathway: str, **span: int | None
    ) -> FreezeScale:
        """Frozen to the scales that another model's norm has (for analysis).

        Args:
            model: The other model.
            tokens: The examples, [batch, pos].
            pathway: q, k, v, mlp or final.
            **span: from_epoch, until_epoch.
        """
        import torch

        scales: list[Tensor] = []
        layers = pathway_layers(model, cls(pathway).pathway)
        for layer in layers:
            require_norm(model, pathway, layer, "FreezeScale.like")

        def take(x: Tensor, hook: Any) -> None:
            norm = require_norm(model, pathway, layers[len(scales)], "FreezeScale.like")
            scales.append(own_scale(centred(x, norm), norm).squeeze(-1))

        names = [RESIDUAL_HOOKS[pathway].format(layer=layer) for layer in layers]
        with torch.no_grad(), model.hooks(fwd_hooks=[(name, take) for name in names]):
            model(tokens)
        return cls(pathway, torch.stack(scales), **span)  # type: ignore[arg-type]

    def _rebuilder(self, model: HookedTransformer, layer: int) -> Callable[[Tensor], Tensor]:
        norm = require_norm(model, self.pathway, layer, type(self).__name__)
        layers = pathway_layers(model, self.pathway)
        if isinstance(self.to, tuple) and len(self.to) != model.cfg.n_ctx:
            raise ValueError(
                f"FreezeScale has {len(self.to)} scales, and the model has "
                f"{model.cfg.n_ctx} positions"
            )
        if isinstance(self.to, Held):
            shape = [*self.to.tensor.shape]
            if len(shape) != 3 or shape[0] != len(layers) or shape[2] != model.cfg.n_ctx:
                raise ValueError(
                    f"FreezeScale's scales must be [layer, batch, pos], here [{len(layers)}, "
                    f"batch, {model.cfg.n_ctx}]; got {shape}"
                )

        def linear(residual: Tensor) -> Tensor:
            x = centred(residual, norm)
            frozen = self._frozen(own_scale(x, norm), layer - layers[0])
            new = divided(x, frozen) * norm.w
            return new + norm.b if hasattr(norm, "b") else new

        return linear

    def _frozen(self, scale: Tensor, layer: int) -> Tensor:
        """What takes the place of the scale [batch, pos, 1]."""
        import torch

        if isinstance(self.to, str):
            return scale.mean(0, keepdim=True)
        if isinstance(self.to, Held):
            frozen = self.to.tensor[layer].to(scale)[..., None]
            if frozen.shape != scale.shape:
                raise ValueError(
                    f"FreezeScale holds the scales of {len(frozen)} examples at {frozen.shape[1]} "
                    f"positions; this pass has {scale.shape[0]} at {scale.shape[1]}"
                )
            return frozen
        frozen = torch.tensor(self.to, dtype=scale.dtype, device=scale.device)
        if frozen.ndim and len(frozen) != scale.shape[1]:
            raise ValueError(
                f"FreezeScale has {len(frozen)} scales; this pass has {scale.shape[1]} positions"
            )
        return frozen[:, None] if frozen.ndim else frozen
