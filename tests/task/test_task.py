import random
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grokinterp.cli.task import TaskOptions
from grokinterp.task import BIT_GAMES, OPERATIONS, ModularTask

MODULAR = [name for name in OPERATIONS if name not in BIT_GAMES]

# A statement that the label c of (a, b) must satisfy, not written as the library writes it.
LAWS = {
    "add": lambda a, b, c, p, s: (c - a - b) % p == 0,
    "sub": lambda a, b, c, p, s: (c + b - a) % p == 0,
    "mul": lambda a, b, c, p, s: c == sum([a] * b) % p,
    "div": lambda a, b, c, p, s: (c * b - a) % p == 0,
    "a2+b2": lambda a, b, c, p, s: (c - (a + b) ** 2 + 2 * a * b) % p == 0,
    "a2+ab+b2": lambda a, b, c, p, s: (c - (a + b) ** 2 + a * b) % p == 0,
    "a3+ab": lambda a, b, c, p, s: (c - a * (a**2 + b)) % p == 0,
    "shift": lambda a, b, c, p, s: c == (a + b) // 2**s,
    "xor": lambda a, b, c, p, s: bits(c) == [x != y for x, y in paired_bits(a + b, s)],
    "and": lambda a, b, c, p, s: bits(c) == [x and y for x, y in paired_bits(a + b, s)],
}


def bits(number: int) -> list[bool]:
    return [digit == "1" for digit in f"{number:016b}"]


def paired_bits(one: int, other: int) -> zip:
    return zip(bits(one), bits(other), strict=True)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("operand", [0, 1, 3, 9])
def test_labels_obey_the_operation(operation: str, operand: int) -> None:
    task = ModularTask(p=7, operation=operation, operand=operand)
    for a, b in task.pairs():
        c = task.label(a, b)
        assert LAWS[operation](a, b, c, 7, operand), (a, b, c)
        assert 0 <= c < task.equals_token
        assert operation in BIT_GAMES or c < 7


@pytest.mark.parametrize("described", [ModularTask, TaskOptions])
def test_the_help_names_every_operation(described: type) -> None:
    words = re.split(r"[\s,:()]+", described.__doc__ or "")
    assert [name for name in OPERATIONS if not {name, f"{name}."} & set(words)] == []


def test_the_paper_s_split() -> None:
    task = ModularTask(p=113)
    pairs = [(a, b) for a in range(113) for b in range(113)]
    random.Random(456).shuffle(pairs)
    n_test = int(0.7 * 113**2)
    train, test = task.split_pairs(456)
    assert (len(train), len(test)) == (task.n_train, task.n_test) == (3831, 8938)
    assert train == pairs[:-n_test]
    assert test == pairs[-n_test:]
    assert task.d_vocab == 114


def test_tokens_and_labels_of_a_split() -> None:
    task = ModularTask(p=11, operation="sub")
    split, (train, test) = task.split(3), task.split_pairs(3)
    for tokens, labels, pairs in (
        (split.train_tokens, split.train_labels, train),
        (split.test_tokens, split.test_labels, test),
    ):
        array = np.array(pairs)
        assert (tokens[:, :2].numpy() == array).all()
        assert (tokens[:, 2] == 11).all()
        assert (labels.numpy() == (array[:, 0] - array[:, 1]) % 11).all()
        assert tokens.dtype == labels.dtype == torch.int64


@given(st.integers(3, 9), st.floats(0.2, 0.8), st.sampled_from(MODULAR), st.integers(0, 99))
def test_a_split_is_a_partition(p: int, test_fraction: float, operation: str, seed: int) -> None:
    if operation == "div" and p not in (3, 5, 7):
        operation = "mul"
    task = ModularTask(p, operation, test_fraction)
    train, test = task.split_pairs(seed)
    assert sorted(train + test) == task.pairs()
    assert (len(train), len(test)) == (task.n_train, task.n_test)
    assert task.split_pairs(seed) == (train, test)


@pytest.mark.usefixtures("unchecked")
def test_a_seed_gives_its_own_split_and_leaves_the_global_generator_alone() -> None:
    before = random.getstate()
    task = ModularTask(p=11)
    assert task.split_pairs(1) != task.split_pairs(2)
    assert random.getstate() == before


