"""The algorithmic tasks: what the tokens are, what the label is, and which pairs are held out."""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import isqrt
from operator import index
from typing import TYPE_CHECKING, NamedTuple

from grokinterp.checks import check_one_of, integer

if TYPE_CHECKING:
    import torch
    from jaxtyping import Int

OPERATIONS = {
    "add": lambda a, b, p, s: (a + b) % p,
    "sub": lambda a, b, p, s: (a - b) % p,
    "mul": lambda a, b, p, s: (a * b) % p,
    "div": lambda a, b, p, s: (a * pow(b, -1, p)) % p,
    "a2+b2": lambda a, b, p, s: (a * a + b * b) % p,
    "a2+ab+b2": lambda a, b, p, s: (a * a + a * b + b * b) % p,
    "a3+ab": lambda a, b, p, s: (a * a * a + a * b) % p,
    "shift": lambda a, b, p, s: (a + b) >> s,
    "xor": lambda a, b, p, s: (a + b) ^ s,
    "and": lambda a, b, p, s: (a + b) & s,
}
"""Label of (a, b): modular arithmetic, and the bit games `(a+b) >> s`, `(a+b) ^ s`, `(a+b) & s`."""

BIT_GAMES = ("shift", "xor", "and")


class Split(NamedTuple):
    """Tokens `[a, b, =]` and labels of the train and test examples."""

    train_tokens: Int[torch.Tensor, "batch pos"]
    train_labels: Int[torch.Tensor, " batch"]
    test_tokens: Int[torch.Tensor, "batch pos"]
    test_labels: Int[torch.Tensor, " batch"]


@dataclass(frozen=True)
class ModularTask:
    """Predict `operation(a, b)` at the last position of `[a, b, =]`.

    Args:
        p: The modulus; a and b run from 0 to p - 1.
        operation: add, sub, mul, div, a2+b2, a2+ab+b2, a3+ab (mod p), or a bit game: shift, xor,
            and.
        test_fraction: Share of the pairs held out for test (rounded down).
        operand: The operand s of the bit games `(a+b) >> s`, `(a+b) ^ s`, `(a+b) & s`; unused
            elsewhere.
        train_pairs: An explicit split: these pairs train, in this order; the rest test, in
            row-major order.

    Examples:
        >>> task = ModularTask(p=113)
        >>> task.d_vocab, task.equals_token, task.n_train, task.n_test
        (114, 113, 3831, 8938)
        >>> ModularTask(p=113, operation="xor", operand=128).d_vocab  # labels reach 255
        257
    """

    p: int = 113
    operation: str = "add"
    test_fraction: float = 0.7
    operand: int = 1
    train_pairs: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", integer("p", self.p, 3))
        check_one_of("operation", self.operation, [*OPERATIONS])
        if self.operation == "div" and not _is_prime(self.p):
            raise ValueError(f"div needs a prime p, or b has no inverse; got p={self.p}")
        object.__setattr__(self, "operand", integer("operand", self.operand))
        if self.operation not in BIT_GAMES:
            object.__setattr__(self, "operand", 1)
        if self.train_pairs is None:
            if not (isinstance(self.test_fraction, float) and 0.0 < self.test_fraction < 1.0):
                raise ValueError(
                    f"test_fraction must lie between 0 and 1, exclusive; got {self.test_fraction!r}"
                )
            if self.n_train == 0 or self.n_test == 0:
                raise ValueError(
                    f"test_fraction={self.test_fraction!r} leaves {self.n_train} train and "
                    f"{self.n_test} test pairs of {self.n_pairs}; both sides need at least one"
                )
        else:
            self._check_train_pairs()

    def _check_train_pairs(self) -> None:
        every = set(self.pairs())
        chosen: dict[tuple[int, int], None] = {}
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

    def __str__(self) -> str:
        operation = (
            f"{self.operation} {self.operand}" if self.operation in BIT_GAMES else self.operation
        )
        return f"{operation} (p = {self.p})"

    @property
    def n_pairs(self) -> int:
        """Number of inputs: p², or p(p - 1) for division."""
        return self.p * (self.p - 1 if self.operation == "div" else self.p)

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
        if self.operation not in BIT_GAMES:
            return self.p
        return max(self.p, 1 + max(self.label(a, b) for a, b in self.pairs()))

    @property
    def d_vocab(self) -> int:
        """Size of the vocabulary, and of the softmax: every operand and label, and `=`."""
        return self.equals_token + 1

    def label(self, a: int, b: int) -> int:
        """The answer to one pair."""
        return OPERATIONS[self.operation](a, b, self.p, self.operand)

    def pairs(self) -> list[tuple[int, int]]:
        """Every input (a, b), a outer, b inner."""
        first_b = 1 if self.operation == "div" else 0
        return [(a, b) for a in range(self.p) for b in range(first_b, self.p)]

    def split_pairs(self, seed: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
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
        self, pairs: list[tuple[int, int]]
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
        return Split(*self.encode(train_pairs), *self.encode(test_pairs))


def _is_prime(n: int) -> bool:
    return n >= 2 and all(n % divisor for divisor in range(2, isqrt(n) + 1))
