"""What every task is: three tokens, a label for each pair, and which pairs are held out."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from operator import index
from typing import TYPE_CHECKING, NamedTuple

from grokinterp.checks import number

if TYPE_CHECKING:
    import torch
    from jaxtyping import Int

Pair = tuple[int, int]


class Split(NamedTuple):
    """Tokens `[a, b, =]` and labels of the train and test examples."""

    train_tokens: Int[torch.Tensor, "batch pos"]
    train_labels: Int[torch.Tensor, " batch"]
    test_tokens: Int[torch.Tensor, "batch pos"]
    test_labels: Int[torch.Tensor, " batch"]


class Task(ABC):
    """A binary operation: predict its answer to (a, b) at the last position of `[a, b, =]`.

    Frozen data: `ModularTask` (arithmetic mod p), `GroupTask` (a permutation or dihedral group) and
    `TableTask` (anything that a table of answers says). `str(task)` is its name.
    """

    test_fraction: float
    """Share of the pairs held out for test (rounded down)."""
    train_pairs: tuple[Pair, ...] | None
    """An explicit split, which no seed changes."""
    label_noise: float
    """Share of the train pairs that train on a wrong answer."""

    @property
    @abstractmethod
    def n_elements(self) -> int:
        """How many tokens a and b may be: they run from 0 to n_elements - 1."""

    @abstractmethod
    def label(self, a: int, b: int) -> int:
        """The answer to one pair."""

    def pairs(self) -> list[Pair]:
        """Every input (a, b), a outer, b inner."""
        return [(a, b) for a in range(self.n_elements) for b in range(self.n_elements)]

    @property
    def n_pairs(self) -> int:
        """Number of inputs."""
        return self.n_elements**2

    @property
    def n_test(self) -> int:
        """Number of test examples."""
        if self.train_pairs is not None:
            return self.n_pairs - len(self.train_pairs)
        return int(self.test_fraction * self.n_pairs)

    @property
    def n_train(self) -> int:
        """Number of train examples."""
        return self.n_pairs - self.n_test

    @property
    def equals_token(self) -> int:
        """The `=` token: the first number that is neither an operand nor a label."""
        return self.n_elements

    @property
    def d_vocab(self) -> int:
        """Size of the vocabulary, and of the softmax: every operand and label, and `=`."""
        return self.equals_token + 1

    def split_pairs(self, seed: int) -> tuple[list[Pair], list[Pair]]:
        """The train pairs and the test pairs of a seed, in the paper's own order.

        Args:
            seed: Shuffles the pairs; an explicit split is the same under every seed.
        """
        pairs = self.pairs()
        if self.train_pairs is not None:
            chosen = set(self.train_pairs)
            return list(self.train_pairs), [pair for pair in pairs if pair not in chosen]
        random.Random(seed).shuffle(pairs)
        return pairs[: self.n_train], pairs[self.n_train :]

    def encode(
        self, pairs: list[Pair]
    ) -> tuple[Int[torch.Tensor, "batch pos"], Int[torch.Tensor, " batch"]]:
        """Tokens `[a, b, =]` and labels of pairs.

        Args:
            pairs: Inputs (a, b).

        Returns:
            tokens ([pair, 3]): Integers.
            labels ([pair]): Integers.
        """
        import torch

        tokens = torch.tensor([(a, b, self.equals_token) for a, b in pairs], dtype=torch.long)
        labels = torch.tensor([self.label(a, b) for a, b in pairs], dtype=torch.long)
        return tokens, labels

    def split(self, seed: int) -> Split:
        """Train and test examples of a seed.

        Args:
            seed: Shuffles the pairs; an explicit split is the same under every seed.

        Returns:
            train_tokens ([batch, 3]): And `test_tokens`; integers.
            train_labels ([batch]): And `test_labels`; integers.
        """
        train_pairs, test_pairs = self.split_pairs(seed)
        tokens, labels = self.encode(train_pairs)
        for row, wrong in self.wrong_labels(seed).items():
            labels[row] = wrong
        return Split(tokens, labels, *self.encode(test_pairs))

    def wrong_labels(self, seed: int) -> dict[int, int]:
        """The train examples with `label_noise`, by their row, and the wrong answer of each.

        Args:
            seed: Draws them, as it shuffles the pairs.
        """
        if not self.label_noise:
            return {}
        train_pairs, _ = self.split_pairs(seed)
        draw = random.Random(f"label noise {seed}")
        answers = sorted({self.label(a, b) for a, b in self.pairs()})
        rows = draw.sample(range(self.n_train), round(self.label_noise * self.n_train))
        return {
            row: draw.choice([one for one in answers if one != self.label(*train_pairs[row])])
            for row in sorted(rows)
        }

    def _check_split(self) -> None:
        """ValueError says what is wrong with the split; an explicit one is brought to one form."""
        noise = number("label_noise", self.label_noise)
        if not 0 <= noise < 1:
            raise ValueError(f"label_noise must lie in [0, 1); got {self.label_noise!r}")
        object.__setattr__(self, "label_noise", noise)
        if noise:
            first, *others = (self.label(a, b) for a, b in self.pairs())
            if all(one == first for one in others):
                raise ValueError(
                    f"label_noise needs a task of two answers or more; {self} has one, so that no "
                    "answer is wrong"
                )
        if self.train_pairs is not None:
            self._check_train_pairs()
            return
        if not (isinstance(self.test_fraction, float) and 0.0 < self.test_fraction < 1.0):
            raise ValueError(
                f"test_fraction must lie between 0 and 1, exclusive; got {self.test_fraction!r}"
            )
        if self.n_train == 0 or self.n_test == 0:
            raise ValueError(
                f"test_fraction={self.test_fraction!r} leaves {self.n_train} train and "
                f"{self.n_test} test pairs of {self.n_pairs}; both sides need at least one"
            )

    def _check_train_pairs(self) -> None:
        every = set(self.pairs())
        chosen: dict[Pair, None] = {}
        for pair in self.train_pairs or ():
            try:
                a, b = map(index, pair)
            except (TypeError, ValueError):
                a, b = -1, -1
            if (a, b) not in every:
                raise ValueError(f"train_pairs must hold inputs (a, b) of {self}; got {pair!r}")
            if (a, b) in chosen:
                raise ValueError(f"train_pairs must hold each pair once; got {pair!r} twice")
            chosen[a, b] = None
        pairs = tuple(chosen)
        if not 0 < len(pairs) < len(every):
            raise ValueError(
                f"train_pairs must leave both sides non-empty; got {len(pairs)} of {len(every)}"
            )
        object.__setattr__(self, "train_pairs", pairs)
        # The split is spelled out, so the fraction must not tell two equal tasks apart.
        object.__setattr__(self, "test_fraction", 1 - len(pairs) / len(every))