def test_division_has_no_pair_with_b_zero() -> None:
    task = ModularTask(p=5, operation="div")
    assert task.n_pairs == len(task.pairs()) == 20
    assert all(b != 0 for _, b in task.pairs())


@pytest.mark.parametrize(
    ("operation", "operand", "largest_label"),
    [("shift", 0, 12), ("shift", 1, 6), ("xor", 1, 13), ("xor", 16, 28), ("and", 4, 4)],
)
def test_a_bit_game_s_vocabulary_covers_its_labels(
    operation: str, operand: int, largest_label: int
) -> None:
    task = ModularTask(p=7, operation=operation, operand=operand)
    assert max(task.label(a, b) for a, b in task.pairs()) == largest_label
    assert task.equals_token == max(7, largest_label + 1)
    assert task.d_vocab == task.equals_token + 1


def test_the_operand_tells_bit_games_apart_and_nothing_else() -> None:
    assert ModularTask(operation="xor", operand=2) != ModularTask(operation="xor", operand=3)
    assert ModularTask(operation="add", operand=2) == ModularTask(operation="add", operand=3)


def test_an_explicit_split_keeps_its_order() -> None:
    pairs = ((2, 1), (0, 0), (1, 2))
    task = ModularTask(p=3, train_pairs=pairs)
    train, test = task.split_pairs(seed=456)
    assert train == list(pairs)
    assert test == [(0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 2)]
    assert (task.n_train, task.n_test) == (3, 6)
    assert task == ModularTask(p=3, train_pairs=pairs, test_fraction=0.1)


@pytest.mark.usefixtures("unchecked")
def test_an_explicit_split_may_come_as_an_array() -> None:
    pairs = tuple(tuple(row) for row in np.array([[0, 1], [2, 2]]))
    assert ModularTask(p=3, train_pairs=pairs).train_pairs == ((0, 1), (2, 2))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"p": 2}, ["p must", "at least 3", "got 2"]),
        ({"p": 7.0}, ["p must", "integer", "got 7.0"]),
        ({"p": True}, ["p must", "got True"]),
        ({"operation": "pow"}, ["operation", "'pow'", *OPERATIONS]),
        ({"operation": "div", "p": 9}, ["div", "prime", "p=9"]),
        ({"operation": "xor", "operand": -1}, ["operand must", "at least 0", "got -1"]),
        ({"operation": "xor", "operand": 1.5}, ["operand must", "integer", "got 1.5"]),
        ({"operation": "xor", "operand": True}, ["operand must", "integer", "got True"]),
        ({"test_fraction": 0.0}, ["test_fraction", "between 0 and 1", "got 0.0"]),
        ({"test_fraction": 1.0}, ["test_fraction", "between 0 and 1", "got 1.0"]),
        ({"test_fraction": float("nan")}, ["test_fraction", "between 0 and 1", "got nan"]),
        ({"test_fraction": "half"}, ["test_fraction", "between 0 and 1", "got 'half'"]),
        ({"test_fraction": 0.01, "p": 3}, ["test_fraction=0.01", "9 train", "0 test"]),
        ({"train_pairs": ((0, 113),)}, ["train_pairs", "add (p = 113)", "(0, 113)"]),
        ({"train_pairs": ((0, 1.5),)}, ["train_pairs", "add (p = 113)", "(0, 1.5)"]),
        ({"train_pairs": ((0, 1, 2),)}, ["train_pairs", "(0, 1, 2)"]),
        ({"train_pairs": (4,)}, ["train_pairs", "got 4"]),
        ({"train_pairs": ((0, 1), (0, 1))}, ["train_pairs", "once", "(0, 1) twice"]),
        ({"train_pairs": ()}, ["train_pairs", "non-empty", "got 0 of 12769"]),
        (
            {"p": 3, "train_pairs": tuple((a, b) for a in range(3) for b in range(3))},
            ["train_pairs", "non-empty", "got 9 of 9"],
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(arguments: dict, words: list[str]) -> None:
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        ModularTask(**arguments)
    assert all(word in str(error.value) for word in words), str(error.value)
