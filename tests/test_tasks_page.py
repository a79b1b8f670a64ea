"""What applies to which kind of task: each probe, picture and intervention works or is refused.

The table of the docs is compared with what is found, so that a cell can say nothing else.
"""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from grokinterp.hooks import INTERVENTIONS

import grokinterp as gi
from grokinterp import circuits
from grokinterp.model.build import build_model
from grokinterp.probes import PROBES
from grokinterp.probes.calls import ProbeCall
from grokinterp.snapshot import NotApplicable, Snapshot
from grokinterp.task import OPERATIONS, GroupTask, ModularTask, TableTask

DOCS = Path(__file__).parents[1] / "docs"
YES, REFUSED = "yes", "refused"
COLUMNS = {
    "`add`": [ModularTask(5), ModularTask(6)],
    "`sub`": [ModularTask(5, "sub"), ModularTask(6, "sub")],
    "`mul`, prime p": [ModularTask(5, "mul"), ModularTask(7, "mul")],
    "`div`": [ModularTask(5, "div"), ModularTask(7, "div")],
    "other arithmetic": [
        ModularTask(6, "mul"),
        *(ModularTask(5, one) for one in ("a2+b2", "a2+ab+b2", "a3+ab")),
        *(ModularTask(5, one, operand=2) for one in ("shift", "xor", "and")),
    ],
    "`GroupTask`": [GroupTask("S3"), GroupTask("D3"), GroupTask("D4")],
    "`TableTask`": [
        TableTask.from_function(max, 5),
        TableTask.from_function(lambda a, b: (a + b) % 5, 5),
    ],
}
WITH_KEYS = "frequencies=(1,2)"
CALLS = {
    "excluded_loss": WITH_KEYS,
    "restricted_loss": WITH_KEYS,
    "logit_formula": WITH_KEYS,
    "llc": "chains=2,draws=2,burn_in=1",
    "commutator_defect": "draws=1",
    "hessian": "top=1,trace_samples=2",
}


@cache
def model_of(task, seed=0):
    config = gi.ModelConfig("mlp-pre", d_model=16, n_heads=2, d_mlp=24)
    return build_model(config, task, seed, "float64")


@cache
def snapshot(task):
    """The end of a run of two checkpoints."""
    start = Snapshot(model_of(task, 1), task, seed=1, epoch=0)

    def other(which):
        return end if which == "final" else start

    end = Snapshot(model_of(task), task, seed=1, epoch=9, others=other)
    return end


def probe(name, options=""):
    return lambda task: ProbeCall.parse(f"{name}:{options}")(snapshot(task))


def of_noise(task):
    return probe("label_noise")(replace(task, label_noise=0.3))


def filtered(name, *arguments):
    def run(task):
        item = getattr(gi.hooks, name)(*arguments)
        with torch.no_grad(), gi.hooks.applied(model_of(task), [item]) as model:
            return {"logits": model(snapshot(task).grid.tokens)[:, -1].numpy()}

    return run


def every_other_intervention(task):
    hook = "blocks.0.attn.hook_z"
    tokens = snapshot(task).grid.tokens
    made = {
        "UnitNorm": ("mlp",),
        "RemoveNorm": ("mlp",),
        "ShuffleNorm": ("mlp",),
        "InsertNorm": ("v", "layer"),
        "CenterOnly": ("mlp",),
        "DropGainAndBias": ("mlp",),
        "FreezeScale": ("mlp",),
        "UniformAttention": (),
        "FrozenPattern": (),
        "Temperature": (2.0,),
        "AblateHead": (1,),
        "AblateNeurons": ((0, 3),),
    }
    ours = {n for n, c in INTERVENTIONS.items() if c.__module__.startswith("grokinterp.")}
    assert {*made, "Patch", "FilterEmbedding", "FilterFrequencies"} == ours
    items = [getattr(gi.hooks, name)(*arguments) for name, arguments in made.items()]
    items.append(gi.hooks.Patch.from_model(hook, model_of(task, 1), tokens))
    found = {}
    for item in items:
        with torch.no_grad(), gi.hooks.applied(model_of(task), [item]) as model:
            found[type(item).__name__] = model(tokens)[:, -1].numpy()
    return found


def picture(draw):
    def run(task):
        assert "<html" in draw(snapshot(task)).html
        return {"drawn": 1.0}

    return run


ROWS = {
    **{f"`{name}`": probe(name, CALLS.get(name, "")) for name in PROBES},
    "`label_noise`": of_noise,
    "`linear_probe:frequencies=()`": probe("linear_probe", "frequencies=()"),
    "`circuits.attention_heads`": picture(lambda shot: circuits.attention_heads(shot, 1, 2)),
    "`circuits.circuit_tables`": picture(circuits.circuit_tables),
    "`circuits.frequency_circles`": picture(lambda shot: circuits.frequency_circles(shot, [1])),
    "`circuits.grid`": picture(circuits.grid),
    "`circuits.logit_attribution`": picture(circuits.logit_attribution),
    "`FilterEmbedding`": filtered("FilterEmbedding", (1,)),
    "`FilterFrequencies`": filtered("FilterFrequencies", "hook_embed", (1,)),
    "every other intervention": every_other_intervention,
}


def outcome(row, task):
    """Whether it gives numbers, and if not, that it says so of this task."""
    try:
        found = ROWS[row](task)
    except ValueError as error:
        found, refusal = {}, error
    if not found:
        assert isinstance(refusal, NotApplicable) or row.startswith("`Filter")
        assert str(task) in str(refusal)
        assert "give it a" in str(refusal)
        return REFUSED
    numbers = np.concatenate([np.ravel(value) for value in found.values()])
    assert np.isfinite(numbers).any()
    return YES


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("row", ROWS)
def test_each_works_or_is_refused_as_the_docs_say(row):
    found = {column: {outcome(row, task) for task in tasks} for column, tasks in COLUMNS.items()}
    assert found == {column: {documented()[row, column]} for column in COLUMNS}


def documented():
    """The table of the docs, by row and kind of task; in the order of both."""
    page = (DOCS / "tasks.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- table tasks -->\n(.*?)<!-- end -->", page, re.DOTALL)
    header, _, *rows = block[1].strip().splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (header, *rows)]
    return {
        (row[0], column): cell
        for row in cells[1:]
        for column, cell in zip(cells[0][1:], row[1:], strict=True)
    }


def test_the_table_has_every_row_and_kind_of_task():
    assert list(documented()) == [(row, column) for row in ROWS for column in COLUMNS]
    arithmetic = {task.operation for tasks in COLUMNS.values() for task in tasks
                  if isinstance(task, ModularTask)}  # fmt: skip
    assert arithmetic == set(OPERATIONS)


APPLICABLE = [row for row in ROWS if row.startswith("`") and "circuits" not in row]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("row", APPLICABLE)
def test_of_a_table_of_addition_each_gives_what_it_gives_of_addition(row):
    """Where it is not refused: nothing in it leans on how the task is told."""
    told, table = ModularTask(5), COLUMNS["`TableTask`"][1]
    if documented()[row, "`TableTask`"] == REFUSED:
        return
    expected, found = ROWS[row](told), ROWS[row](table)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
