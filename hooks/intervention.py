"""What an intervention is, how interventions are attached to a model and removed, and their text.

`parse_intervention("AblateNeurons:neurons=(1,2,3),kind=mean")` reads the command line's form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from grokinterp.hooks.bridge import is_bridge, require_editable
from grokinterp.hooks.controls import Choice, random_controls
from grokinterp.hooks.model_checks import check_hook
from grokinterp.hooks.tensors import Held

from grokinterp.checks import integer
from grokinterp.component import Component

if TYPE_CHECKING:
    from torch import Tensor
    from transformer_lens import HookedTransformer

Hook = tuple[str, Callable[..., "Tensor | None"]]


@dataclass(frozen=True, kw_only=True)
class Intervention(Component, noun="intervention"):  # type: ignore[call-arg]
    """A change to the forward pass, as data: it enters a run's identity and is stored as JSON.

    A subclass gives `hooks(model)`: TransformerLens (hook name, function) pairs, or a ValueError
    where the model lacks what it acts on.

    One that holds an activation (a Patch, another model's pattern or scale) works everywhere but in
    a TrainConfig: it has no plain data to be stored by.

    Args:
        from_epoch: While training, the first epoch on whose update it acts.
        until_epoch: The last; to the end when not given.
    """

    article: ClassVar[str] = "an"
    on_grid: ClassVar[bool] = False
    """Whether a pass must be over all p² pairs, a outer, b inner, so that no training fits it."""

    from_epoch: int = 1
    until_epoch: int | None = None

    def __post_init__(self) -> None:
        first, last = self.from_epoch, self.until_epoch
        try:
            first = integer("from_epoch", first, 1)
            last = None if last is None else integer("until_epoch", last, first)
        except ValueError:
            raise ValueError(
                "an intervention's span needs integers 1 <= from_epoch <= until_epoch; got "
                f"from_epoch={self.from_epoch!r}, until_epoch={self.until_epoch!r}"
            ) from None
        object.__setattr__(self, "from_epoch", first)
        object.__setattr__(self, "until_epoch", last)

    def hooks(self, model: HookedTransformer) -> list[Hook]:
        """TransformerLens (hook name, function) pairs.

        Args:
            model: A HookedTransformer.

        Raises:
            ValueError: The model lacks what it acts on.
        """
        raise TypeError(f"{type(self).__name__} must define hooks(model)")

    def choice(self, model: HookedTransformer) -> Choice | None:
        """What it chose of several like things; None for all heads, or a whole pathway.

        Args:
            model: A HookedTransformer.
        """
        return None

    def control(self, model: HookedTransformer, seed: int = 0) -> Intervention | None:
        """The same intervention on as many others of the same kind, drawn at random.

        Args:
            model: Whose others there are.
            seed: Draws them.

        Returns:
            None where nothing was chosen among several, so that no control has the same size.

        Raises:
            ValueError: Too few others are left.
        """
        controls = random_controls([self], model, seed)
        return None if controls is None else controls[0]

    def active(self, epoch: int) -> bool:
        """Whether it acts on an epoch's update.

        Args:
            epoch: From 1 up.
        """
        return self.from_epoch <= epoch and (self.until_epoch is None or epoch <= self.until_epoch)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; `intervention_from_dict` takes it back.

        Of a class that the package does not define, its definition and its module are told too.
        """
        for field in fields(self):
            if isinstance(getattr(self, field.name), Held):
                raise ValueError(
                    f"{type(self).__name__} holds a tensor ({field.name}), so it is for analysis, "
                    "with hooks.applied; what a run trains under must be numbers and names, such "
                    "as FreezeScale(to='mean'), FrozenPattern(values='mean') or values in tuples"
                )
        return super().to_dict()


INTERVENTIONS: dict[str, type[Intervention]] = Intervention.classes
"""Every intervention class by name; a subclass enters by being defined."""


def intervention_from_dict(data: Mapping[str, Any]) -> Intervention:
    """The intervention that `to_dict` described.

    Args:
        data: Plain JSON data.

    Raises:
        ValueError: There is no such class, it does not take these arguments, or it was defined
            otherwise when the data were written.
    """
    return Intervention.from_dict(data)


def parse_intervention(text: str) -> Intervention:
    """The intervention of its text: a name, then arguments by position or by name.

    Args:
        text: `UnitNorm:pathway=mlp`, `unit_norm:mlp`, `AblateNeurons:neurons=(1,2,3),kind=mean`,
            `RemoveNorm:mlp,from_epoch=500`. The name's case and underscores do not matter.

    Raises:
        ValueError: The message says which interventions there are, or which arguments this one
            takes.
    """
    return Intervention.parse(text)


def collect_hooks(model: HookedTransformer, interventions: Sequence[Intervention]) -> list[Hook]:
    """The hooks of all of them, in order; ValueError names a hook that the model has not."""
    if not hasattr(model, "hook_dict"):
        raise ValueError(
            "interventions act on a HookedTransformer, as build_model makes it; "
            f"got {type(model).__name__}"
        )
    items = [*interventions] if isinstance(interventions, Iterable) else [None]
    if not all(isinstance(item, Intervention) for item in items):
        # One alone, its text or its class are easily given by mistake.
        raise ValueError(
            "interventions must be a list of interventions, as in [UnitNorm('mlp')]; "
            f"got {interventions!r}"
        )
    hooks = [hook for item in items for hook in item.hooks(model)]
    for name, _ in hooks:
        check_hook(model, name)
    if is_bridge(model):
        require_editable(model, (name for name, _ in hooks))
    return hooks


@contextmanager
def applied(
    model: HookedTransformer, interventions: Sequence[Intervention]
) -> Iterator[HookedTransformer]:
    """The model with these interventions attached; they are removed on leaving, come what may.

    Args:
        model: A HookedTransformer.
        interventions: They act in this order.

    Raises:
        ValueError: The model has not what one of them acts on.
    """
    hooks = collect_hooks(model, interventions)
    with model.hooks(fwd_hooks=[*hooks]):
        yield model


def attach(model: HookedTransformer, interventions: Sequence[Intervention]) -> HookedTransformer:
    """The model with these interventions attached for good, as TransformerLens's permanent hooks.

    Every pass runs under them, with the hooks of `model.hooks(...)` after them;
    `model.reset_hooks(including_permanent=True)` alone takes them off.

    Args:
        model: A HookedTransformer.
        interventions: They act in this order.

    Raises:
        ValueError: The model has not what one of them acts on.
    """
    for name, hook in collect_hooks(model, interventions):
        model.add_perma_hook(name, hook)
    return model


def acting(interventions: Iterable[Intervention], epoch: int) -> tuple[Intervention, ...]:
    """Those under which a training has its weights of an epoch: that act on the epoch's update.

    Args:
        interventions: Of a TrainConfig.
        epoch: From 0 up. For 0, the start, those that act on the first update.
    """
    return tuple(item for item in interventions if item.active(max(epoch, 1)))
