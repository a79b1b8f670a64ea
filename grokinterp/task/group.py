"""Composition in a finite group: permutations of a few things, or symmetries of a polygon."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import permutations

from grokinterp.task.table import Table
from grokinterp.task.task import Pair, Task


@dataclass(frozen=True)
class GroupTask(Task):
    """Predict the product of a and b in a finite group.

    S3, S4, S5: the permutations of 3, 4 or 5 things, in lexicographic order of their one-line form
    (token 0 is the identity). The product of a and b does b first: (a ∘ b)(i) = a(b(i)).

    Dn: the 2n symmetries of a regular polygon with n sides. Token i < n is the rotation rⁱ by i
    steps, and token n + i is rⁱs, with s a reflection: s first, then rⁱ, and s r = r⁻¹ s.

    The same products given as a `TableTask` are another run.

    Args:
        group: S3, S4, S5, or Dn for n of 3 or more, such as D12.
        test_fraction: Share of the pairs held out for test (rounded down).
        train_pairs: An explicit split: these pairs train, in this order; the rest test, in
            row-major order.
        label_noise: Share of the train pairs (rounded) that train on a wrong answer, drawn by
            the seed from all others. The split and every other label stay as they are.

    Examples:
        >>> task = GroupTask("S5")
        >>> str(task), task.n_elements, task.d_vocab, task.n_train
        ('S5', 120, 121, 4320)
        >>> elements("S3")
        ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
        >>> GroupTask("S3").label(1, 2)  # swap the first two, then the last two: 0 → 2 → 1 → 0
        4
    """

    group: str = "S5"
    test_fraction: float = 0.7
    train_pairs: tuple[Pair, ...] | None = None
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        _, points = family(self.group)
        object.__setattr__(self, "group", f"{self.group[0]}{points}")
        self._check_split()

    def __str__(self) -> str:
        return self.group

    @property
    def n_elements(self) -> int:
        """The order of the group."""
        return len(products(self.group))

    def label(self, a: int, b: int) -> int:
        """The product of two elements."""
        return products(self.group)[a][b]


def family(group: str) -> tuple[str, int]:
    """`symmetric` or `dihedral`, and of how many points; ValueError if there is no such group.

    >>> family("D12")
    ('dihedral', 12)
    """
    found = re.fullmatch(r"([SD])0*([1-9][0-9]*)", group) if isinstance(group, str) else None
    kind, points = (found[1], int(found[2])) if found else ("", 0)
    if not (points in (3, 4, 5) if kind == "S" else points >= 3):
        raise ValueError(
            "group must be S3, S4 or S5 (permutations), or Dn with n of 3 or more, as D12 (the "
            f"symmetries of a polygon); got {group!r}. Another group is a TableTask of its products"
        )
    return {"S": "symmetric", "D": "dihedral"}[kind], points


@cache
def elements(group: str) -> tuple[tuple[int, ...], ...]:
    """Each element as the permutation that it is: the place to which each point goes.

    A rotation rⁱ takes the corner x of a polygon to x + i, and rⁱs takes it to i - x (mod n).
    """
    kind, n = family(group)
    if kind == "symmetric":
        return tuple(permutations(range(n)))
    turned = (tuple((x + i) % n for x in range(n)) for i in range(n))
    reflected = (tuple((i - x) % n for x in range(n)) for i in range(n))
    return (*turned, *reflected)


@cache
def products(group: str) -> Table:
    """The element a ∘ b at [a][b]."""
    every = elements(group)
    place = {element: token for token, element in enumerate(every)}
    return Table(tuple(place[tuple(a[x] for x in b)] for b in every) for a in every)
