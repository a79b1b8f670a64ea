"""Which rows of a table each head of each example reads, and the weighted sums of what it reads.

A sparse product and its two transposes. As bags of an embedding they are one pass each: nothing is
gathered, multiplied and added up in memory of its own.
"""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

POSITIONS = 3
_SUM = 0
"""The mode of an embedding's bags, as PyTorch numbers them."""


class Reads:
    """Of every example the row at each position, of which a head reads its part.

    What is asked for more than once is found once.

    Args:
        rows: Of each run, in its own table.
        size: How many rows a run's table has.
        heads: That share a row.
    """

    def __init__(self, rows: Int[Tensor, "run batch 3"], size: int, heads: int) -> None:
        self.index = flat(rows, size)
        """Each position's row, among those of all runs in turn."""
        parts = self.index[:, :, None] * heads + torch.arange(heads, device=rows.device)[:, None]
        self.shape = parts.shape
        self._parts = parts.flatten()
        self._all_parts = len(rows) * size * heads

    def weighted_sums(
        self,
        rows: Float[Tensor, "run row d_model"],
        weights: Float[Tensor, "run batch head 3"],
    ) -> Float[Tensor, "run batch d_model"]:
        """Of each example, with each head's part of the rows times its weights."""
        sums = _bags(self._by_head(rows), self._parts, self._starts, weights)
        return sums.view(*self.shape[:2], rows.shape[-1])

    def gradient_by_weights(
        self, rows: Float[Tensor, "run row d_model"], d_sums: Float[Tensor, "run batch d_model"]
    ) -> Float[Tensor, "run batch head 3"]:
        """Of `weighted_sums`."""
        return torch.ops.aten._embedding_bag_per_sample_weights_backward(  # type: ignore[no-any-return]
            self._by_head(d_sums), self._by_head(rows), self._parts, self._starts, self._bag, _SUM
        ).view(self.shape)

    def gradient_by_rows(
        self,
        weights: Float[Tensor, "run batch head 3"],
        d_sums: Float[Tensor, "run batch d_model"],
    ) -> Float[Tensor, "run row d_model"]:
        """Of `weighted_sums`: of each row the sum over its readers."""
        order, readers, starts = self._readers
        sums = _bags(
            self._by_head(d_sums), readers, starts, weights.flatten().index_select(0, order)
        )
        return sums.view(len(d_sums), -1, d_sums.shape[-1])

    @cached_property
    def _starts(self) -> Tensor:
        """Where the reads of each head of an example begin."""
        return torch.arange(0, len(self._parts), POSITIONS, device=self._parts.device)

    @cached_property
    def _bag(self) -> Tensor:
        """Which of these each read belongs to."""
        return torch.arange(len(self._parts), device=self._parts.device) // POSITIONS

    @cached_property
    def _readers(self) -> tuple[Tensor, Tensor, Tensor]:
        """The reads sorted by what is read, who reads there, and where each part's begin."""
        parts, order = self._parts.sort(stable=True)
        every = torch.arange(self._all_parts, device=parts.device)
        return order, order // POSITIONS, torch.searchsorted(parts, every)

    def _by_head(self, x: Float[Tensor, "run row d_model"]) -> Float[Tensor, "part d_head"]:
        return x.reshape(-1, x.shape[-1] // self.shape[2])


def gather(
    rows: Float[Tensor, "run row d"], index: Int[Tensor, "run batch pos"]
) -> Float[Tensor, "run batch pos d"]:
    """Each run's rows, by an index into those of all runs."""
    return F.embedding(index, rows.flatten(0, 1))


def flat(index: Int[Tensor, "run batch pos"], rows: int) -> Int[Tensor, "run batch pos"]:
    """From each run's index into its own rows to one into those of all runs in turn."""
    if len(index) == 1:
        return index
    return index + torch.arange(len(index), device=index.device)[:, None, None] * rows


def _bags(table: Tensor, index: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """Sums of weighted rows, each bag from its start to the next."""
    return torch.embedding_bag(table, index, starts, False, _SUM, False, weights.flatten())[0]
