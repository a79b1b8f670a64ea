"""The page of figures by example: each function, code that draws it, and the picture it draws."""

import doctest
import io
from importlib import import_module
from inspect import getmembers, isfunction
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pytest
from PIL import Image

import grokinterp.figures

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "figures.md"
# Of a run that is trained on the spot, whose curves another processor's rounding moves.
TRAINED = {"attention_entropy", "spectrum_evolution", "progress_measures", "ntk_distance"}
PHOTOGRAPHS = {"circuit", "report"}


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """What draws the pictures can be imported."""
    monkeypatch.syspath_prepend(DOCS)


def examples():
    """The code above each picture, by the picture's name."""
    from pictures import blocks

    found = [(Path(picture).stem, code) for code, picture in blocks(PAGE.read_text()) if picture]
    assert len(dict(found)) == len(found)
    return dict(found)


def test_every_figure_has_an_example_that_is_named_as_it_is():
    modules = [
        import_module(f"grokinterp.figures.{one.name}")
        for one in iter_modules(grokinterp.figures.__path__)
    ]
    functions = {
        name: module.__name__
        for module in modules
        for name, function in getmembers(module, isfunction)
        if function.__module__ == module.__name__
        and function.__annotations__.get("return") == "Figure"
    }
    assert sorted(examples()) == sorted(functions)
    for name, code in examples().items():
        [imported] = [line for line in code.splitlines() if line.startswith("from ")]
        assert imported.startswith(f"from {functions[name]} import ")
        assert imported.endswith(f" {name}")


def test_every_picture_is_there_and_small():
    sizes = {path.stem: path.stat().st_size for path in (DOCS / "pictures").iterdir()}
    assert set(sizes) == {*examples(), *PHOTOGRAPHS}
    assert [name for name, size in sizes.items() if size > 150_000] == []


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_the_code_draws_the_pictures(tmp_path, monkeypatch):
    from pictures import drawn, png

    monkeypatch.chdir(tmp_path)
    made = {Path(path).stem: png(figure) for path, figure in drawn(PAGE.read_text())}
    assert sorted(made) == sorted(examples())
    for name in sorted(made.keys() - TRAINED):
        one, other = pixels(made[name]), pixels((DOCS / "pictures" / f"{name}.png").read_bytes())
        assert one.shape == other.shape, f"{name}: run python docs/pictures.py"
        assert np.abs(one - other).mean() < 1, f"{name}: run python docs/pictures.py"


def test_another_picture_is_told_from_the_same():
    one, other = (
        pixels((DOCS / "pictures" / f"{name}.png").read_bytes())
        for name in ("progress_measures", "attention_entropy")
    )
    height = min(len(one), len(other))
    assert np.abs(one[:height] - other[:height]).mean() > 1


def test_code_that_gives_no_figure_is_refused():
    from pictures import drawn

    picture = "\n\n![A](pictures/a.png)"
    with pytest.raises(ValueError, match=r"above pictures/a\.png must give a figure; got 1"):
        list(drawn(f"```python\n1\n```{picture}"))
    with pytest.raises(ValueError, match="must end in its figure"):
        list(drawn(f"```python\nx = 1\n```{picture}"))


def test_the_examples_of_the_script_are_true():
    import pictures

    found = doctest.testmod(pictures)
    assert found.attempted
    assert not found.failed


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=float)
