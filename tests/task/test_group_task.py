"""The groups, by the laws that make them what they are, and by other ways to compute them."""

import itertools
import re

import numpy as np
import pytest

from grokinterp.task import GroupTask
from grokinterp.task.group import elements, products

GROUPS = ("S3", "S4", "S5", "D3", "D4", "D5", "D12")
ORDERS = {"S3": 6, "S4": 24, "S5": 120, "D3": 6, "D4": 8, "D5": 10, "D12": 24}
of_each = pytest.mark.parametrize("group", GROUPS)


@of_each
def test_the_products_are_a_group_with_token_0_as_the_identity(group):
    table = np.array(products(group))
    n = ORDERS[group]
    assert table.shape == (n, n)
    assert (table[0] == np.arange(n)).all()
    assert (table[:, 0] == np.arange(n)).all()
    for rows in (table, table.T):  # Each equation a x = c and x b = c has one solution.
        assert (np.sort(rows, axis=1) == np.arange(n)).all()
    # (a b) c = a (b c)
    assert (table[table] == table[:, table]).all()
    assert (table != table.T).any()


@of_each
def test_no_two_elements_are_one(group):
    assert len(set(elements(group))) == len(elements(group)) == GroupTask(group).n_elements


@pytest.mark.parametrize(("group", "n"), [("S3", 3), ("S4", 4), ("S5", 5)])
def test_permutations_multiply_as_their_matrices_do(group, n):
    """P e_i = e_π(i), so the product of two matrices does the right one first."""
    matrices = np.zeros((len(elements(group)), n, n))
    for token, permutation in enumerate(itertools.permutations(range(n))):
        matrices[token, permutation, range(n)] = 1
    table = np.array(products(group))
    expected = np.einsum("aij,bjk->abik", matrices, matrices)
    assert (matrices[table] == expected).all()


@pytest.mark.parametrize("n", [3, 4, 5, 12])
def test_a_polygon_s_symmetries_multiply_as_turns_and_reflections_of_the_plane(n):
    turns = [np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])
             for t in 2 * np.pi * np.arange(n) / n]  # fmt: skip
    plane = np.array([*turns, *(turn @ np.diag([1, -1]) for turn in turns)])
    table = np.array(products(f"D{n}"))
    np.testing.assert_allclose(plane[table], np.einsum("aij,bjk->abik", plane, plane), atol=1e-12)


def test_the_task_of_a_group():
    task = GroupTask("S4", test_fraction=0.5)
    assert (task.n_pairs, task.n_train, task.n_test, task.d_vocab) == (576, 288, 288, 25)
    split = task.split(3)
    table = np.array(products("S4"))
    for tokens, labels in (
        (split.train_tokens, split.train_labels),
        (split.test_tokens, split.test_labels),
    ):
        a, b, equals = tokens.numpy().T
        assert (labels.numpy() == table[a, b]).all()
        assert (equals == 24).all()
    chosen = GroupTask("D3", train_pairs=((5, 0), (1, 1)))
    assert chosen.split_pairs(1)[0] == [(5, 0), (1, 1)]


def test_a_group_written_in_two_ways_is_one():
    assert GroupTask("D007") == GroupTask("D7")
    assert (str(GroupTask("S5")), str(GroupTask("D12"))) == ("S5", "D12")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *(({"group": name}, ["group must", "S3, S4 or S5", "Dn", repr(name), "TableTask"])
          for name in ("S2", "S6", "D2", "A5", "s5", "S", "D-3", "D3.5", "", 5, None)),
        ({"group": "S3", "train_pairs": ((0, 6),)}, ["train_pairs", "S3", "(0, 6)"]),
        ({"group": "S3", "train_pairs": ((0, 1), (0, 1))}, ["once", "(0, 1) twice"]),
        ({"group": "S3", "test_fraction": 0.01}, ["36 train", "0 test"]),
        ({"group": "S3", "test_fraction": 1}, ["test_fraction", "between 0 and 1", "got 1"]),
    ],
)  # fmt: skip
def test_bad_input_is_named(arguments, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        GroupTask(**arguments)
    assert all(word in str(error.value) for word in words), str(error.value)
