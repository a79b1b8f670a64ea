"""Arithmetic mod p, and the bit games."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from grokinterp.checks import check_one_of, integer
from grokinterp.task.task import Pair, Task

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


@dataclass(frozen=True)
class ModularTask(Task):
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
        label_noise: Share of the train pairs (rounded) that train on a wrong answer, drawn by
            the seed from all others. The split and every other label stay as they are.

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
    train_pairs: tuple[Pair, ...] | None = None
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", integer("p", self.p, 3))
        check_one_of("operation", self.operation, [*OPERATIONS])
        if self.operation == "div" and not _is_prime(self.p):
            raise ValueError(f"div needs a prime p, or b has no inverse; got p={self.p}")
        object.__setattr__(self, "operand", integer("operand", self.operand))
        if self.operation not in BIT_GAMES:
            object.__setattr__(self, "operand", 1)
        self._check_split()

    def __str__(self) -> str:
        operation = (
            f"{self.operation} {self.operand}" if self.operation in BIT_GAMES else self.operation
        )
        return f"{operation} (p = {self.p})"

    @property
    def n_elements(self) -> int:
        """The modulus p."""
        return self.p

    @property
    def n_pairs(self) -> int:
        """Number of inputs: p², or p(p - 1) for division."""
        return self.p * (self.p - 1 if self.operation == "div" else self.p)

    @property
    def equals_token(self) -> int:
        """The `=` token: the first number that is neither an operand nor a label."""
        if self.operation not in BIT_GAMES:
            return self.p
        return max(self.p, 1 + max(self.label(a, b) for a, b in self.pairs()))

    def label(self, a: int, b: int) -> int:
        """The answer to one pair."""
        return OPERATIONS[self.operation](a, b, self.p, self.operand)

    def pairs(self) -> list[Pair]:
        """Every input (a, b), a outer, b inner."""
        first_b = 1 if self.operation == "div" else 0
        return [(a, b) for a in range(self.p) for b in range(first_b, self.p)]


def _is_prime(n: int) -> bool:
    return n >= 2 and all(n % divisor for divisor in range(2, isqrt(n) + 1))
