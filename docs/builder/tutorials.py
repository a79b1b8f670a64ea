"""The notebooks as pages: their cells, and the outputs that are committed with them.

Nothing is run here: that the outputs are those of a run is held by tests/test_notebooks.py.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
STYLE = re.compile(r"<style.*?</style>\s*", re.DOTALL)
TABLE = re.compile(r"<table[^>]*>")
FRAME = re.compile(r'<iframe srcdoc="(.*?)"', re.DOTALL)


def tutorials() -> Iterator[tuple[str, str | bytes]]:
    """Each notebook's page, the files that it shows, and the notebook itself, by their paths."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        content = path.read_text(encoding="utf-8")
        page, files = rendered(json.loads(content), path.stem)
        yield f"tutorials/{path.stem}.md", page
        yield f"tutorials/{path.name}", content
        for name, file in files.items():
            yield f"tutorials/{name}", file


def rendered(notebook: dict[str, Any], name: str) -> tuple[str, dict[str, str | bytes]]:
    """The page, and its pictures by their paths beside it."""
    files: dict[str, str | bytes] = {}
    title, *rest = notebook["cells"]
    about = f"*This is [`notebooks/{name}.ipynb`]({name}.ipynb), as it was run.*"
    parts = [joined(title["source"]), f"{about}\n{{ .notebook }}"]
    for cell in rest:
        if cell["cell_type"] == "markdown":
            parts.append(joined(cell["source"]))
        elif cell["cell_type"] == "code":
            parts.append(fenced(joined(cell["source"]), ".python"))
            parts += [shown(output, name, files) for output in gathered(cell["outputs"])]
    return "\n\n".join(parts), files


def gathered(outputs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The outputs, with what was printed in several pieces as one."""
    printed = [joined(one["text"]) for one in outputs if one["output_type"] == "stream"]
    if printed:
        yield {"data": {"text/plain": "".join(printed)}}
    yield from (one for one in outputs if one["output_type"] != "stream")


def shown(output: dict[str, Any], name: str, files: dict[str, str | bytes]) -> str:
    """An output in Markdown: a picture, an interactive one, a table or text."""
    data = {kind: joined(content) for kind, content in output["data"].items()}
    place = f"{name}/{len(files) + 1}"
    if "image/png" in data:
        files[f"{place}.png"] = base64.b64decode(data["image/png"])
        return f"![The figure that this cell draws]({place}.png)"
    if frame := FRAME.search(data.get("text/html", "")):
        # A file of its own, which a browser loads once it is in sight.
        files[f"{place}.html"] = html.unescape(frame[1])
        return (
            f'<iframe class="picture" src="{place}.html" loading="lazy" '
            'title="The picture that this cell draws"></iframe>'
        )
    if "text/html" in data:
        # The site's own look, not pandas'.
        table = TABLE.sub("<table>", STYLE.sub("", data["text/html"]))
        return "\n".join(line for line in table.splitlines() if line.strip())
    return fenced(data["text/plain"].rstrip("\n"), ".text .output")


def fenced(text: str, classes: str) -> str:
    return f"```` {{ {classes} }}\n{text}\n````"


def joined(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)
