"""The notebooks run from start to end in a fresh kernel, and what is committed is such a run."""

import ast
import json
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
from hang import PATIENT

with warnings.catch_warnings():
    # It asks for a newer way to find folders, which its own dependencies choose.
    warnings.simplefilter("ignore")
    import nbformat
    from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 3_000_000
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
PLACES = (str(FOLDER.parent), tempfile.gettempdir(), os.path.expanduser("~"), sys.prefix)
PATH = re.compile("|".join(re.escape(place) + r"[/\\]" for place in PLACES) + r"|(?:/home|/Users)/")
ANSWER = re.compile(r"<details.*?^```python\n(.*?)^```$.*?</details>", re.DOTALL | re.MULTILINE)
WARNING = re.compile(r"\w*Warning\b|Traceback|\bwarnings?\.warn")


def named(path):
    return path.stem


def test_every_notebook_is_here():
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{i:02}" for i in range(1, 9)]


def run_time(path):
    """One runs among the quick tests; the others train or probe for minutes."""
    return path if path.stem.startswith("02") else pytest.param(path, marks=pytest.mark.slow)


@pytest.mark.parametrize("path", [run_time(path) for path in NOTEBOOKS], ids=named)
def test_it_runs_and_shows_what_is_committed(path, tmp_path):
    committed, fresh = read(path), read(path)
    cells = list(fresh.cells)
    for cell in code(fresh):
        cell.outputs = []
    fresh.cells += [nbformat.v4.new_code_cell(answer) for answer in answers(fresh)]
    with warnings.catch_warnings():
        # The kernel runs in a process of its own: these are about the tools that start it.
        warnings.simplefilter("ignore")
        NotebookClient(
            fresh,
            kernel_name="python3",
            **PATIENT,
            resources={"metadata": {"path": str(tmp_path)}},
        ).execute()
    assert said_too_much(fresh) == []
    fresh.cells = cells
    # Figures are where they were, and nothing that was shown is gone.
    assert shown(fresh) == shown(committed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_what_is_committed_is_one_whole_run(path):
    notebook = read(path)
    counts = [cell.execution_count for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert said_too_much(notebook) == []
    assert [
        cell.source for cell in code(notebook) if draws(notebook, cell) and not image(cell)
    ] == []
    assert any(image(cell) for cell in code(notebook))
    assert (notebook.cells[0].cell_type, notebook.cells[-1].cell_type) == ("markdown", "markdown")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_it_says_how_to_run_it_and_ends_with_two_exercises_whose_answers_run(path):
    first, last = read(path).cells[0].source, read(path).cells[-1].source
    assert f"*Run it:* `make notebooks`, then `{path.name}`" in first
    assert last.startswith("## Exercises\n")
    assert len(answers(read(path))) == last.count("<details") == last.count("</details>") == 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_the_file_is_small_and_knows_no_machine(path):
    notebook = read(path)
    assert notebook.metadata == METADATA
    assert [cell.metadata for cell in notebook.cells if cell.metadata] == []
    for cell in code(notebook):
        assert len(json.dumps(cell.outputs)) < LARGEST
    # Encoded pictures are letters by chance; the rest is text.
    text = re.sub(r'"image/png": "[^"]*"', "", path.read_text(encoding="utf-8"))
    assert PATH.findall(text) == []


def test_these_checks_find_what_they_look_for():
    cells = [
        nbformat.v4.new_code_cell(
            "from grokinterp import circuits\n"
            "from grokinterp.figures.learning import learning_curves\n"
            "def compare(x):\n    return learning_curves(x)"
        ),
        nbformat.v4.new_code_cell("compare(1)"),
        nbformat.v4.new_code_cell("circuits.grid(model)"),
        nbformat.v4.new_code_cell("parts = circuits.direct_logit_attribution(model)\nlen(parts)"),
        nbformat.v4.new_code_cell(
            "1", outputs=[nbformat.v4.new_output("stream", name="stderr", text="hm")]
        ),
        nbformat.v4.new_code_cell(
            "2", outputs=[nbformat.v4.new_output("stream", text="x.py:1: UserWarning: old")]
        ),
        nbformat.v4.new_code_cell("3", outputs=[nbformat.v4.new_output("error", ename="E")]),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    assert [draws(notebook, cell) for cell in cells] == [False, True, True, *[False] * 4]
    assert len(said_too_much(notebook)) == 3
    assert PATH.search(f"{FOLDER.parent}/runs")
    assert not any(map(image, cells))


def read(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def answers(notebook):
    """The Python of the hidden answers, which continues the notebook."""
    return ANSWER.findall(notebook.cells[-1].source)


def said_too_much(notebook):
    """What a reader should not see: errors, stderr, warnings, progress bars."""
    found = []
    for cell in code(notebook):
        for output in cell.outputs:
            text = output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
            bad = output.output_type == "error" or output.get("name") == "stderr"
            if bad or WARNING.search(text) or "\r" in text:
                found.append((cell.source, output))
    return found


def shown(notebook):
    """The kinds of output of each cell."""
    return [
        [
            sorted(output.get("data", {})) + ["picture"] * is_picture(output)
            for output in cell.outputs
            if output.output_type != "stream"
        ]
        for cell in code(notebook)
    ]


def image(cell):
    return any(map(is_picture, cell.outputs))


def is_picture(output):
    """A PNG that is more than a blank page, or a circuit's frame."""
    data = output.get("data", {})
    return len(data.get("image/png", "")) > 4000 or "<iframe srcdoc=" in data.get("text/html", "")


def draws(notebook, cell):
    """Whether the cell's last line is a picture, by the functions that it calls."""
    makers = drawing_names(notebook)
    *_, last = ast.parse(plain(cell)).body or [None]
    if not isinstance(last, ast.Expr):
        return False
    if isinstance(last.value, ast.Name):
        return last.value.id == "figure"
    if not isinstance(last.value, ast.Call):
        return False
    called = last.value.func
    of_circuits = (
        isinstance(called, ast.Attribute) and getattr(called.value, "id", "") == "circuits"
    )
    return of_circuits or getattr(called, "id", None) in makers


def drawing_names(notebook):
    """Functions imported from grokinterp.figures, and the notebook's own that return one's call."""
    trees = [node for cell in code(notebook) for node in ast.walk(ast.parse(plain(cell)))]
    names = {
        alias.asname or alias.name
        for node in trees
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("grokinterp.figures")
        for alias in node.names
    }
    for node in trees:
        if isinstance(node, ast.FunctionDef):
            returned = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
            if any(
                isinstance(one, ast.Call) and getattr(one.func, "id", None) in names
                for one in returned
            ):
                names.add(node.name)
    return names


def plain(cell):
    """The cell's Python, without magics."""
    return "\n".join(line for line in cell.source.split("\n") if not line.startswith("%"))
