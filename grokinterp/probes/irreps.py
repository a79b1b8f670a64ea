"""The irreducible representations of a task's group, over the real numbers.

Of a permutation group by Young's orthogonal form, named by partitions: (5) is trivial, and
(1,1,1,1,1) the sign. Of a dihedral group by Mulliken's symbols: A1 is trivial, A2 tells rotations
from reflections, B1 and B2, which even n has, also odd from even steps, and Ek turns the plane k
times as fast. Of Z_p by the frequency: 0 is trivial.

Source: B. Sagan, The Symmetric Group, 2nd edition; J.-P. Serre, Linear Representations of Finite
Groups.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from grokinterp.snapshot import NotApplicable, Snapshot
from grokinterp.task import GroupTask, ModularTask, Task
from grokinterp.task.group import elements, family

Matrices = Float[np.ndarray, "n d d"]


def group_of(task: Task) -> str | None:
    """The name of the group whose law the task is, over all its tokens; None if it is none.

    >>> group_of(GroupTask("S4")), group_of(ModularTask(7)), group_of(ModularTask(7, "mul"))
    ('S4', 'Z7', None)
    """
    if isinstance(task, GroupTask):
        return task.group
    adds = isinstance(task, ModularTask) and task.operation == "add"
    return f"Z{task.n_elements}" if adds else None


def require_group(snapshot: Snapshot, probe: str) -> str:
    """The same; NotApplicable, naming the probe, if there is none."""
    group = group_of(snapshot.task)
    if group is None:
        raise NotApplicable(
            f"{probe} is in the irreducible representations of a finite group, and "
            f"{snapshot.task} is not composition in a group that it knows; give it a model "
            "trained on a GroupTask, or on add"
        )
    return group


@cache
def irreps(group: str) -> dict[str, Matrices]:
    """Each irreducible representation by name: an orthogonal matrix of each element, in its order.

    ρ(ab) = ρ(a)ρ(b). The trivial one is first. That of a frequency of Z_p is irreducible over the
    real numbers alone: over the complex ones it is two.

    >>> {name: matrices.shape[-1] for name, matrices in irreps("S4").items()}
    {'(4)': 1, '(3,1)': 3, '(2,2)': 2, '(2,1,1)': 3, '(1,1,1,1)': 1}
    >>> {name: matrices.shape[-1] for name, matrices in irreps("D5").items()}
    {'A1': 1, 'A2': 1, 'E1': 2, 'E2': 2}
    """
    if group.startswith("Z"):
        return _cyclic(int(group[1:]))
    kind, points = family(group)
    return _dihedral(points) if kind == "dihedral" else _symmetric(group, points)


def character(matrices: Matrices) -> Float[np.ndarray, " n"]:
    """The trace of each element's matrix."""
    return np.trace(matrices, axis1=1, axis2=2)


def _cyclic(p: int) -> dict[str, Matrices]:
    step = np.arange(p)
    waves = {str(k): _rotations(k, p) for k in range(1, (p + 1) // 2)}
    alternating = {} if p % 2 else {str(p // 2): _column((-1.0) ** step)}
    return {"0": _column(np.ones(p)), **waves, **alternating}


def _dihedral(n: int) -> dict[str, Matrices]:
    step, one = np.tile(np.arange(n), 2), np.ones(2 * n)
    reflects = np.repeat([1.0, -1.0], n)
    single = {"A1": one, "A2": reflects}
    if n % 2 == 0:
        single |= {"B1": (-1.0) ** step, "B2": (-1.0) ** step * reflects}
    planes = {}
    for k in range(1, (n + 1) // 2):
        turned = _rotations(k, n)
        planes[f"E{k}"] = np.concatenate([turned, turned * np.array([1.0, -1.0])])
    return {name: _column(values) for name, values in single.items()} | planes


def _symmetric(group: str, n: int) -> dict[str, Matrices]:
    return {
        f"({','.join(map(str, partition))})": _of_permutations(group, young_orthogonal(partition))
        for partition in _partitions(n, n)
    }


def young_orthogonal(partition: tuple[int, ...]) -> Float[np.ndarray, "swap d d"]:
    """The matrices of the swaps of k and k + 1, in the basis of standard tableaux.

    With r the content (column less row) of k + 1 less that of k in a tableau, the swap keeps 1/r of
    it, and puts √(1 - 1/r²) on the tableau in which the two have changed places.

    >>> young_orthogonal((2, 1)).round(3).tolist()  # of 3 things: two reflections of a triangle
    [[[1.0, 0.0], [0.0, -1.0]], [[-0.5, 0.866], [0.866, 0.5]]]
    """
    tableaux = _standard_tableaux(partition)
    place = {tableau: index for index, tableau in enumerate(tableaux)}
    swaps = np.zeros((sum(partition) - 1, len(tableaux), len(tableaux)))
    for index, tableau in enumerate(tableaux):
        contents = [tableau[:k].count(row) - row for k, row in enumerate(tableau)]
        for k, (content, following) in enumerate(pairwise(contents)):
            r = following - content
            swaps[k, index, index] = 1 / r
            changed = (*tableau[:k], tableau[k + 1], tableau[k], *tableau[k + 2 :])
            if changed in place and abs(r) > 1:
                swaps[k, place[changed], index] = np.sqrt(1 - 1 / r**2)
    return swaps


def _of_permutations(group: str, swaps: Float[np.ndarray, "swap d d"]) -> Matrices:
    """The matrix of each element: that of one nearer to the identity times that of a swap."""
    every = elements(group)
    found = {every[0]: np.eye(swaps.shape[-1])}
    queue = [every[0]]
    for element in queue:
        for k, swap in enumerate(swaps):
            # The element after the swap of k and k + 1.
            after = (*element[:k], element[k + 1], element[k], *element[k + 2 :])
            if after not in found:
                found[after] = found[element] @ swap
                queue.append(after)
    return np.stack([found[element] for element in every])


def _partitions(n: int, most: int) -> list[tuple[int, ...]]:
    """The ways to write n as a sum of parts of at most `most`, the largest part first."""
    if n == 0:
        return [()]
    return [
        (part, *rest) for part in range(min(n, most), 0, -1) for rest in _partitions(n - part, part)
    ]


def _standard_tableaux(partition: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Each as the rows in which 1, 2, … stand; at no step is a row longer than the one above it."""
    tableaux: list[tuple[int, ...]] = [()]
    for _ in range(sum(partition)):
        tableaux = [
            (*tableau, row)
            for tableau in tableaux
            for row in range(len(partition))
            if tableau.count(row) < partition[row]
            and (row == 0 or tableau.count(row) < tableau.count(row - 1))
        ]
    return tableaux


def _rotations(k: int, n: int) -> Float[np.ndarray, "n 2 2"]:
    angle = 2 * np.pi * (k * np.arange(n) % n) / n
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1)


def _column(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 1 1"]:
    return values[:, None, None]


def quotients(table: Int[np.ndarray, "n n"]) -> Int[np.ndarray, "n n"]:
    """The element g h⁻¹ at [g, h], from the table of products."""
    n = len(table)
    identity = int((table == np.arange(n)).all(1).argmax())
    return table[:, (table == identity).argmax(1)]
