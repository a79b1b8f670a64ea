"""A loss of a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grokinterp.component import Component, Unknown, stored

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


@dataclass(frozen=True)
class Loss(Component, noun="loss"):  # type: ignore[call-arg]
    """What training minimises, as data: it enters a run's identity and is stored as JSON.

    A subclass gives `losses`, by operations of PyTorch, whose gradient is taken.

        @dataclass(frozen=True)
        class Focal(gi.Loss):
            gamma: float = 2.0

            def losses(self, logits, labels):
                label = labels[..., None]
                log_share = logits.log_softmax(-1).gather(-1, label)[..., 0]
                return -((1 - log_share.exp()) ** self.gamma) * log_share

        TrainConfig(loss=Focal(gamma=1.0))     # or the text "Focal:gamma=1.0"
    """

    def losses(
        self, logits: Float[Tensor, "run batch d_vocab"], labels: Int[Tensor, "run batch"]
    ) -> Float[Tensor, "run batch"]:
        """The loss of each example; the objective is their mean.

        Args:
            logits: At the last position, in the precision of `loss_dtype`.
            labels: The right answers.
        """
        raise TypeError(f"{type(self).__name__} must define losses(logits, labels)")


@dataclass(frozen=True, repr=False)
class UnknownLoss(Unknown, Loss, listed=False):  # type: ignore[call-arg]
    """What a run's config says of a loss that cannot be made here."""

    def losses(self, logits: Any, labels: Any) -> Any:
        raise ValueError(self.reason)


def stored_loss(data: Mapping[str, Any]) -> Loss:
    """The loss that a stored run was trained by, or an UnknownLoss in its place."""
    return stored(Loss, data, UnknownLoss)
