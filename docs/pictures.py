"""Draw the pictures of docs/figures.md by running its code: python docs/pictures.py.

It takes a minute, most of it for the training of the page's run, in a store that goes afterwards.
Each block of code that ends in a figure is named by the picture that stands below it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import chdir
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from grokinterp.figures.figure import Figure

DOCS = Path(__file__).parent
PAGE = DOCS / "figures.md"
BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n!\[[^\]]+\]\((pictures/\w+\.png)\))?", re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    """Each block of code, and the picture below it; empty where there is none.

    >>> blocks("```python\\nx = 1\\n```\\n\\n```python\\nx\\n```\\n\\n![A](pictures/a.png)")
    [('x = 1\\n', ''), ('x\\n', 'pictures/a.png')]
    """
    return BLOCK.findall(page)


def drawn(page: str) -> Iterator[tuple[str, Figure]]:
    """Each picture by its path, from the page's code; trains in the current folder."""
    names: dict[str, Any] = {}
    for code, picture in blocks(page):
        *before, last = ast.parse(code).body
        if not picture:
            exec(code, names)
            continue
        exec(compile(ast.Module(before, []), str(PAGE), "exec"), names)
        if not isinstance(last, ast.Expr):
            raise ValueError(f"the code above {picture} must end in its figure")
        figure = eval(compile(ast.Expression(last.value), str(PAGE), "eval"), names)
        if not isinstance(figure, Figure):
            raise ValueError(f"the code above {picture} must give a figure; got {figure!r}")
        yield picture, figure


def png(figure: Figure) -> bytes:
    """As a notebook shows it."""
    return small(figure._repr_png_()[0])


def small(png: bytes) -> bytes:
    """The same in the 256 colours nearest to its own: a third of the bytes."""
    file = BytesIO()
    colours = Image.open(BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    colours.save(file, format="png", optimize=True)
    return file.getvalue()


if __name__ == "__main__":
    with TemporaryDirectory() as folder, chdir(folder):
        for path, figure in drawn(PAGE.read_text(encoding="utf-8")):
            (DOCS / path).write_bytes(png(figure))
            print(f"{(DOCS / path).stat().st_size / 1000:4.0f} kB {path}")
