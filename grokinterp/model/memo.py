"""What was computed of a model, for as long as the model stays as it was."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch

from grokinterp.definition import content_of

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer


OF_HOOKS = ("context_level", "is_caching")
"""Where TransformerLens counts the hooks that are attached, which are looked at themselves."""


class ModelState:
    """What a pass through a model depends on, as it is now: weights, hooks and settings.

    Weights are held against a copy, value by value, because an edit through `.data` leaves no
    other mark. Hooks are told apart by identity, so that the same intervention attached anew counts
    as another, and by the values that they find around them.
    """

    def __init__(self, model: HookedTransformer) -> None:
        self.hooks = hooks_of(model)
        self._contents = _contents(self.hooks)
        self._settings = _settings(model)
        self._tensors = {name: tensor.clone() for name, tensor in _tensors(model).items()}

    def holds(self, model: HookedTransformer) -> bool:
        """Whether the model is still so."""
        return (
            self._has_hooks(model)
            and self._contents == _contents(self.hooks)
            and self.holds_without_hooks(model)
        )

    def _has_hooks(self, model: HookedTransformer) -> bool:
        found = hooks_of(model)
        return len(found) == len(self.hooks) and all(
            name == kept_name and hook is kept
            for (name, hook), (kept_name, kept) in zip(found, self.hooks, strict=True)
        )

    def settle(self, model: HookedTransformer) -> None:
        """After a pass: what the pass itself did to its hooks and functions is no change of them.

        A hook that fills a list, say.
        """
        if self._has_hooks(model):
            self._contents = _contents(self.hooks)
            self._settings = _settings(model)

    def holds_without_hooks(self, model: HookedTransformer) -> bool:
        """Whether it is, whatever is attached to it."""
        tensors = _tensors(model)
        return (
            self._settings == _settings(model)
            and tensors.keys() == self._tensors.keys()
            and all(
                tensor.device == kept.device and torch.equal(tensor, kept)
                for tensor, kept in zip(tensors.values(), self._tensors.values(), strict=True)
            )
        )


class Remembered:
    """Values of a model by key, each computed once, and all forgotten when the model changes."""

    def __init__(self, model: HookedTransformer) -> None:
        self._model = model
        self._values: dict[Hashable, Any] = {}
        self.state: ModelState | None = None
        """The model as the values are of."""

    def once(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The value of this key, computed if the model as it is now has none."""
        if self.state is None or not self.state.holds(self._model):
            self._values.clear()
            self.state = ModelState(self._model)
        if key not in self._values:
            gradients = torch.is_grad_enabled()
            # What is kept may be asked for again where gradients are taken of it.
            with torch.inference_mode(False), torch.set_grad_enabled(gradients):
                self._values[key] = compute()
            self.state.settle(self._model)
        return self._values[key]

    def get(self, key: Hashable) -> Any:
        """The value of this key for the model of `state`, which may have changed since; or None."""
        return self._values.get(key)


def hooks_of(model: HookedTransformer) -> list[tuple[str, Callable[..., Any]]]:
    """Every function that is attached to a part of the model, with the part's name, in order."""
    return [
        (name, hook)
        for name, part in model.named_modules()
        for attached in (
            part._forward_pre_hooks,
            part._forward_hooks,
            part._backward_pre_hooks,
            part._backward_hooks,
        )
        for hook in attached.values()
        if not _is_a_bridge_s_own(part, hook)
    ]


def _is_a_bridge_s_own(part: torch.nn.Module, hook: Callable[..., Any]) -> bool:
    """Whether TransformerLens put it there, by which a TransformerBridge sees its blocks."""
    of_transformer_lens = getattr(hook, "__module__", "").startswith("transformer_lens.")
    return of_transformer_lens and type(part).__name__ != "HookPoint"


def _tensors(model: HookedTransformer) -> dict[str, torch.Tensor]:
    return {
        name: tensor.detach()
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]
    }


def _contents(hooks: list[tuple[str, Callable[..., Any]]]) -> list[str]:
    return [content_of(_given(hook)) for _, hook in hooks]


def _given(hook: Callable[..., Any]) -> Callable[..., Any]:
    """What the user gave, of which TransformerLens made the hook."""
    while isinstance(hook, FunctionType) and hook.__module__.startswith("transformer_lens."):
        around = zip(hook.__code__.co_freevars, hook.__closure__ or (), strict=True)
        inner = [cell.cell_contents for name, cell in around if name in ("hook", "full_hook")]
        if not inner:
            break
        hook = inner[0]
    return hook


def _settings(model: HookedTransformer) -> tuple[Any, ...]:
    """What else changes a pass: the config, functions and numbers of its parts such as an act_fn
    or an eps, and which weights train."""
    own = [
        (name, key, value, content_of(value) if callable(value) else "")
        for name, part in model.named_modules()
        for key, value in vars(part).items()
        if key not in OF_HOOKS and (callable(value) or isinstance(value, (int, float, str)))
    ]
    # Shared with other models, so by identity: their passes may fill what it names.
    classes = [type(part).forward for part in model.modules()]
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    return dict(vars(model.cfg)), own, classes, trained
