"""Write what the site is built from: python docs/builder FOLDER.

FOLDER/pages gets the pages in Markdown and the files that they show, FOLDER/package the code whose
docstrings they show. What is written by hand is in docs/; a line `{{ name: argument }}` there is
replaced by what `directives` makes of it.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from inspect import getmembers, isfunction
from pathlib import Path
from pkgutil import iter_modules

from hook_points import hook_table, optional_hooks, reads_table
from maths import typeset
from sections import ROOT, relinked, section
from tutorials import tutorials

import grokinterp.figures
from grokinterp import PROBES

DOCS = ROOT / "docs"
DIRECTIVE = re.compile(r"^\{\{ ([\w-]+)(?:: (.+?))? \}\}$", re.MULTILINE)
NOT_SHOWN = shutil.ignore_patterns("*.py", "*.csv", "*.pdf", "*.md", "builder", "__pycache__")


def write_pages(folder: Path) -> None:
    """All of them, and nothing that was in the folder before."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DOCS, folder, ignore=NOT_SHOWN)
    for path in sorted(DOCS.rglob("*.md")):
        page = path.relative_to(DOCS).as_posix()
        write(folder / page, typeset(filled(path.read_text(encoding="utf-8"), page)))
    for name, content in tutorials():
        write(folder / name, typeset(content) if name.endswith(".md") else content)


def copy_package(folder: Path) -> None:
    """The code whose docstrings the site shows, as setuptools lays it out."""
    shutil.rmtree(folder, ignore_errors=True)
    no_code = shutil.ignore_patterns("*.parquet", "*.safetensors", "*.json", "__pycache__")
    shutil.copytree(ROOT / "grokinterp", folder / "grokinterp", ignore=no_code)
    shutil.copytree(ROOT / "hooks", folder / "grokinterp" / "hooks", ignore=no_code)


def filled(text: str, page: str) -> str:
    """A page's text with what it asks for, and its links."""
    directives: dict[str, Callable[[str], str]] = {
        "section": lambda of: section(*of.split(": ", 1), page),
        "probe": probe,
        "hooks": lambda _: hook_table(),
        "optional-hooks": lambda _: optional_hooks(),
        "reads": lambda _: reads_table(),
        "figures": lambda _: figures(),
    }
    text = relinked(text, f"docs/{page.rpartition('/')[0]}", page)
    return DIRECTIVE.sub(lambda asked: directives[asked[1]](asked[2]), text)


def probe(name: str) -> str:
    """A probe's docstring, wherever its function is."""
    function = PROBES[name]
    return (
        f"::: {function.__module__}.{function.__qualname__}\n"
        "    options:\n      show_root_heading: false\n      show_root_toc_entry: false"
    )


def figures() -> str:
    """Every function of grokinterp.figures that draws one."""
    names = [
        f"{module}.{name}"
        for _, module, _ in iter_modules(grokinterp.figures.__path__, "grokinterp.figures.")
        for name, function in getmembers(import_module(module), isfunction)
        if function.__module__ == module and function.__annotations__.get("return") == "Figure"
    ]
    return "\n".join(f"::: {name}\n    options:\n      show_root_full_path: true" for name in names)


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]) / "pages")
    copy_package(Path(sys.argv[1]) / "package")
