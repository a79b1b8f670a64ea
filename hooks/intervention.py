"""What an intervention is, and how interventions are attached to a model and removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformer_lens import HookedTransformer

Hook = tuple[str, Callable[..., "Tensor | None"]]

INTERVENTIONS: dict[str, type[Intervention]] = {}
"""Every intervention class by name; a subclass enters by being defined."""


@dataclass(frozen=True, kw_only=True)
class Intervention:
    """A change to the forward pass, as data: it enters a run's identity and is stored as JSON.

    A subclass gives `hooks(model)`: TransformerLens (hook name, function) pairs. The span
    matters in training only: it acts on the updates of epochs from_epoch to until_epoch,
    both included.
    """

    from_epoch: int = 1
    until_epoch: int | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__name__.startswith("_"):
            INTERVENTIONS[cls.__name__] = cls

    def __post_init__(self) -> None:
        if self.from_epoch < 1 or (
            self.until_epoch is not None and self.until_epoch < self.from_epoch
        ):
            raise ValueError(
                "an intervention's span needs 1 <= from_epoch <= until_epoch; got "
                f"from_epoch={self.from_epoch}, until_epoch={self.until_epoch}"
            )

    def hooks(self, model: HookedTransformer) -> list[Hook]:
        """TransformerLens (hook name, function) pairs for this model."""
        raise TypeError(f"{type(self).__name__} must define hooks(model)")

    def active(self, epoch: int) -> bool:
        """Whether it acts on this epoch's update."""
        return self.from_epoch <= epoch and (self.until_epoch is None or epoch <= self.until_epoch)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; `intervention_from_dict` takes it back."""
        return {"name": type(self).__name__, **asdict(self)}


def intervention_from_dict(data: Mapping[str, Any]) -> Intervention:
    """The intervention that `to_dict` described."""
    arguments = {key: value for key, value in data.items() if key != "name"}
    name = data.get("name")
    if name not in INTERVENTIONS:
        raise ValueError(
            f"unknown intervention {name!r}; choose one of {', '.join(sorted(INTERVENTIONS))}"
        )
    return INTERVENTIONS[name](**arguments)


def collect_hooks(model: HookedTransformer, interventions: Sequence[Intervention]) -> list[Hook]:
    """The hooks of all of them, in order; ValueError names a hook that the model has not."""
    hooks = [hook for intervention in interventions for hook in intervention.hooks(model)]
    for name, _ in hooks:
        if name not in model.hook_dict:
            close = get_close_matches(name, model.hook_dict, n=3) or list(model.hook_dict)[:3]
            raise ValueError(f"the model has no hook {name!r}; close ones: {', '.join(close)}")
    return hooks


@contextmanager
def applied(
    model: HookedTransformer, interventions: Sequence[Intervention]
) -> Iterator[HookedTransformer]:
    """The model with these interventions attached; they are removed on leaving, come what may."""
    with model.hooks(fwd_hooks=[*collect_hooks(model, interventions)]):
        yield model
