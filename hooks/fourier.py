"""Interventions on frequencies: of the embedding, and of any activation over the p × p grid.

A function on the residues mod p is a sum of a constant and of the frequencies k = 1 … ⌊p/2⌋,
cos(2πkx/p) and sin(2πkx/p). Chosen ones are kept or removed; the constant always stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from grokinterp.hooks.controls import Choice
from grokinterp.hooks.intervention import Hook, Intervention
from grokinterp.hooks.model_checks import check_hook

from grokinterp.checks import Indices, check_flag, check_text, indices, integer

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float
    from torch import Tensor
    from transformer_lens import HookedTransformer


ADDITIVE = ("add", "sub")
"""The operations that are waves over the residues themselves."""


class _OnFrequencies(Intervention):
    """One that keeps or removes frequencies; p is the vocabulary less its `=` if not given.

    ValueError for a model that build_model made for another operation than a + b and a - b.
    """

    # Declared as fields by each class, in an order of its own.
    frequencies: Indices
    keep: bool
    p: int | None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "frequencies", indices("frequencies", self.frequencies, 1))
        check_flag("keep", self.keep)
        if self.p is not None:
            object.__setattr__(self, "p", integer("p", self.p, 3))
            self._check(self.p)

    def choice(self, model: HookedTransformer) -> Choice | None:
        if not self.frequencies:
            return None
        return Choice("frequencies", "frequencies", range(1, self._modulus(model) // 2 + 1))

    def _modulus(self, model: HookedTransformer) -> int:
        task = getattr(model, "task", None)
        if task is not None and getattr(task, "operation", None) not in ADDITIVE:
            raise ValueError(
                f"{type(self).__name__} is about waves over the residues, by which "
                f"{' and '.join(ADDITIVE)} work, and this model's task is {task}; give it a model "
                "of one of these"
            )
        # A model of two positions reads a and b alone: it has no token =.
        equals = model.cfg.n_ctx > 2
        most = model.cfg.d_vocab - equals
        p = most if self.p is None else self.p
        if p > most:
            raise ValueError(
                f"p is {p}, and the model has {model.cfg.d_vocab} tokens"
                f"{', with the =' if equals else ''}"
            )
        self._check(p)
        return p

    def _check(self, p: int) -> None:
        if self.frequencies and self.frequencies[-1] > p // 2:
            raise ValueError(
                f"frequency {self.frequencies[-1]} is not there: "
                f"mod {p} they run from 1 to {p // 2}"
            )


@dataclass(frozen=True)
class FilterEmbedding(_OnFrequencies):
    """Keep or remove frequencies of W_E[:p] over the tokens; the row of `=` stays.

    Each row of hook_embed becomes the row of its token in the filtered W_E. A tied unembedding
    still reads W_E itself. A row that an intervention earlier in the list put there is no row of
    W_E, and stays. ValueError for a model that build_model made for another operation than a + b
    and a - b.

    Args:
        frequencies: From 1 to p // 2; the constant always stays.
        keep: Keep them alone; or remove them.
        p: The modulus; the vocabulary less its `=` when not given.
    """

    frequencies: Indices
    keep: bool = True
    p: int | None = None

    def hooks(self, model: HookedTransformer) -> list[Hook]:
        p = self._modulus(model)
        codes = _codes(model.embed.W_E)
        if len(codes.unique()) < len(codes):
            raise ValueError(
                "two tokens have one and the same row in W_E, so a hook cannot tell them apart"
            )

        def filter_rows(x: Tensor, hook: Any) -> Tensor:
            import torch

            # Read here, not before: training calls the model with the weights of each run.
            w_e = model.embed.W_E
            same = _codes(x)[..., None] == _codes(w_e)
            filtered = torch.cat([self._filter(w_e[:p]), w_e[p:]])
            token = same.long().argmax(-1)
            return torch.where(same.any(-1, keepdim=True), filtered[token], x)

        return [("hook_embed", filter_rows)]

    def _filter(self, rows: Float[Tensor, "p d_model"]) -> Float[Tensor, "p d_model"]:
        constant, chosen = _projectors(len(rows), self.frequencies, rows)
        return (constant + chosen) @ rows if self.keep else rows - chosen @ rows


@dataclass(frozen=True)
class FilterFrequencies(_OnFrequencies):
    """Keep or remove frequencies of an activation over the grid of all pairs (a, b).

    The batch must be the p² pairs in row-major order (a outer, b inner). With T the terms of the
    2-D Fourier basis whose frequency in a and whose frequency in b is each 0 or one of
    `frequencies`, without the constant: keep=True leaves the constant and T, keep=False all but T.
    So it is for analysis: no training set is the whole grid. ValueError for a model that
    build_model made for another operation than a + b and a - b.

    Args:
        hook: Where.
        frequencies: From 1 to p // 2.
        keep: Keep them alone; or remove them.
        p: The modulus; the vocabulary less its `=` when not given.
    """

    on_grid: ClassVar[bool] = True

    hook: str
    frequencies: Indices
    keep: bool = True
    p: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text("hook", self.hook)

    def hooks(self, model: HookedTransformer) -> list[Hook]:
        check_hook(model, self.hook)
        p = self._modulus(model)

        def filter_grid(x: Tensor, hook: Any) -> Tensor:
            if len(x) != p * p:
                raise ValueError(
                    f"FilterFrequencies needs all {p * p} pairs in row-major order (a outer, "
                    f"b inner); this pass has {len(x)} examples"
                )
            constant, chosen = _projectors(p, self.frequencies, x)
            grid = x.reshape(p, p, -1)
            both = constant + chosen
            kept = both @ (both @ grid.flatten(1)).reshape(grid.shape)
            mean = grid.mean((0, 1), keepdim=True)
            new = kept if self.keep else grid - (kept - mean)
            return new.reshape(x.shape)

        return [(self.hook, filter_grid)]


def _projectors(
    p: int, frequencies: tuple[int, ...], like: torch.Tensor
) -> tuple[Float[Tensor, "p p"], Float[Tensor, "p p"]]:
    """The projections of functions on the residues onto the constant and onto frequencies."""
    import torch

    # cos k x cos k y + sin k x sin k y = cos k(x − y), over a norm² of p/2, or p at k = p/2.
    residue = torch.arange(p, dtype=torch.float64)
    phase = 2 * torch.pi / p * ((residue[:, None] - residue) % p)
    chosen = torch.zeros(p, p, dtype=torch.float64)
    for k in frequencies:
        chosen += (1 if 2 * k == p else 2) / p * torch.cos(k * phase)
    constant = torch.full((p, p), 1 / p, dtype=torch.float64)
    return constant.to(like.device, like.dtype), chosen.to(like.device, like.dtype)


def _codes(rows: Tensor) -> Tensor:
    """A 64-bit hash of each row's bits: integer arithmetic, so equal rows have equal hashes."""
    import numpy as np
    import torch

    bits = {4: torch.int32, 8: torch.int64}[rows.element_size()]
    odd = np.random.default_rng(0).integers(2**62, size=rows.shape[-1]) * 2 + 1
    multipliers = torch.from_numpy(odd).to(rows.device)
    return (rows.detach().view(bits).long() * multipliers).sum(-1)
