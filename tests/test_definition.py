"""A definition changes when what it defines is edited, and with nothing else."""

import functools
import importlib
import json
import linecache
import os
import shutil
import subprocess
import sys
from itertools import count

import pytest
from grokinterp.hooks import INTERVENTIONS, UnitNorm, intervention_from_dict

from grokinterp.config import RunConfig, TrainConfig
from grokinterp.definition import definition_of
from grokinterp.experiments import transplant
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
VALUES = """
import functools
from dataclasses import dataclass
import numpy as np
import torch
@dataclass
class Settings:
    power: int
    def __call__(self, x):
        return x ** self.power
class Plain:
    def __init__(self, power):
        self.power = power
def logged(function):
    @functools.wraps(function)
    def wrapper(snapshot):
        return {name: 1 * value for name, value in function(snapshot).items()}
    return wrapper
def first(x):
    return x + 11
def second(x):
    return x + 22
ARRAY = np.array([1, 2])
TENSOR = torch.full((2, 3), 0.5, dtype=torch.bfloat16)
ARRAYS = {"a": np.array([3.0, 4.0])}
CALLED = Settings(5)
OBJECT = Plain(6)
PARTIAL = functools.partial(first, x=7)
STEPS = [first, {"b": second}]
SPAN = range(0, 8)
PART = slice(0, 9)
MODEL = torch.nn.Linear(1, 1)
torch.nn.init.constant_(MODEL.weight, 0.125)
torch.nn.init.zeros_(MODEL.bias)
BOUND = OBJECT.__init__
@logged
def probe(snapshot):
    return {"value": [ARRAY, TENSOR, ARRAYS, CALLED, OBJECT, PARTIAL, STEPS, SPAN, PART, MODEL]}
"""
EDITS = [
    (VALUES, "probe", "[1, 2]", "[1, 3]"),
    (VALUES, "probe", "[1, 2]", "[1.0, 2.0]"),
    (VALUES, "probe", "np.array([1, 2])", "np.array([[1, 2]])"),
    (VALUES, "probe", "0.5", "0.25"),
    (VALUES, "probe", "[3.0, 4.0]", "[3.0, 5.0]"),
    (VALUES, "probe", "Settings(5)", "Settings(4)"),
    (VALUES, "probe", "x ** self.power", "x * self.power"),
    (VALUES, "probe", "Plain(6)", "Plain(5)"),
    (VALUES, "probe", "x=7", "x=8"),
    (VALUES, "probe", "partial(first", "partial(second"),
    (VALUES, "probe", "x + 22", "x + 23"),
    (VALUES, "probe", "range(0, 8)", "range(0, 9)"),
    (VALUES, "probe", "slice(0, 9)", "slice(0, 8)"),
    (VALUES, "probe", "0.125", "0.25"),
    (VALUES, "probe", "1 * value", "2 * value"),
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


def test_it_is_the_same_in_every_python():
    """What was stored under one is read under another; the first that wrote them was 3.11."""
    assert definition_of(defined(PROBE, "probe")) == "a98f1c6ba14b2f78"
    assert definition_of(defined(CLASS, "Halved")) == "71eda8e45064c2b7"


def test_annotations_may_name_what_only_type_checkers_know():
    lazily = sys.version_info >= (3, 14)  # Before, only where the future import says so.
    source = ("" if lazily else "from __future__ import annotations") + CLASS
    before, after = (source.replace("hook: str", f"hook: {kind}") for kind in ("Name", "Text"))
    assert definition_of(defined(before, "Halved")) == definition_of(defined(before, "Halved"))
    assert definition_of(defined(before, "Halved")) != definition_of(defined(after, "Halved"))


def test_looking_at_annotations_does_not_change_it():
    bare = defined("class Bare:\n    def act(self, x):\n        return x\n", "Bare")
    before = definition_of(bare)
    assert bare.__annotations__ == {}
    assert definition_of(bare) == before


@pytest.mark.parametrize(("source", "name", "old", "new"), LEFT)
def test_comments_and_docstrings_do_not(source, name, old, new):
    assert old in source
    before, after = (defined(s, name) for s in (source, source.replace(old, new)))
    assert definition_of(before) == definition_of(after)


SAME = [(PROBE, "probe"), (CLASS, "Halved"), (HELD, "probe"), (VALUES, "probe")]


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(("source", "name"), SAME)
def test_the_same_cell_run_again_is_the_same_definition(source, name, kept):
    assert definition_of(defined(source, name, kept)) == definition_of(defined(source, name, kept))


def test_an_edited_module_of_the_user_s_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    cell = "import my_helper\nfrom my_helper import f\ndef probe(s):\n    return {'v': "
    for used in ("f(s)", "my_helper.f(s)"):
        found = []
        for power in (1, 2, 2):
            source = f"def f(x):\n    return g(x)\ndef g(x):\n    return x ** {power}\n"
            (tmp_path / "my_helper.py").write_text(source)
            linecache.checkcache()
            importlib.invalidate_caches()
            shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
            sys.modules.pop("my_helper", None)
            found.append(definition_of(defined(f"{cell}{used}}}\n", "probe")))
        assert found[0] != found[1] == found[2]
    sys.modules.pop("my_helper", None)


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


MINE = """
from dataclasses import dataclass
from grokinterp.hooks import Intervention
@dataclass(frozen=True)
class Mine(Intervention):
    share: float = 0.5
    def hooks(self, model):
        return [("blocks.0.hook_resid_pre", lambda x, hook: x * self.share)]
"""


@pytest.fixture
def mine():
    """The class that a cell defines, edited or not."""

    def define(old="", new=""):
        return defined(MINE.replace(old, new), "Mine")

    yield define
    INTERVENTIONS.pop("Mine", None)


def test_a_config_sees_what_its_intervention_finds_by_name_now(mine):
    cls = mine("x * self.share", "x * FACTOR")
    config = under(cls(0.5))
    scope = cls.hooks.__globals__
    scope["FACTOR"] = 1.0
    before = config.id
    scope["FACTOR"] = 0.5
    assert config.id != before


def under(*interventions):
    return RunConfig(train=TrainConfig(interventions=interventions))


def test_a_user_s_intervention_is_identity_by_its_definition(mine):
    first = under(mine()(0.5))
    [written] = first.to_dict()["train"]["interventions"]
    assert written["module"] == "__main__"
    assert RunConfig.from_dict(json.loads(json.dumps(first.to_dict()))) != under()
    assert under(mine("# Why.", "")(0.5)).id == first.id  # The same cell, run again.
    edited = under(mine("x * self.share", "x + self.share")(0.5))
    assert edited.id != first.id
    assert under(mine("0.5", "0.25")()).id not in (edited.id, first.id)


def test_the_module_that_defines_it_is_not(mine):
    first = under(mine()(0.5))
    cls = mine()
    cls.__module__ = "elsewhere"
    for function in vars(cls).values():
        if hasattr(function, "__code__"):
            function.__module__ = "elsewhere"
    moved = under(cls(0.5))
    assert moved.to_dict()["train"]["interventions"][0]["module"] == "elsewhere"
    assert moved.id == first.id


def test_what_was_written_under_another_definition_is_not_taken_for_the_present_one(mine):
    written = mine()(0.5).to_dict()
    assert intervention_from_dict(written).to_dict() == written
    by_hand = {"name": "Mine", "share": 0.5}
    assert intervention_from_dict(by_hand).to_dict() == written
    mine("x * self.share", "x + self.share")
    with pytest.raises(
        ValueError, match=r"definition of Mine has changed since: .* than __main__ has"
    ):
        intervention_from_dict(written)
    assert intervention_from_dict(by_hand).to_dict() != written


def test_the_package_s_own_intervention_is_told_by_its_version(monkeypatch):
    written = UnitNorm("mlp").to_dict()
    assert written == {
        "name": "UnitNorm",
        "pathway": "mlp",
        "from_epoch": 1,
        "until_epoch": None,
    }
    before = under(UnitNorm("mlp")).id
    monkeypatch.setattr(UnitNorm, "version", 2, raising=False)
    assert under(UnitNorm("mlp")).id != before
    with pytest.raises(
        ValueError, match=r"definition of UnitNorm has changed since: .*\(1\) than .*\(2\)"
    ):
        intervention_from_dict(written)


def test_a_fork_s_change_is_identity_by_its_definition(monkeypatch):
    [fork] = [one.fork for one in transplant.plan([1]) if one.label == "LN removed at 500"]
    assert fork.name == f"{fork.parent.id}@500, without_mlp_norm"
    monkeypatch.setattr(transplant.without_mlp_norm, "version", 2, raising=False)
    assert fork.name == f"{fork.parent.id}@500, without_mlp_norm 2"


def test_the_package_s_own_are_told_by_their_versions():
    assert definition_of(UnitNorm) == "1"
    assert definition_of(PROBES["ntk"]).isdigit()


def test_the_first_object_of_an_optimiser_leaves_its_definition_as_it_was():
    """torch wraps the class's own `step` then, and puts one where it is inherited."""
    import torch

    class Plain(torch.optim.SGD):
        pass

    class Signed(torch.optim.Optimizer):
        def __init__(self, params, lr=1e-3):
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self, closure=None):
            return self.factor

        factor = 1

    class Inherits(Signed):
        pass

    class Other(Signed):
        def step(self, closure=None):
            return 2

    classes = (Plain, Inherits, Signed, Other)
    before = [definition_of(one) for one in classes]
    assert len({*before}) == len(classes)
    for kind in classes:
        kind([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    assert [definition_of(one) for one in classes] == before
