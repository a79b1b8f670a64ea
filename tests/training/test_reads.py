"""Sums of what the heads read, and their gradients, beside dense products in float64."""

from __future__ import annotations

import pytest
import torch

from grokinterp.training.reads import Reads

HEADS, D_HEAD, EXAMPLES, SIZE = 3, 5, 7, 11


def dense(rows: torch.Tensor, weights: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Σ over positions and rows of weight · [the position reads the row] · row, head by head."""
    read = torch.nn.functional.one_hot(rows, SIZE).to(table.dtype)
    by_head = table.unflatten(-1, (HEADS, D_HEAD))
    return torch.einsum("rbhp,rbpt,rthd->rbhd", weights, read, by_head).flatten(2)


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize("repeated", [False, True])
def test_equals_a_dense_product_and_its_gradients(runs, repeated):
    """Rows that many examples read, and a row that none reads, whose gradient is 0."""
    generator = torch.Generator().manual_seed(runs)
    # The last row is never read; where rows repeat, an example reads one of them twice.
    rows = torch.randint(SIZE - 1, (runs, EXAMPLES, 3), generator=generator)
    if repeated:
        rows[:, :, 2] = rows[:, :, 0]
    table = torch.randn(runs, SIZE, HEADS * D_HEAD, dtype=torch.float64, generator=generator)
    weights = torch.rand(runs, EXAMPLES, HEADS, 3, dtype=torch.float64, generator=generator)
    pull = torch.randn(runs, EXAMPLES, HEADS * D_HEAD, dtype=torch.float64, generator=generator)
    table.requires_grad_()
    weights.requires_grad_()
    expected = dense(rows, weights, table)
    by_table, by_weights = torch.autograd.grad(expected, [table, weights], pull)

    reads = Reads(rows, SIZE, HEADS)
    with torch.no_grad():
        torch.testing.assert_close(reads.weighted_sums(table, weights), expected)
        torch.testing.assert_close(reads.gradient_by_weights(table, pull), by_weights)
        torch.testing.assert_close(reads.gradient_by_rows(weights, pull), by_table)
    assert not by_table[:, -1].any()


def test_float32_agrees_with_float64():
    """There PyTorch takes another kernel on a CPU."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(SIZE, (1, EXAMPLES, 3), generator=generator)
    table = torch.randn(1, SIZE, HEADS * D_HEAD, dtype=torch.float64, generator=generator)
    weights = torch.rand(1, EXAMPLES, HEADS, 3, dtype=torch.float64, generator=generator)
    reads = Reads(rows, SIZE, HEADS)
    pull = reads.weighted_sums(table, weights)
    for function, arguments in (
        (reads.weighted_sums, (table, weights)),
        (reads.gradient_by_weights, (table, pull)),
        (reads.gradient_by_rows, (weights, pull)),
    ):
        single = function(*(one.float() for one in arguments))
        torch.testing.assert_close(single.double(), function(*arguments), rtol=1e-5, atol=1e-5)
