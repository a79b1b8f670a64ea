"""Losses and gradients of a batch, a block of rows at a time, blocks side by side on the cores.

A block's activations fit a core's cache, and a core works on a block alone: no operation waits for
another core, and what comes out does not depend on how many cores there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import ceil
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from grokinterp.config import ModelConfig, TrainConfig
from grokinterp.loss import correct, effective_rank, losses_and_gradient, losses_of_examples
from grokinterp.training.forward import attend, last_position
from grokinterp.training.last_block import Attended, Gradients, Parameters, last_block
from grokinterp.training.reads import Reads

# On a CPU a block's activations stay near a core: those of the MLP are two megabytes in float32.
# An accelerator wants more rows at once, and memory bounds them.
ROWS_ON_CPU, ROWS_ELSEWHERE = 1024, 4096

Item = TypeVar("Item")
Result = TypeVar("Result")

KeptReads = dict[int, Reads]
"""What the examples of each block of a batch read, by the block's first row."""


class Batch(NamedTuple):
    """Examples of each run, with the logits that the loss subtracts where it does."""

    tokens: Int[Tensor, "run batch 3"]
    labels: Int[Tensor, "run batch"]
    initial_logits: Float[Tensor, "run batch d_vocab"] | None = None

    def part(self, rows: slice) -> Batch:
        initial = None if self.initial_logits is None else self.initial_logits[:, rows]
        return Batch(self.tokens[:, rows], self.labels[:, rows], initial)


class Scored(NamedTuple):
    """What the examples of a batch come to, one by one."""

    losses: Float[Tensor, "run batch"]
    correct: Bool[Tensor, "run batch"]


class Workers:
    """Threads that each compute on one core. The caller computes where there is but one.

    Args:
        threads: How many.
        flush: Take denormal numbers for 0; see `on_one_core`.
    """

    def __init__(self, threads: int = 1, flush: bool = False) -> None:
        self.threads = threads
        self._pool = None
        if threads > 1:
            self._pool = ThreadPoolExecutor(threads, initializer=begin_thread, initargs=(flush,))

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """The function of each item, in order."""
        mapped = map if self._pool is None else self._pool.map
        return list(mapped(function, items))

    def close(self) -> None:
        """End its threads, once they are done with what they have."""
        if self._pool is not None:
            self._pool.shutdown()


def begin_thread(flush: bool = False) -> None:
    """Let a thread of ours compute on its core alone."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(flush)


@contextmanager
def on_one_core(flush: bool = False) -> Iterator[int]:
    """Inside, PyTorch computes on the calling thread alone; gives how many threads it had.

    So sums have one order, and a process that is forked meanwhile does not wait for threads that it
    has not.

    With `flush` denormal numbers (in float32 those below 1.2e-38) count as 0. A processor is slow
    with them, and a model that has grokked without LN makes many, the probabilities of its wrong
    answers: an epoch of one took 385 ms with them, and 90 ms without.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    if flush:
        torch.set_flush_denormal(True)
    try:
        yield before
    finally:
        if flush:
            torch.set_flush_denormal(False)
        # Of this thread, and of those that are started later.
        torch.set_num_threads(before)


class Runs(NamedTuple):
    """Runs of one architecture and recipe, as they stand."""

    model: ModelConfig
    train: TrainConfig
    parameters: Parameters
    readout_scale: Float[Tensor, " run"]
    uniform_attention: bool = False


def blocks_of(labels: Int[Tensor, "run batch"]) -> list[slice]:
    """Nearly equal blocks of a batch."""
    batch = labels.shape[1]
    most = ROWS_ON_CPU if labels.device.type == "cpu" else ROWS_ELSEWHERE
    rows = ceil(batch / ceil(batch / most))
    return [slice(start, min(start + rows, batch)) for start in range(0, batch, rows)]


def train_blocks(train: TrainConfig, labels: Int[Tensor, "run batch"]) -> list[slice]:
    """The blocks that `backpropagate` takes: one, where the objective mixes examples."""
    return [slice(0, labels.shape[1])] if train.effective_rank_penalty else blocks_of(labels)


