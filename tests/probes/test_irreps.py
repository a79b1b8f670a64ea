"""The irreducible representations: homomorphisms, orthogonal as Schur says, complete, and known."""

import itertools
from math import factorial

import numpy as np
import pytest

from grokinterp.probes.irreps import character, group_of, irreps, quotients, young_orthogonal
from grokinterp.task import GroupTask, ModularTask, TableTask
from grokinterp.task.group import elements, products

NOT_ABELIAN = ("S3", "S4", "S5", "D3", "D4", "D7", "D10")
CYCLIC = ("Z3", "Z4", "Z7", "Z10")
of_each = pytest.mark.parametrize("group", [*NOT_ABELIAN, *CYCLIC])


def table_of(group):
    if group.startswith("Z"):
        step = np.arange(int(group[1:]))
        return (step[:, None] + step) % len(step)
    return np.array(products(group))


@of_each
def test_a_product_has_the_product_of_the_matrices(group):
    for name, matrices in irreps(group).items():
        expected = np.einsum("aij,bjk->abik", matrices, matrices)
        np.testing.assert_allclose(matrices[table_of(group)], expected, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(
            matrices @ matrices.transpose(0, 2, 1),
            np.broadcast_to(np.eye(matrices.shape[-1]), matrices.shape),
            atol=1e-12,
        )


@pytest.mark.parametrize("group", NOT_ABELIAN)
def test_matrix_elements_are_an_orthonormal_basis_of_the_functions_on_the_group(group):
    """Schur's relations, with Σ d² = n: none is missing, none is there twice, none is reducible."""
    n = len(elements(group))
    columns = [
        matrices.reshape(n, -1) * (matrices.shape[-1] / n) ** 0.5
        for matrices in irreps(group).values()
    ]
    basis = np.concatenate(columns, axis=1)
    assert basis.shape == (n, n)
    np.testing.assert_allclose(basis.T @ basis, np.eye(n), atol=1e-12)


@of_each
def test_there_are_as_many_as_classes_of_conjugate_elements(group):
    """Of Z_p, over the real numbers, as many as classes of an element and its inverse."""
    table = table_of(group)
    inverse = (table == 0).argmax(1)
    if group in CYCLIC:
        classes = {frozenset({g, inverse[g]}) for g in range(len(table))}
    else:
        classes = {frozenset(table[table[h, g], inverse[h]] for h in range(len(table)))
                   for g in range(len(table))}  # fmt: skip
    assert len(irreps(group)) == len(classes)
    for matrices in irreps(group).values():
        chi = character(matrices)
        assert all(np.ptp(chi[list(one)]) < 1e-12 for one in classes)


def cycles(permutation):
    """The lengths of its cycles, descending."""
    seen, lengths = set(), []
    for start in range(len(permutation)):
        length, place = 0, start
        while place not in seen:
            seen.add(place)
            place, length = permutation[place], length + 1
        lengths += [length] * (length > 0)
    return tuple(sorted(lengths, reverse=True))


# As character tables are printed, by the cycles of the class.
TABLES = {
    "S3": {
        "(3)": {(1, 1, 1): 1, (2, 1): 1, (3,): 1},
        "(2,1)": {(1, 1, 1): 2, (2, 1): 0, (3,): -1},
        "(1,1,1)": {(1, 1, 1): 1, (2, 1): -1, (3,): 1},
    },
    "S4": {
        "(4)": {(1, 1, 1, 1): 1, (2, 1, 1): 1, (2, 2): 1, (3, 1): 1, (4,): 1},
        "(3,1)": {(1, 1, 1, 1): 3, (2, 1, 1): 1, (2, 2): -1, (3, 1): 0, (4,): -1},
        "(2,2)": {(1, 1, 1, 1): 2, (2, 1, 1): 0, (2, 2): 2, (3, 1): -1, (4,): 0},
        "(2,1,1)": {(1, 1, 1, 1): 3, (2, 1, 1): -1, (2, 2): -1, (3, 1): 0, (4,): 1},
        "(1,1,1,1)": {(1, 1, 1, 1): 1, (2, 1, 1): -1, (2, 2): 1, (3, 1): 1, (4,): -1},
    },
}
CLASSES_OF_S5 = ((1, 1, 1, 1, 1), (2, 1, 1, 1), (2, 2, 1), (3, 1, 1), (3, 2), (4, 1), (5,))
TABLES["S5"] = {
    name: dict(zip(CLASSES_OF_S5, row, strict=True))
    for name, row in {
        "(5)": (1, 1, 1, 1, 1, 1, 1),
        "(4,1)": (4, 2, 0, 1, -1, 0, -1),
        "(3,2)": (5, 1, 1, -1, 1, -1, 0),
        "(3,1,1)": (6, 0, -2, 0, 0, 0, 1),
        "(2,2,1)": (5, -1, 1, -1, -1, 1, 0),
        "(2,1,1,1)": (4, -2, 0, 1, 1, 0, -1),
        "(1,1,1,1,1)": (1, -1, 1, 1, -1, -1, 1),
    }.items()
}


@pytest.mark.parametrize("group", TABLES)
def test_the_characters_of_permutations_are_those_of_the_tables(group):
    found = irreps(group)
    assert list(found) == list(TABLES[group])
    for name, row in TABLES[group].items():
        expected = [row[cycles(element)] for element in elements(group)]
        np.testing.assert_allclose(character(found[name]), expected, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("group", ["S3", "S4", "S5"])
def test_the_standard_representation_is_what_permuting_leaves_beside_the_constant(group):
    """Fixed points less 1; and the sign is that of the permutation's inversions."""
    *_, sign = irreps(group).values()
    fixed = [sum(i == x for i, x in enumerate(element)) for element in elements(group)]
    standard = list(irreps(group).values())[1]
    np.testing.assert_allclose(character(standard), np.array(fixed) - 1, atol=1e-12)
    odd = [sum(x > y for x, y in itertools.combinations(e, 2)) % 2 for e in elements(group)]
    np.testing.assert_allclose(sign[:, 0, 0], 1 - 2 * np.array(odd), atol=1e-12)


@pytest.mark.parametrize("partition", [(2, 1), (3, 1), (2, 2), (3, 2), (3, 1, 1), (2, 2, 1)])
def test_swaps_obey_coxeter_s_relations_and_the_hook_length_formula(partition):
    swaps = young_orthogonal(partition)
    unit = np.eye(swaps.shape[-1])
    for i, one in enumerate(swaps):
        np.testing.assert_allclose(one @ one, unit, atol=1e-12)
        for other in swaps[i + 2 :]:
            np.testing.assert_allclose(one @ other, other @ one, atol=1e-12)
    for one, other in itertools.pairwise(swaps):
        np.testing.assert_allclose(one @ other @ one, other @ one @ other, atol=1e-12)
    columns = [sum(row > j for row in partition) for j in range(partition[0])]
    hooks = [row - j + columns[j] - i - 1 for i, row in enumerate(partition) for j in range(row)]
    assert len(unit) == factorial(sum(partition)) // np.prod(hooks)


def test_frequencies_of_addition_are_waves():
    step = np.arange(10)
    found = irreps("Z10")
    assert list(found) == ["0", "1", "2", "3", "4", "5"]
    for k in range(1, 5):
        chi = character(found[str(k)])
        np.testing.assert_allclose(chi, 2 * np.cos(2 * np.pi * k * step / 10), atol=1e-12)
    assert found["5"][:, 0, 0].tolist() == [1, -1] * 5


@of_each
def test_a_quotient_times_its_divisor_is_what_was_divided(group):
    table = table_of(group)
    h = np.arange(len(table))
    assert (table[quotients(table), h] == h[:, None]).all()


def test_a_task_has_a_group_or_none():
    assert group_of(GroupTask("D12")) == "D12"
    assert group_of(ModularTask(12)) == "Z12"
    assert group_of(ModularTask(11, "sub")) is None
    assert group_of(ModularTask(11, "xor")) is None
    assert group_of(TableTask(products("S3"))) is None
