"""Interventions on the norms in front of the q, k, v, mlp and readout (`final`) weights.

Each acts on the one hook point that holds the tensor x which the pathway's weights multiply.
UnitNorm, ShuffleNorm and InsertNorm make the new x out of x, so they build on what came before
them in the list. RemoveNorm, CenterOnly, FreezeScale and DropGainAndBias make it out of the
residual stream, so the last of them holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from grokinterp.hooks.pathway import (
    INPUT_HOOKS,
    RESIDUAL_HOOKS,
    _OfInput,
    _OfResidual,
    centred,
    divided,
    own_scale,
    require_norm,
    root_mean_square,
)
from grokinterp.hooks.replacement import donors

from grokinterp.checks import check_one_of, integer

if TYPE_CHECKING:
    from torch import Tensor
    from transformer_lens import HookedTransformer

__all__ = [
    "INPUT_HOOKS",
    "RESIDUAL_HOOKS",
    "CenterOnly",
    "DropGainAndBias",
    "InsertNorm",
    "RemoveNorm",
    "ShuffleNorm",
    "UnitNorm",
]


@dataclass(frozen=True)
class UnitNorm(_OfInput):
    """Replace the pathway's input x by x/‖x‖: its direction stays, its norm is gone.

    Zeros have no direction, and stay.

    Args:
        pathway: q, k, v, mlp or final.
    """

    def _changed(self, x: Tensor) -> Tensor:
        return divided(x, x.norm(dim=-1, keepdim=True))


@dataclass(frozen=True)
class ShuffleNorm(_OfInput):
    """Keep the direction of the pathway's input and give it the norm of another example's.

    Norms move between examples at the same position, by a permutation without fixed points, so
    their distribution stays; the permutation depends on `seed` and the number of examples alone.
    Zeros have no direction, and stay.

    Args:
        pathway: q, k, v, mlp or final.
        seed: Draws the permutation.
    """

    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "seed", integer("seed", self.seed))

    def _changed(self, x: Tensor) -> Tensor:
        norm = x.norm(dim=-1, keepdim=True)
        return divided(x, norm) * norm[donors(len(x), self.seed, x.device)]


@dataclass(frozen=True)
class InsertNorm(_OfInput):
    """Normalise the pathway's input, without gain and bias, after any norm that is there.

    There is no eps, as in the norms of a block; where the root is 0, the quotient is 0.

    Args:
        pathway: q, k, v, mlp or final.
        norm: `layer`: (x − mean x)/√(mean (x − mean x)²); `rms`: x/√(mean x²); means over d_model.
    """

    norm: Literal["layer", "rms"] = "layer"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_of("norm", self.norm, ["layer", "rms"])

    def _changed(self, x: Tensor) -> Tensor:
        if self.norm == "layer":
            x = x - x.mean(-1, keepdim=True)
        return divided(x, root_mean_square(x))


@dataclass(frozen=True)
class RemoveNorm(_OfResidual):
    """Let the pathway read the residual stream itself, as if its norm were not there.

    Where the pathway has no norm it reads the residual stream already, and nothing changes.

    Args:
        pathway: q, k, v, mlp or final.
    """

    def _rebuilder(self, model: HookedTransformer, layer: int) -> Callable[[Tensor], Tensor]:
        return lambda residual: residual


@dataclass(frozen=True)
class CenterOnly(_OfResidual):
    """Let the pathway read the residual stream less its mean over d_model, unscaled.

    Where the pathway has a norm, this takes its place; where it has none, this centres.

    Args:
        pathway: q, k, v, mlp or final.
    """

    def _rebuilder(self, model: HookedTransformer, layer: int) -> Callable[[Tensor], Tensor]:
        return lambda residual: residual - residual.mean(-1, keepdim=True)


@dataclass(frozen=True)
class DropGainAndBias(_OfResidual):
    """Let the pathway read its norm's output before the gain and bias: gain 1, bias 0.

    ValueError where the pathway has no norm.

    Args:
        pathway: q, k, v, mlp or final.
    """

    def _rebuilder(self, model: HookedTransformer, layer: int) -> Callable[[Tensor], Tensor]:
        norm = require_norm(model, self.pathway, layer, type(self).__name__)

        def normalised(residual: Tensor) -> Tensor:
            x = centred(residual, norm)
            return divided(x, own_scale(x, norm))

        return normalised
