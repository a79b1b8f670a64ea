"""Any operation as a table: rows, a function or a file, and what is no table."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from runs_cases import SMALL_RUN, same_run, with_recipe

import grokinterp as gi
from grokinterp.config import RunConfig
from grokinterp.task import ModularTask, TableTask
from grokinterp.task.group import products

ADDITION = TableTask.from_function(lambda a, b: (a + b) % 5, 5)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_a_function_a_file_and_an_array_are_one_task(tmp_path):
    rows = ((0, 1, 2), (1, 1, 2), (2, 2, 2))
    path = write(tmp_path / "table.csv", "0,1,2\n1,1,2\n2,2,2\n")
    same = [
        TableTask(rows),
        TableTask([[0, 1, 2], [1, 1, 2], [2, 2, 2]]),
        TableTask(np.array(rows)),
        TableTask(torch.tensor(rows)),
        TableTask.from_function(max, 3),
        TableTask.from_csv(path),
        TableTask.from_csv(str(path)),
        TableTask.from_csv(write(tmp_path / "other.csv", "\ufeff 0, 1,2 \n\n1,1,2\r\n2,2,2")),
    ]
    assert len(set(same)) == len({repr(one) for one in same}) == 1
    assert all(type(value) is int for row in same[2].table for value in row)
    task = same[0]
    assert (task.n_elements, task.n_pairs, task.equals_token, task.d_vocab) == (3, 9, 3, 4)
    assert [task.label(a, b) for a, b in task.pairs()] == [max(pair) for pair in task.pairs()]
    other = TableTask.from_function(min, 3)
    assert other != task
    assert str(other) != str(task)


def test_a_table_shows_its_size_and_not_itself():
    task = TableTask(products("S5"))
    assert re.fullmatch(r"table [0-9a-f]{8} \(n = 120\)", str(task))
    assert len(repr(task)) < 100


@given(st.integers(2, 7), st.integers(0, 99), st.data())
def test_a_split_of_any_table_is_a_partition_with_its_labels(n, seed, data):
    answers = st.lists(st.integers(0, n - 1), min_size=n, max_size=n)
    table = data.draw(st.lists(answers, min_size=n, max_size=n))
    task = TableTask(table, 0.5)
    train, test = task.split_pairs(seed)
    assert sorted(train + test) == task.pairs()
    tokens, labels = task.encode(train + test)
    assert [table[a][b] for a, b, _ in tokens.tolist()] == labels.tolist()


def test_a_table_of_addition_trains_as_addition_does(tmp_path):
    config = with_recipe(probes={"attention_entropy": 10, "norms": 15})
    of_table = RunConfig(ADDITION, config.model, config.train, config.seed)
    assert of_table.id != config.id
    run, other = gi.train([config, of_table], store=tmp_path)
    same_run(run, other)


def test_a_stored_run_has_its_table(tmp_path):
    task = TableTask.from_function(max, 5, train_pairs=((0, 0), (1, 2), (4, 4), (3, 0)))
    config = RunConfig(task, SMALL_RUN.model, SMALL_RUN.train, 3)
    run = gi.train(config, store=tmp_path)
    found = gi.open_store(tmp_path).select(seed=3)[0]
    assert found.config == config
    assert found.config.id == config.id == run.id
    assert torch.equal(found.snapshot().grid.labels, task.encode(task.pairs())[1])
    assert gi.train(config, store=tmp_path).path == run.path
    # Of runs of several tasks, a field that one has selects that one.
    gi.train([SMALL_RUN, RunConfig(gi.GroupTask("S3"), SMALL_RUN.model, SMALL_RUN.train)], tmp_path)
    store = gi.open_store(tmp_path)
    assert len(store) == 3
    assert [str(one.config.task) for one in store.select(group="S3")] == ["S3"]
    assert [str(one.config.task) for one in store.select(p=5)] == ["add (p = 5)"]
    assert [one.config for one in store.select(table=task.table)] == [config]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([[0, 1], [1]], ["each row", "2 answers", "row 1 has 1"]),
        ([[0, 1], [1, 0, 0]], ["each row", "2 answers", "row 1 has 3"]),
        ([[0, 1, 0], [1, 0, 1]], ["square", "2 rows of 3"]),
        ([[0, 1]], ["at least 2 rows", "got 1"]),
        ([], ["at least 2 rows", "got 0"]),
        ([[0, 1], [1, 2]], ["elements 0 to 1", "got 2 in row 1, column 1"]),
        ([[0, -1], [1, 0]], ["elements 0 to 1", "got -1 in row 0, column 1"]),
        ([[0, 1.0], [1, 0]], ["elements 0 to 1", "got 1.0 in row 0, column 1"]),
        ([[0, True], [1, 0]], ["elements 0 to 1", "got True in row 0, column 1"]),
        ([["0", 1], [1, 0]], ["elements 0 to 1", "got '0' in row 0, column 0"]),
        ("my.csv", ["rows of integers", "from_csv", "from_function", "'my.csv'"]),
        (["01", "10"], ["rows of integers", "'01'"]),
        ([0, 1], ["rows of integers", "got 0"]),
        (5, ["rows of integers", "got 5"]),
    ],
)
def test_what_is_no_table_is_named(table, words):
    with pytest.raises(ValueError, match=r"table must|each row of the table must") as error:
        TableTask(table)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"train_pairs": ((0, 2), (2, 3))}, ["train_pairs must", "table", "(2, 3)"]),
        ({"train_pairs": ((0, 2), (0, 2))}, ["train_pairs must", "once", "(0, 2) twice"]),
        ({"train_pairs": ()}, ["non-empty", "got 0 of 9"]),
        ({"test_fraction": 0.1}, ["test_fraction=0.1", "9 train", "0 test"]),
        ({"test_fraction": 0}, ["between 0 and 1", "got 0"]),
        ({"n": 1}, ["n must", "at least 2", "got 1"]),
        ({"n": "3"}, ["n must", "integer", "'3'"]),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        TableTask.from_function(max, **{"n": 3, **arguments})
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["at least 2 rows", "got 0"]),
        ("a,b\n0,1\n1,0\n", ["square", "3 rows of 2"]),
        ("0,x\n1,0\n", ["elements 0 to 1", "got 'x' in row 0, column 1"]),
        ("0,1.0\n1,0\n", ["got '1.0' in row 0, column 1"]),
        ("0,\n1,0\n", ["got '' in row 0, column 1"]),
        ("0;1\n1;0\n", ["square", "2 rows of 1"]),
        ("1,2\n2,1\n", ["elements 0 to 1", "got 2 in row 0, column 1"]),
        ("0,1\n1\n", ["each row", "row 1 has 1"]),
    ],
)
def test_what_is_no_file_of_a_table_is_named_with_its_path(tmp_path, text, words):
    path = write(tmp_path / "my.csv", text)
    with pytest.raises(ValueError, match=re.escape(f"{path}: ")) as error:
        TableTask.from_csv(path)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_file_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "my.csv"
    path.write_bytes(b"\xff\xfe0,1")
    with pytest.raises(ValueError, match="must be a CSV file of integers"):
        TableTask.from_csv(path)
    with pytest.raises(OSError, match=r"none\.csv"):
        TableTask.from_csv(tmp_path / "none.csv")


@pytest.mark.usefixtures("unchecked")
def test_a_task_of_another_kind_is_no_run():
    class Nearly(ModularTask):
        """It would be stored as what it is not."""

        def label(self, a, b):
            return a

    class Other(gi.Task):
        n_elements = 3

        def label(self, a, b):
            return a

    for task in (Nearly(p=5), Other(), "add"):
        with pytest.raises(ValueError, match=r"task must be a ModularTask.* TableTask\.from_func"):
            RunConfig(task)
