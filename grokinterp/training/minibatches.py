"""The train examples of an epoch, a batch at a time, in an order that its run and epoch decide."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from grokinterp.training.row_blocks import Batch


def minibatches(whole: Batch, size: int, seeds: Sequence[int], epoch: int) -> Iterator[Batch]:
    """Each example once, `size` at a time; the last batch has what is left.

    Args:
        whole: The train examples of each run.
        size: Of a batch.
        seeds: Of each run, which shuffle its examples, in each epoch anew.
        epoch: Which one.
    """
    order = torch.stack([shuffled(whole.labels.shape[1], seed, epoch) for seed in seeds])
    for rows in order.to(whole.labels.device).split(size, dim=1):
        tokens, labels, before = whole
        before = None if before is None else _rows(before, rows)
        yield Batch(_rows(tokens, rows), _rows(labels, rows), before)


def shuffled(size: int, seed: int, epoch: int) -> Int[Tensor, " batch"]:
    """The numbers below `size` in the order of a seed and an epoch.

    From nothing else, so that a run that goes on needs no generator's state.
    """
    digest = hashlib.sha256(f"{seed} {epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))
    return torch.randperm(size, generator=generator)


def _rows(part: Tensor, rows: Int[Tensor, "run row"]) -> Tensor:
    index = rows.view(*rows.shape, *[1] * (part.ndim - 2)).expand(-1, -1, *part.shape[2:])
    return part.gather(1, index)
