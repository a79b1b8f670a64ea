"""A model at an epoch, with the forward passes that probes share."""

from __future__ import annotations

from functools import cached_property
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens import ActivationCache, HookedTransformer

from grokinterp.task import ModularTask


class Inputs:
    """Tokens and labels, and one forward pass over them, run when first asked for."""

    def __init__(
        self,
        model: HookedTransformer,
        tokens: Int[Tensor, "batch pos"],
        labels: Int[Tensor, " batch"],
    ) -> None:
        self._model = model
        self.tokens = tokens
        self.labels = labels

    @cached_property
    def _forward(self) -> tuple[Tensor, ActivationCache]:
        with torch.no_grad():
            logits, cache = self._model.run_with_cache(self.tokens, return_type="logits")
            return cast(Tensor, logits), cache

    @property
    def logits(self) -> Float[Tensor, "batch d_vocab"]:
        """Logits at the last position."""
        return self._forward[0][:, -1]

    @property
    def cache(self) -> ActivationCache:
        """Every activation, at every position."""
        return self._forward[1]


class Snapshot:
    """What a probe takes: a model, its task and split, and lazily its activations.

    Works on any HookedTransformer whose vocabulary is the task's, not only on our own runs.
    However many probes read a snapshot, each set of inputs goes through the model once.

    Args:
        model: The model; it is not changed.
        task: The task that it was trained on.
        seed: The seed of the split.
        epoch: The epoch of the weights, if they come from a run.
    """

    def __init__(
        self,
        model: HookedTransformer,
        task: ModularTask,
        seed: int = 0,
        epoch: int | None = None,
    ) -> None:
        if (model.cfg.d_vocab, model.cfg.d_vocab_out) != (task.d_vocab, task.d_vocab):
            raise ValueError(
                f"the model's vocabulary must be the task's {task.d_vocab} tokens ({task}); it "
                f"reads {model.cfg.d_vocab} and answers with {model.cfg.d_vocab_out}"
            )
        self.model = model
        self.task = task
        self.seed = seed
        self.epoch = epoch
        self._split = task.split(seed)

    @cached_property
    def train(self) -> Inputs:
        """The train examples."""
        return Inputs(self.model, self._split.train_tokens, self._split.train_labels)

    @cached_property
    def test(self) -> Inputs:
        """The test examples."""
        return Inputs(self.model, self._split.test_tokens, self._split.test_labels)

    @cached_property
    def grid(self) -> Inputs:
        """Every input, a outer, b inner: p² rows, or p(p - 1) for division."""
        return Inputs(self.model, *self.task.encode(self.task.pairs()))
