"""Interventions on attention: its pattern, its scores, and whole heads.

`layer=None` means every layer and `heads=()` every head; the other heads stay as they are. The
random control acts on as many other heads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from grokinterp.hooks.controls import Choice
from grokinterp.hooks.intervention import Hook, Intervention
from grokinterp.hooks.model_checks import check_below, chosen_layers
from grokinterp.hooks.replacement import KINDS, replacement, selection
from grokinterp.hooks.tensors import Held, is_tensor

from grokinterp.checks import Indices, check_one_of, indices, integer, nested_floats, positive

if TYPE_CHECKING:
    from torch import Tensor
    from transformer_lens import HookedTransformer

PATTERN = "blocks.{layer}.attn.hook_pattern"
SCORES = "blocks.{layer}.attn.hook_attn_scores"


@dataclass(frozen=True, kw_only=True)
class _OnHeads(Intervention, ABC):
    """One that acts on [batch, head, query, key] of chosen heads."""

    layer: int | None = None
    heads: Indices = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer is not None:
            object.__setattr__(self, "layer", integer("layer", self.layer))
        object.__setattr__(self, "heads", indices("heads", self.heads))

    def hooks(self, model: HookedTransformer) -> list[Hook]:
        layers = chosen_layers(model, self.layer)
        n_heads = model.cfg.n_heads
        check_below("head", self.heads, n_heads, "heads, counted from 0")

        causal = model.cfg.attention_dir == "causal"

        def change(x: Tensor, hook: Any) -> Tensor:
            import torch

            new = self._changed(x, causal)
            if not self.heads:
                return new
            return torch.where(selection(n_heads, self.heads, x.device)[:, None, None], new, x)

        return [(self._hook.format(layer=layer), change) for layer in layers]

    def choice(self, model: HookedTransformer) -> Choice | None:
        if not self.heads:
            return None
        return Choice("heads", "heads", range(model.cfg.n_heads), self.layer)

    @property
    def _hook(self) -> str:
        return PATTERN

    @abstractmethod
    def _changed(self, x: Tensor, causal: bool) -> Tensor:
        """What [batch, head, query, key] becomes, were it changed at every head.

        Args:
            x: What it is.
            causal: Whether the model's queries see no later keys.
        """


@dataclass(frozen=True)
class UniformAttention(_OnHeads):
    """Replace hook_pattern by 1/n at each of the n keys that a query sees: all, or none later.

    Args:
        layer: Counted from 0; every layer when not given.
        heads: Every head when empty; the others stay as they are.
    """

    def _changed(self, x: Tensor, causal: bool) -> Tensor:
        import torch

        seen = torch.ones_like(x)
        seen = seen.tril() if causal else seen
        return seen / seen.sum(-1, keepdim=True)


@dataclass(frozen=True)
class FrozenPattern(_OnHeads):
    """Replace hook_pattern by one that does not depend on the example.

    Args:
        values: `mean`: the pattern's mean over the batch of the same pass; gradients flow through
            it. Nested tuples `[head][query][key]`, or `[head][key]` for the last query alone (the
            others stay as they are): a row for each chosen head, in ascending order, each a
            distribution. Or a tensor [batch, head, query, key] or [head, query, key] of every head
            of the layer, as `like` takes it from another model; for analysis only, and with its
            batch, if any, on the same examples in the same order.
        layer: Counted from 0; every layer when not given.
        heads: Every head when empty; the others stay as they are.
    """

    values: Any = "mean"

    def __post_init__(self) -> None:
        given_heads: Any = self.heads
        super().__post_init__()
        values = self.values
        if is_tensor(values):
            values = Held(values)
        elif isinstance(values, str):
            check_one_of("values", values, ["mean"])
        elif not isinstance(values, Held):
            values = nested_floats("values", values)
            _check_distributions(values)
            if self.heads and tuple(given_heads) != self.heads:
                raise ValueError(
                    f"give heads in ascending order, and values in theirs; got {given_heads!r}"
                )
        object.__setattr__(self, "values", values)

    @classmethod
    def like(
        cls,
        model: HookedTransformer,
        tokens: Tensor,
        layer: int = 0,
        heads: Indices = (),
        **span: int | None,
    ) -> FrozenPattern:
        """Frozen to another model's pattern of each of these examples (for analysis).

        Args:
            model: The other model.
            tokens: The examples, [batch, pos].
            layer: Counted from 0.
            heads: Every head when empty.
            **span: from_epoch, until_epoch.
        """
        import torch

        chosen_layers(model, layer)
        seen: list[Tensor] = []
        name = PATTERN.format(layer=layer)
        with torch.no_grad(), model.hooks(fwd_hooks=[(name, lambda x, hook: seen.append(x))]):
            model(tokens)
        return cls(seen[0], layer=layer, heads=heads, **span)  # type: ignore[arg-type]

    def hooks(self, model: HookedTransformer) -> list[Hook]:
        n_keys, n_heads = model.cfg.n_ctx, model.cfg.n_heads
        if isinstance(self.values, Held):
            shape = [*self.values.tensor.shape]
            if len(shape) not in (3, 4) or shape[-3:] != [n_heads, n_keys, n_keys]:
                raise ValueError(
                    "FrozenPattern's pattern must be [head, query, key] or [batch, head, query, "
                    f"key], here [..., {n_heads}, {n_keys}, {n_keys}]; got {shape}"
                )
        elif isinstance(self.values, tuple):
            n_chosen = len(self.heads) or n_heads
            shape = _shape(self.values)
            if shape not in ([n_chosen, n_keys], [n_chosen, n_keys, n_keys]):
                raise ValueError(
                    f"FrozenPattern's values must be [head][key] or [head][query][key], here "
                    f"{[n_chosen, n_keys]} or {[n_chosen, n_keys, n_keys]}; got {shape}"
                )
        return super().hooks(model)

    def _changed(self, x: Tensor, causal: bool) -> Tensor:
        import torch

        if isinstance(self.values, str):
            return x.mean(0, keepdim=True).expand_as(x)
        if isinstance(self.values, Held):
            held = self.values.tensor.to(x)
            if held.ndim == 4 and len(held) not in (1, len(x)):
                raise ValueError(
                    f"FrozenPattern holds the patterns of {len(held)} examples; this pass has "
                    f"{len(x)}"
                )
            return held.expand_as(x)
        given = torch.tensor(self.values, dtype=x.dtype, device=x.device)
        rows = torch.arange(x.shape[-3], device=x.device)
        if self.heads:
            # Where each head's values are; the heads that are not chosen stay, whatever they get.
            rows = selection(len(rows), self.heads, x.device).long().cumsum(0).sub(1).clamp(min=0)
        given = given[rows]
        if given.ndim == 3:
            return given.expand_as(x)
        return torch.cat([x[..., :-1, :], given[:, None].expand_as(x[..., -1:, :])], dim=-2)


@dataclass(frozen=True)
class Temperature(_OnHeads):
    """Divide hook_attn_scores by a temperature.

    Args:
        temperature: Above 1 the pattern is flatter, below sharper.
        layer: Counted from 0; every layer when not given.
        heads: Every head when empty; the others stay as they are.
    """

    temperature: float | int

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "temperature", positive("temperature", self.temperature))

    @property
    def _hook(self) -> str:
        return SCORES

    def _changed(self, x: Tensor, causal: bool) -> Tensor:
        return x / self.temperature


@dataclass(frozen=True)
class AblateHead(Intervention):
    """Replace one head's hook_z, the values that it moves, at every position.

    Args:
        head: Counted from 0.
        kind: `zero`: by 0. `mean`: by its mean over the batch of the same pass, at each position.
            `resample`: by that of another example, by a permutation without fixed points that
            depends on `seed` and the number of examples alone.
        layer: Counted from 0.
        seed: Draws the permutation.
    """

    head: int
    kind: Literal["zero", "mean", "resample"] = "zero"
    layer: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_of("kind", self.kind, KINDS)
        for name in ("head", "layer", "seed"):
            object.__setattr__(self, name, integer(name, getattr(self, name)))

    def hooks(self, model: HookedTransformer) -> list[Hook]:
        chosen_layers(model, self.layer)
        check_below("head", [self.head], model.cfg.n_heads, "heads, counted from 0")

        def ablate(z: Tensor, hook: Any) -> Tensor:
            import torch

            mask = selection(z.shape[-2], (self.head,), z.device)[:, None]
            return torch.where(mask, replacement(z, self.kind, self.seed), z)

        return [(f"blocks.{self.layer}.attn.hook_z", ablate)]

    def choice(self, model: HookedTransformer) -> Choice:
        return Choice("head", "heads", range(model.cfg.n_heads), self.layer)


def _shape(values: Any) -> list[int]:
    """The sizes of nested tuples; ValueError if rows differ."""
    if not isinstance(values, tuple):
        return []
    inner = [_shape(each) for each in values]
    if any(each != inner[0] for each in inner):
        raise ValueError(f"values must have rows of one length; got {values!r}")
    return [len(values), *(inner[0] if inner else [])]


def _check_distributions(values: Any) -> None:
    if len(_shape(values)) not in (2, 3):
        raise ValueError(f"values must be [head][key] or [head][query][key]; got {values!r}")
    for each in values:
        for row in each if each and isinstance(each[0], tuple) else (each,):
            # So written that NaN, which compares with nothing, is refused.
            if not (row and min(row) >= 0 and abs(sum(row) - 1) <= 0.01):
                raise ValueError(f"each row of values must be 0 or more and sum to 1; got {row}")