@torch.no_grad()
def evaluate(
    runs: Runs,
    batch: Batch,
    workers: Workers,
    initial: Parameters | None = None,
    reads: KeptReads | None = None,
) -> Scored:
    """Score each example, a block at a time: never with all logits at once.

    Args:
        runs: As they stand.
        batch: The examples.
        workers: Who computes the blocks.
        initial: The weights whose logits the loss subtracts, computed here, a block at a time.
        reads: See `backpropagate`.
    """
    kept = {} if reads is None else reads

    def attended_by(tokens: Int[Tensor, "run batch 3"]) -> Attended:
        return attend(runs.model, runs.parameters, tokens, runs.uniform_attention)[0]

    # What examples share is computed once; what each has of its own, a block at a time.
    shared = attended_by(batch.tokens) if runs.model.n_layers == 1 else None

    def of_block(rows: slice) -> Scored:
        tokens, labels, before = batch.part(rows)
        part = attended_by(tokens) if shared is None else _part(shared, rows)
        of_rows = _kept(kept, rows, part)
        logits, *_ = last_block(runs.model, runs.parameters, part, runs.readout_scale, of_rows)
        if initial is not None:
            before, _ = last_position(runs.model, initial, tokens, runs.readout_scale)
        losses = losses_of_examples(runs.train, logits, labels, before)
        return Scored(losses, correct(logits, labels))

    return _joined(workers.map(of_block, blocks_of(batch.labels)))


def backpropagate(
    runs: Runs,
    batch: Batch,
    places: Sequence[Gradients],
    workers: Workers,
    with_answers: bool = True,
    reads: KeptReads | None = None,
) -> tuple[Scored, Parameters]:
    """Score each example and differentiate the objective, the sum of each run's mean loss.

    Args:
        runs: As they stand. Of several layers, the parameters that are trained require gradients.
        places: Where each block writes the gradients of the last block's parameters, which are to
            be summed; as many as there are blocks.
        workers: Who computes the blocks.
        with_answers: Find out which are correct, too; otherwise none is said to be.
        reads: Of each block: used where they are there, and put there where not, for the next
            time that the same batch comes.

    Returns:
        The scores, and the gradients of the parameters before the last block's pattern, which are
        to be added to those.
    """
    with torch.enable_grad():
        attended, pull_attended = attend(
            runs.model, runs.parameters, batch.tokens, runs.uniform_attention
        )
    size = batch.labels.shape[1]
    kept = {} if reads is None else reads

    @torch.no_grad()
    def of_block(item: tuple[slice, Gradients]) -> tuple[Scored, Attended]:
        rows, place = item
        _, labels, before = batch.part(rows)
        part = _part(attended, rows)
        logits, residual, pullback = last_block(
            runs.model, runs.parameters, part, runs.readout_scale, _kept(kept, rows, part)
        )
        losses, d_logits = losses_and_gradient(runs.train, logits, labels, before, 1 / size)
        d_residual = rank_gradient(runs.train, residual)
        right = (
            correct(logits, labels) if with_answers else torch.zeros_like(labels, dtype=torch.bool)
        )
        return Scored(losses, right), pullback(d_logits, d_residual, place)

    blocks = train_blocks(runs.train, batch.labels)
    found = workers.map(of_block, zip(blocks, places, strict=True))
    scored = _joined([scored for scored, _ in found])
    return scored, pull_attended(_whole(attended, [gradient for _, gradient in found]))


def rank_gradient(
    train: TrainConfig, residual: Float[Tensor, "run batch d_model"]
) -> Float[Tensor, "run batch d_model"] | None:
    """Of the penalty on the effective rank, by the residual; None where there is no penalty."""
    if not train.effective_rank_penalty:
        return None
    with torch.enable_grad():
        leaf = residual.detach().requires_grad_()
        penalty = train.effective_rank_penalty * effective_rank(leaf).sum()
        return torch.autograd.grad(penalty, leaf)[0]


def _kept(kept: KeptReads, rows: slice, part: Attended) -> Reads:
    if rows.start not in kept:
        kept[rows.start] = part.reads()
    return kept[rows.start]


def _part(attended: Attended, rows: slice) -> Attended:
    scores, values, index, residual = attended
    residual = residual if residual.shape[1] == 1 else residual[:, rows]
    if index is not None:
        return Attended(scores, values, index[:, rows], residual)
    of_positions = slice(3 * rows.start, 3 * rows.stop)
    return Attended(scores[:, of_positions], values[:, of_positions], None, residual)


def _whole(attended: Attended, of_blocks: Sequence[Attended]) -> Attended:
    """From the gradients of each block's part of `attended` to that of all of it."""

    def whole(name: str) -> Tensor:
        parts = [getattr(part, name) for part in of_blocks]
        return torch.cat(parts, dim=1) if attended.rows is None else torch.stack(parts).sum(0)

    return attended._replace(**{name: whole(name) for name in ("scores", "values", "residual")})


def _joined(parts: Sequence[Scored]) -> Scored:
    losses, right = zip(*parts, strict=True)
    return Scored(torch.cat(losses, dim=1), torch.cat(right, dim=1))
