"""Interventions on the norms in front of the q, k, v and mlp weights.

Each acts on the one hook point that holds the tensor which the pathway's weights multiply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grokinterp.hooks.intervention import Hook, Intervention

if TYPE_CHECKING:
    from torch import Tensor
    from transformer_lens import HookedTransformer

INPUT_HOOKS = {
    "q": "blocks.{layer}.attn.hook_q_in",
    "k": "blocks.{layer}.attn.hook_k_in",
    "v": "blocks.{layer}.attn.hook_v_in",
    "mlp": "blocks.{layer}.mlp.hook_in",
}
RESIDUAL_HOOKS = {
    "q": "blocks.{layer}.hook_resid_pre",
    "k": "blocks.{layer}.hook_resid_pre",
    "v": "blocks.{layer}.hook_resid_pre",
    "mlp": "blocks.{layer}.hook_resid_mid",
}


@dataclass(frozen=True)
class _PathwayIntervention(Intervention):
    """One that acts on the input of a pathway, in every layer."""

    pathway: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pathway not in INPUT_HOOKS:
            raise ValueError(
                f"unknown pathway {self.pathway!r}; choose one of {', '.join(INPUT_HOOKS)}"
            )


@dataclass(frozen=True)
class UnitNorm(_PathwayIntervention):
    """Replace the pathway's input x by x/‖x‖: its direction stays, its norm is gone."""

    def hooks(self, model: HookedTransformer) -> list[Hook]:
        def unit_norm(x: Tensor, hook: Any) -> Tensor:
            return x / x.norm(dim=-1, keepdim=True)

        name = INPUT_HOOKS[self.pathway]
        return [(name.format(layer=layer), unit_norm) for layer in range(model.cfg.n_layers)]


@dataclass(frozen=True)
class RemoveNorm(_PathwayIntervention):
    """Let the pathway read the residual stream itself, as if its norm were not there.

    Where the pathway has no norm it reads the residual stream already, and nothing changes.
    """

    def hooks(self, model: HookedTransformer) -> list[Hook]:
        return [hook for layer in range(model.cfg.n_layers) for hook in self._bypass(layer)]

    def _bypass(self, layer: int) -> list[Hook]:
        seen: dict[str, Tensor] = {}

        def remember(x: Tensor, hook: Any) -> None:
            seen["residual"] = x

        def bypass(x: Tensor, hook: Any) -> Tensor:
            residual = seen.pop("residual")
            # TransformerLens's split inputs have a head axis, which the residual stream has not.
            return residual.unsqueeze(-2).expand_as(x) if x.ndim > residual.ndim else residual

        residual: Callable[..., Tensor | None] = remember
        return [
            (RESIDUAL_HOOKS[self.pathway].format(layer=layer), residual),
            (INPUT_HOOKS[self.pathway].format(layer=layer), bypass),
        ]


@dataclass(frozen=True)
class ShuffleNorm(_PathwayIntervention):
    """Keep the direction of the pathway's input and give it the norm of another example's.

    Norms move between examples at the same position, by a permutation without fixed points, so
    their distribution stays; the permutation depends on `seed` and the number of examples alone.
    """

    seed: int = 0

    def hooks(self, model: HookedTransformer) -> list[Hook]:
        import torch

        def shuffle_norm(x: Tensor, hook: Any) -> Tensor:
            norm = x.norm(dim=-1, keepdim=True)
            generator = torch.Generator().manual_seed(self.seed)
            order = torch.randperm(len(x), generator=generator).to(x.device)
            donors = torch.empty_like(order)
            donors[order] = order.roll(1)  # Each takes the next one's along a random cycle.
            return x / norm * norm[donors]

        name = INPUT_HOOKS[self.pathway]
        return [(name.format(layer=layer), shuffle_norm) for layer in range(model.cfg.n_layers)]
