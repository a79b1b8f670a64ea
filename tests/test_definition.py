"""A definition changes when what it defines is edited, and with nothing else."""

import functools
import linecache
import os
import subprocess
import sys
from itertools import count

import pytest
from grokinterp.hooks import UnitNorm

from grokinterp.definition import definition_of
from grokinterp.probes import PROBES

CELLS = count()


def defined(source, name, kept=True):
    """What a notebook cell defines: IPython keeps a cell's source where inspect finds it."""
    file = f"<cell {next(CELLS)}>"
    if kept:
        linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    scope = {"__name__": "__main__"}
    exec(compile(source, file, "exec"), scope)
    return scope[name]


PROBE = """
SCALE = 2
def helper(x):
    return x * SCALE
def probe(snapshot, power=1):
    'What it measures.'
    return {"value": helper(snapshot) ** power}
"""
CLASS = """
from dataclasses import dataclass
@dataclass(frozen=True)
class Halved:
    '''Half of it.'''
    hook: str = "blocks.0.hook_resid_mid"
    factor: float = 0.5
    def act(self, x):
        return x * self.factor
"""
HELD = """
WEIGHTS = {"a": [1, 2], "b": {"c"}}
def made(power):
    def probe(snapshot, *, scale=WEIGHTS["a"][1], of=abs):
        return {"value": scale * snapshot ** power + len(WEIGHTS)}
    return probe
probe = made(1)
"""
ATTRIBUTE = """
rows = []
def probe(snapshot):
    return {"value": float(len(snapshot.rows))}
"""
EDITS = [
    (HELD, "probe", "made(1)", "made(2)"),
    (HELD, "probe", '["a"][1]', '["a"][0]'),
    (HELD, "probe", '"b": {"c"}', '"b": {"d"}'),
    (HELD, "probe", "[1, 2]", "[3, 2]"),
    (PROBE, "probe", "** power", "** power + 1"),
    (PROBE, "probe", "power=1", "power=2"),
    (PROBE, "probe", "SCALE = 2", "SCALE = 3"),
    (PROBE, "probe", "x * SCALE", "x + SCALE"),
    (CLASS, "Halved", "x * self.factor", "x / self.factor"),
    (CLASS, "Halved", "= 0.5", "= 0.25"),
    (CLASS, "Halved", "resid_mid", "resid_pre"),
]
LEFT = [
    (HELD, "probe", "WEIGHTS = ", "power = 7\nWEIGHTS = "),
    (ATTRIBUTE, "probe", "rows = []", "rows = [1]"),
    (PROBE, "probe", "What it measures.", "What it says."),
    (PROBE, "probe", "def probe", "\n# Why.\ndef probe"),
    (CLASS, "Halved", "Half of it.", "A half."),
]


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(("source", "name", "old", "new"), EDITS)
def test_an_edit_changes_the_definition(source, name, old, new, kept):
    assert old in source
    before, after = (defined(s, name, kept) for s in (source, source.replace(old, new)))
    assert definition_of(before) != definition_of(after)


@pytest.mark.parametrize(("source", "name", "old", "new"), LEFT)
def test_comments_and_docstrings_do_not(source, name, old, new):
    assert old in source
    before, after = (defined(s, name) for s in (source, source.replace(old, new)))
    assert definition_of(before) == definition_of(after)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(("source", "name"), [(PROBE, "probe"), (CLASS, "Halved"), (HELD, "probe")])
def test_the_same_cell_run_again_is_the_same_definition(source, name, kept):
    assert definition_of(defined(source, name, kept)) == definition_of(defined(source, name, kept))


SETS = """
from grokinterp.definition import definition_of
NAMES = {"q", "k", "v", "mlp"}
def probe(snapshot):
    return {"value": float(snapshot in NAMES or snapshot in {"x", "y", "z"})}
print(definition_of(probe))
"""


def test_it_is_the_same_in_every_process():
    said = {
        subprocess.check_output(
            [sys.executable, "-c", SETS], env={**os.environ, "PYTHONHASHSEED": seed}
        )
        for seed in "123456"
    }
    assert len(said) == 1


def test_a_base_class_in_the_same_cell_counts():
    source = "class A:\n    def f(self):\n        return 1\nclass B(A):\n    pass\n"
    other = source.replace("return 1", "return 2")
    assert definition_of(defined(source, "B")) != definition_of(defined(other, "B"))


def test_a_partial_is_told_by_its_arguments():
    probe = defined(PROBE, "probe")
    one, two = functools.partial(probe, power=1), functools.partial(probe, power=2)
    assert definition_of(one) != definition_of(two)


def test_the_package_s_own_are_told_by_their_versions():
    assert definition_of(UnitNorm) == "1"
    assert definition_of(PROBES["ntk"]).isdigit()
