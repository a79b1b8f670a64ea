"""How far a run is: what it goes on from, and what it says of each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Weights = dict[str, Tensor]
Row = dict[str, float | int]
Status = Literal["running", "finished", "stopped", "diverged"]


@dataclass
class RunState:
    """Everything that a run needs to go on from an epoch, bit for bit (on CPU)."""

    epoch: int
    weights: Weights
    optimizer: dict[str, Weights]
    """What the optimiser and the gradient filters keep, by name and then by parameter."""
    steps: int
    """Of the optimiser, those of a fork's parent included."""
    rule_met_since: int | None = None
    """The epoch since which the stop rule has been met without a break."""

    @classmethod
    def initial(cls, weights: Weights) -> RunState:
        """Epoch 0, of which an optimiser keeps nothing."""
        return cls(0, weights, {}, 0)


@dataclass
class Report:
    """What happened to one run up to an epoch."""

    run: int
    """Position of the run among the configs given."""
    epoch: int
    row: Row | None
    """The epoch's metrics, if it was evaluated."""
    status: Status
    message: str = ""
