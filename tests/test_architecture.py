"""Imports go one way, as DESIGN draws them, and describing a run needs nothing heavy."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A module imports from lower rows only. A package is one place: its files may import each other.
ROWS = [
    {"checks", "definition", "failure", "confidence_interval", "jupyter", "options", "user_files"},
    {"registry"},
    {"component"},
    {
        *("custom_loss", "gradient_filter", "hooks", "optimizer_path", "placement", "schedule"),
        "task",
    },
    {"figures"},
    {"config"},
    {"grokking", "loss", "model"},
    {"inputs"},
    {"snapshot"},
    {"importers", "probes"},
    {"store"},
    {"ablation", "circuits", "results"},
    {"audit", "tracking", "training"},
    {"sweep"},
    {"reproduction"},
    {"experiments"},
    {"pretrained"},
    {"report"},
    {"cli"},
]
ROW = {place: row for row, places in enumerate(ROWS) for place in places}


@cache
def sources() -> dict[str, Path]:
    """Every module but the package's own `__init__`, which gathers the public names."""
    files = {
        path.relative_to(ROOT / "grokinterp"): path for path in ROOT.glob("grokinterp/**/*.py")
    }
    files |= {path.relative_to(ROOT): path for path in ROOT.glob("hooks/**/*.py")}
    return {
        ".".join(name.with_suffix("").parts): path
        for name, path in files.items()
        if name != Path("__init__.py")
    }


def places_imported(source: str) -> set[str]:
    """The places of grokinterp that this code imports, wherever in it, by any form of import."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "grokinterp" and part[1:] and part[1] in ROW}


def violations(module: str, source: str) -> set[str]:
    place = module.split(".")[0]
    return {
        other for other in places_imported(source) if other != place and ROW[other] >= ROW[place]
    }


@pytest.mark.parametrize(
    # Nothing imports an entry point, so it may import anything.
    "module",
    [module for module in sources() if not module.endswith("__main__")],
)
def test_imports_go_one_way(module: str) -> None:
    assert module.split(".")[0] in ROW, f"give {module} a row in ROWS"
    assert violations(module, sources()[module].read_text()) == set()


def test_no_files_import_each_other() -> None:
    """Nor in a circle of more, nor where only types are checked."""
    imported = {module: modules_imported(path.read_text()) for module, path in sources().items()}
    sorter = TopologicalSorter({module: of - {module} for module, of in imported.items()})
    sorter.prepare()


def modules_imported(source: str) -> set[str]:
    """Those of grokinterp: the files whose names the code imports, or whose contents it does."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            paths = [".".join(parts[1:end]) for end in range(len(parts), 1, -1)]
            files = [file for path in paths for file in (path, f"{path}.__init__")]
            if parts[0] == "grokinterp":
                found.add(next((file for file in files if file in sources()), ""))
    return found - {""}


def test_a_file_that_a_module_names_is_there() -> None:
    """Beside it, or by its path from the root."""
    for path in sources().values():
        about = ast.get_docstring(ast.parse(path.read_text())) or ""
        for name in re.findall(r"[\w/]+\.py\b", about):
            assert (path.parent / name).exists() or (ROOT / name).exists(), (path, name)


def test_the_modules_are_found() -> None:
    expected = {
        "config.run",
        "model.build",
        "training.forward",
        "hooks.ln",
        "hooks.__init__",
        "figures.__init__",
    }
    assert expected <= set(sources())


@pytest.mark.parametrize(
    ("module", "code", "expected"),
    [
        ("task", "import grokinterp.config", {"config"}),
        ("hooks.ln", "def f():\n    from grokinterp.model.build import build_model", {"model"}),
        ("loss", "from grokinterp import model", {"model"}),
        ("figures.style", "from grokinterp.figures.learning import f", set()),
        ("store.runs", "from grokinterp.config import RunConfig\nimport torch", set()),
    ],
)
def test_a_wrong_import_is_seen(module: str, code: str, expected: set[str]) -> None:
    assert violations(module, code) == expected


@pytest.mark.parametrize("module", ["grokinterp", "grokinterp.config", "grokinterp.hooks"])
def test_describing_a_run_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "grokinterp" in loaded
    heavy = {"torch", "pandas", "numpy", "matplotlib", "transformer_lens", "transformers"}
    assert heavy.isdisjoint(loaded)


def test_reading_a_store_loads_no_transformer_lens() -> None:
    modules = ("grokinterp.store.run_tables", "grokinterp.reproduction.verdicts")
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert {*modules} <= {*loaded}
    assert "transformer_lens" not in loaded


def test_the_wheel_takes_every_package_and_every_file_in_it():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for path in ROOT.glob("grokinterp/**/*"):
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        package = next(".".join(p.relative_to(ROOT).parts) for p in path.parents if is_package(p))
        assert package in setuptools["packages"], path
        globs = setuptools["package-data"].get(package, [])
        assert path.suffix == ".py" or any(path.match(glob) for glob in globs), path


def test_the_version_is_the_same_wherever_it_stands():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for file in ("grokinterp/__init__.py", "CITATION.cff", "README.md"):
        said = re.findall(r"^[\W_]*version[\W_]+(\d[\d.]*\d)", (ROOT / file).read_text(), re.M)
        assert set(said) == {version}, file


def is_package(folder: Path) -> bool:
    return (folder / "__init__.py").exists()
