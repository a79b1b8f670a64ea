"""Ablation of MLP neurons, such as the cluster of one frequency, with a random control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from grokinterp.hooks.controls import Choice
from grokinterp.hooks.intervention import Hook, Intervention
from grokinterp.hooks.model_checks import check_below, chosen_layers
from grokinterp.hooks.replacement import KINDS, replacement, selection

from grokinterp.checks import Indices, check_one_of, indices, integer

if TYPE_CHECKING:
    from torch import Tensor
    from transformer_lens import HookedTransformer


@dataclass(frozen=True)
class AblateNeurons(Intervention):
    """Replace these neurons' activations, mlp.hook_post, at every position.

    Args:
        neurons: Counted from 0.
        kind: `zero`: by 0. `mean`: by their mean over the batch of the same pass, at each position.
            `resample`: by those of another example, the same one for all of them, by a permutation
            without fixed points that depends on `seed` and the number of examples alone.
        layer: Counted from 0.
        seed: Draws the permutation.
    """

    neurons: Indices
    kind: Literal["zero", "mean", "resample"] = "zero"
    layer: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_of("kind", self.kind, KINDS)
        object.__setattr__(self, "neurons", indices("neurons", self.neurons))
        for name in ("layer", "seed"):
            object.__setattr__(self, name, integer(name, getattr(self, name)))
        if not self.neurons:
            raise ValueError("neurons must name at least one, as in (1, 2, 3); got none")

    def hooks(self, model: HookedTransformer) -> list[Hook]:
        chosen_layers(model, self.layer)
        d_mlp = _d_mlp(model)
        check_below("neuron", self.neurons, d_mlp, "neurons in a layer, counted from 0")

        def ablate(x: Tensor, hook: Any) -> Tensor:
            import torch

            mask = selection(d_mlp, self.neurons, x.device)
            return torch.where(mask, replacement(x, self.kind, self.seed), x)

        return [(f"blocks.{self.layer}.mlp.hook_post", ablate)]

    def choice(self, model: HookedTransformer) -> Choice:
        return Choice("neurons", "neurons", range(_d_mlp(model)), self.layer)


def _d_mlp(model: HookedTransformer) -> int:
    assert model.cfg.d_mlp is not None
    return model.cfg.d_mlp
