"""Activation patching: an activation from another input, another checkpoint, another model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grokinterp.hooks.axes import axes_of, sizes_of
from grokinterp.hooks.intervention import Hook, Intervention, applied
from grokinterp.hooks.model_checks import check_below, check_hook
from grokinterp.hooks.replacement import selection
from grokinterp.hooks.tensors import Held, is_tensor

from grokinterp.checks import Indices, check_text, indices

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from jaxtyping import Float
    from torch import Tensor
    from transformer_lens import HookedTransformer

SELECTED = {"positions": "pos", "heads": "head", "neurons": "d_mlp"}
"""The axis that each of Patch's selections is of."""


@dataclass(frozen=True)
class Patch(Intervention):
    """Replace the activation at a hook by a given one, for analysis.

    Args:
        hook: Where.
        source: A tensor of the activation's own shape, with the batch or without it; with it,
            example i of the pass gets example i of the source.
        positions: Which to replace, -1 the last (queries of a pattern); all when empty.
        heads: Which to replace; all when empty.
        neurons: Which to replace; all when empty.
    """

    hook: str
    source: Any
    positions: Indices = ()
    heads: Indices = ()
    neurons: Indices = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text("hook", self.hook)
        if is_tensor(self.source):
            object.__setattr__(self, "source", Held(self.source))
        if not isinstance(self.source, Held):
            raise ValueError(
                f"Patch holds an activation, so its source must be a tensor; got {self.source!r}. "
                "Patch.from_model(hook, model, tokens) takes it from a model"
            )
        object.__setattr__(self, "positions", indices("positions", self.positions, -1))
        for name in ("heads", "neurons"):
            object.__setattr__(self, name, indices(name, getattr(self, name)))
        for name, axis in SELECTED.items():
            if getattr(self, name) and axis not in axes_of(self.hook):
                axes = ", ".join(("batch", *axes_of(self.hook)))
                raise ValueError(f"{self.hook} is [{axes}]: it has no {name} to choose")

    @classmethod
    def from_model(
        cls,
        hook: str,
        model: HookedTransformer,
        tokens: Tensor,
        positions: Indices = (),
        heads: Indices = (),
        neurons: Indices = (),
    ) -> Patch:
        """What a model, with whatever is attached to it now, has at the hook on these tokens.

        Args:
            hook: Where.
            model: The model.
            tokens: The examples, [batch, pos].
            positions: Which to replace, -1 the last (queries of a pattern); all when empty.
            heads: Which to replace; all when empty.
            neurons: Which to replace; all when empty.
        """
        [source] = activations(model, [hook], tokens).values()
        return cls(hook, source, positions, heads, neurons)

    def hooks(self, model: HookedTransformer) -> list[Hook]:
        sizes = sizes_of(model, self.hook)
        shape = [*self.source.tensor.shape]
        if shape[-len(sizes) :] != [*sizes.values()] or len(shape) > len(sizes) + 1:
            expected = ", ".join(f"{axis} {size}" for axis, size in sizes.items())
            raise ValueError(
                f"{self.hook} of this model is [batch, {expected}], and the source is {shape}"
            )
        for name, axis in SELECTED.items():
            if wanted := getattr(self, name):
                check_below(name.removesuffix("s"), wanted, sizes[axis], name)

        def patch(x: Tensor, hook: Any) -> Tensor:
            import torch

            source = self.source.tensor.to(x)
            examples = 1 if source.ndim == len(sizes) else len(source)
            if [*x.shape[1:]] != [*sizes.values()] or examples not in (1, len(x)):
                raise ValueError(
                    f"the source of the Patch at {self.hook} is {shape}; the activation of this "
                    f"pass is {[*x.shape]}"
                )
            chosen = torch.ones((), dtype=torch.bool, device=x.device)
            for name, axis in SELECTED.items():
                if wanted := getattr(self, name):
                    after = len(sizes) - 1 - [*sizes].index(axis)
                    mask = selection(sizes[axis], wanted, x.device)
                    chosen = chosen & mask.reshape(-1, *[1] * after)
            return torch.where(chosen, source, x)

        return [(self.hook, patch)]


def activations(
    model: HookedTransformer, hooks: Sequence[str], tokens: Tensor
) -> dict[str, torch.Tensor]:
    """What a model has at these hooks on these tokens, in one pass, without gradients."""
    import torch

    for name in hooks:
        check_hook(model, name)
    seen: dict[str, torch.Tensor] = {}

    def remember(x: Tensor, hook: Any) -> None:
        seen[hook.name] = x

    with torch.no_grad(), model.hooks(fwd_hooks=[(name, remember) for name in hooks]):
        model(tokens)
    return {name: seen[name] for name in hooks}


def patching_table(
    model: HookedTransformer,
    sources: Mapping[str | int, HookedTransformer | tuple[HookedTransformer, torch.Tensor]],
    hooks: Sequence[str],
    tokens: torch.Tensor,
    metric: Callable[[Float[torch.Tensor, "batch d_vocab"]], Any],
    positions: Indices = (),
    heads: Indices = (),
    neurons: Indices = (),
) -> pd.DataFrame:
    """The metric of a model with one activation of another patched in: hook × source.

    One pass for each source and one for each cell. Gradients are off.

    Args:
        model: The model that is patched.
        sources: By label: a model, run on the same tokens (another checkpoint, another
            placement's), or a (model, tokens) pair, for the activation of another input.
        hooks: Where.
        tokens: The examples, [batch, pos].
        metric: Takes the logits at the last position, [batch, d_vocab], and gives a number.
        positions: Which to replace, -1 the last (queries of a pattern); all when empty.
        heads: Which to replace; all when empty.
        neurons: Which to replace; all when empty.

    Raises:
        ValueError: A hook is not there or its shapes do not fit; the message names the source. None
            of its activations has been patched then.
    """
    import pandas as pd
    import torch

    if isinstance(hooks, str):
        hooks = [hooks]
    for name in hooks:
        check_hook(model, name)
    table = pd.DataFrame(index=pd.Index(hooks, name="hook"), columns=[*sources], dtype=float)
    table.columns.name = "source"
    for label, source in sources.items():
        other, inputs = source if isinstance(source, tuple) else (source, tokens)
        try:
            found = activations(other, hooks, inputs)
            patches = [Patch(name, found[name], positions, heads, neurons) for name in hooks]
            for patch in patches:
                patch.hooks(model)
        except ValueError as error:
            raise ValueError(f"source {label!r}: {error}") from None
        for name, patch in zip(hooks, patches, strict=True):
            with torch.no_grad(), applied(model, [patch]):
                table.loc[name, label] = float(metric(model(tokens)[:, -1]))
    return table
