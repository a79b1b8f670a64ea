"""The example of the README runs, and tables and sentences say what ships."""

import doctest
import re
from pathlib import Path

import pytest
from shipped import SHIPPED

DOCS = Path(__file__).parents[1] / "docs"
README = DOCS.parent / "README.md"
# These take from seconds to minutes for each model.
SLOW = {"cka", "commutator_defect", "hessian", "linear_probe", "llc", "ntk", "weight_spectra"}


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """What fills the pages can be imported, and reads no run that was read before."""
    monkeypatch.syspath_prepend(DOCS)
    import tables

    monkeypatch.setattr(tables, "READ", SHIPPED)


@pytest.mark.usefixtures("unchecked")  # Reading every run takes twice as long with the checks.
def test_tables_are_those_of_the_runs_that_ship():
    from tables import PAGES, TABLES, filled

    pages = [path.read_text() for path in PAGES]
    assert [filled(page) for page in pages] == pages, "run python docs/tables.py"
    assert sorted(blocks()) == sorted([*TABLES, "probes"])


def test_probe_values_are_those_of_the_models_that_ship():
    from probes import ROWS, table

    quick = [row for row in ROWS if not is_slow(row[0])]
    head, lines = parsed(blocks()["probes"])
    made_head, made = parsed(table(quick))
    assert made_head == head
    named = [probe.replace(":other={before}", "") for probe, _, _ in ROWS]
    assert [line[0] for line in lines] == [f"`{name}`" for name in named]
    kept = [line for line in lines if not is_slow(line[0].strip("`"))]
    for line, made_line in zip(kept, made, strict=True):
        assert line[:2] == made_line[:2]
        for one, other in zip(line[2:], made_line[2:], strict=True):
            # Rounding on another machine may end on the other side of a digit.
            assert one == other or number(one) == pytest.approx(number(other), rel=0.02, abs=0.01)


@pytest.mark.usefixtures("unchecked")
def test_ln_before_the_mlp_generalises_first_in_every_seed():
    from tables import done

    assert "LN before the MLP first, in every one" in README.read_text()
    epochs: dict[int, dict[str, float]] = {}
    for planned, run in done("ln-position"):
        of_seed = epochs.setdefault(planned.config.seed, {})
        of_seed[planned.label] = run.grokking.generalised.by or float("inf")
    assert len(epochs) == 11
    for of_seed in epochs.values():
        assert of_seed.pop("mlp-pre") < min(of_seed.values())
        assert len(of_seed) == 3


@pytest.mark.slow
def test_the_python_example_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [example] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict = {}
    exec(example, names)
    assert names["run"].metrics["test_accuracy"].iloc[-1] >= 0.995


def test_numbers_are_written_to_three_digits():
    import probes

    assert doctest.testmod(probes).attempted
    assert not doctest.testmod(probes).failed


def blocks():
    """What stands in each table of the pages, by name."""
    from tables import BLOCK, PAGES

    found = [match for path in PAGES for match in BLOCK.findall(path.read_text())]
    assert len({name for _, name, _, _ in found}) == len(found)
    return {name: content for _, name, content, _ in found}


def parsed(table):
    """The cells of its head, and those of its lines."""
    head, _, *lines = (line[1:-1].split("|") for line in table.strip().split("\n"))
    return strip(head), list(map(strip, lines))


def strip(cells):
    return [cell.strip() for cell in cells]


def is_slow(probe):
    return probe.partition(":")[0] in SLOW


def number(written):
    return float(written.replace(",", ""))
