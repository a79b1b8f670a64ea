"""What the optimiser sees in place of the gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from grokinterp.checks import number
from grokinterp.component import Component, Unknown, stored

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

ROUNDING = 64
"""In units of the precision: what is left of a gradient and smaller than that is no part of it."""


@dataclass(frozen=True)
class GradientFilter(Component, noun="gradient filter"):  # type: ignore[call-arg]
    """Changes a gradient on its way to the optimiser; as data, it is part of a run's identity.

    A subclass gives `filtered`. The recorded `grad_norm` is that of the gradient before.

    >>> GradientFilter.parse("grokfast:alpha=0.9")
    Grokfast(alpha=0.9, weight=2.0)
    """

    remembers: ClassVar[tuple[str, ...]] = ()
    """Names of what it keeps from one step to the next, a tensor like the gradient for each."""

    def filtered(
        self,
        tensor: Float[Tensor, "run ..."],
        gradient: Float[Tensor, "run ..."],
        memory: Mapping[str, Float[Tensor, "run ..."]],
    ) -> Float[Tensor, "run ..."]:
        """What the optimiser sees of one tensor's gradient.

        Args:
            tensor: A parameter of several runs, which are not to be mixed.
            gradient: Of the objective, by it.
            memory: What it `remembers`, zeros at first; to be changed in place.
        """
        raise TypeError(f"{type(self).__name__} must define filtered(tensor, gradient, memory)")


@dataclass(frozen=True)
class Orthogonal(GradientFilter):
    """⊥Grad: g − (⟨θ, g⟩/⟨θ, θ⟩) θ of each tensor, at the norm of g (arXiv:2501.04697).

    A tensor of zeros has no direction: its gradient stays as it is. Of one that is all along its
    tensor nothing is left but rounding, which has no direction either: it becomes 0.
    """

    def filtered(
        self,
        tensor: Float[Tensor, "run ..."],
        gradient: Float[Tensor, "run ..."],
        memory: Mapping[str, Float[Tensor, "run ..."]],
    ) -> Float[Tensor, "run ..."]:
        import torch

        theta, g = tensor.flatten(1), gradient.flatten(1)
        square = theta.square().sum(1, keepdim=True)
        along = (theta * g).sum(1, keepdim=True) / torch.where(square > 0, square, 1)
        rest = g - along * theta
        whole, left = g.norm(dim=1, keepdim=True), rest.norm(dim=1, keepdim=True)
        there = left > ROUNDING * torch.finfo(g.dtype).eps * whole
        scale = torch.where(there, whole / torch.where(there, left, 1), 0)
        return (rest * scale).view_as(gradient)


@dataclass(frozen=True)
class Grokfast(GradientFilter):
    """g + λ h, where h ← α h + (1 − α) g averages the gradients, from 0 (arXiv:2405.20233).

    Args:
        alpha: α, between 0 and 1.
        weight: λ.
    """

    alpha: float = 0.98
    weight: float = 2.0
    remembers: ClassVar[tuple[str, ...]] = ("average",)

    def __post_init__(self) -> None:
        if not 0 <= number("alpha", self.alpha) < 1:
            raise ValueError(f"Grokfast's alpha must be in [0, 1); got {self.alpha!r}")
        for name in ("alpha", "weight"):
            object.__setattr__(self, name, number(name, getattr(self, name)))

    def filtered(
        self,
        tensor: Float[Tensor, "run ..."],
        gradient: Float[Tensor, "run ..."],
        memory: Mapping[str, Float[Tensor, "run ..."]],
    ) -> Float[Tensor, "run ..."]:
        average = memory["average"].lerp_(gradient, 1 - self.alpha)
        return gradient + self.weight * average


@dataclass(frozen=True, repr=False)
class UnknownFilter(Unknown, GradientFilter, listed=False):  # type: ignore[call-arg]
    """What a run's config says of a filter that cannot be made here."""

    def filtered(self, tensor: Any, gradient: Any, memory: Any) -> Any:
        raise ValueError(self.reason)


def stored_filter(data: Mapping[str, Any]) -> GradientFilter:
    """The filter that a stored run trained under, or an UnknownFilter in its place."""
    return stored(GradientFilter, data, UnknownFilter)
