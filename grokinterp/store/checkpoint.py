"""What a run saves of a model at an epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from grokinterp.store.files import fingerprint
from grokinterp.store.state import RunState

if TYPE_CHECKING:
    from grokinterp.gradient_filter import GradientFilter

OPTIMIZER = "+optimizer"
"""Says, in what a fork starts from, that it went on with its parent's moments."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a run at an epoch; with the optimiser's state if the run kept it.

    Args:
        weights: By TransformerLens name.
        optimizer: With its state (Adam's moments, SGD's buffer, …), or None.
        origin: `<run id>@<epoch>`.
        optimizer_name: Which optimiser it is.
        gradient_filters: What changed its gradients.
    """

    weights: dict[str, Tensor]
    optimizer: RunState | None
    origin: str
    optimizer_name: str = "adamw"
    gradient_filters: tuple[GradientFilter, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Identity of what a fork starts from."""
        kept = "" if self.optimizer is None else OPTIMIZER
        return f"{self.origin}{kept}:{fingerprint(self.weights)}"


def pack_state(state: RunState, whole: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights by TransformerLens name, what the optimiser keeps by name with a prefix if the state
    is to be `whole`; and the numbers."""
    tensors = dict(state.weights)
    for slot, by_name in state.optimizer.items() if whole else ():
        tensors |= {f"{slot}:{name}": tensor for name, tensor in by_name.items()}
    plain = ("epoch", "steps", "rule_met_since")
    return tensors, {name: getattr(state, name) for name in plain} | {"optimizer": whole}


def unpack_state(tensors: dict[str, Tensor], about: dict[str, Any]) -> RunState:
    parts: dict[str, dict[str, Tensor]] = {"": {}}
    for full_name, tensor in tensors.items():
        slot, _, name = full_name.rpartition(":")
        parts.setdefault(slot, {})[name] = tensor
    return RunState(
        epoch=about["epoch"],
        weights=parts.pop(""),
        optimizer=parts,
        steps=about["steps"],
        rule_met_since=about.get("rule_met_since"),
    )
