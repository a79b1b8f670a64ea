"""HTML around pictures: one file with its data, scripts and styles, which loads nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grokinterp.circuits.picture import Picture

# The browser itself refuses whatever would leave the page.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)


def document(title: str, body: str, pictures: Sequence[Picture]) -> str:
    """A page with this body, and the scripts that draw these pictures in it."""
    scripts = [_resource("circuits.js")]
    if any(picture.kind == "attention" for picture in pictures):
        scripts.insert(0, _circuitsvis())
    drawn_by = "\n".join(f"<script>{script}</script>" for script in scripts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_resource("circuits.css")}</style>
</head>
<body>
<main>
{body}
</main>
{drawn_by}
</body>
</html>
"""


def figure(picture: Picture) -> str:
    """A picture's title, caption and data, and the place where the script draws it."""
    frames = [asdict(frame) for frame in picture.frames]
    data = json.dumps({"kind": picture.kind, "frames": frames}, separators=(",", ":"))
    # A `<` could end the script element; JSON lets it be written otherwise.
    data = data.replace("<", "\\u003c")
    return f"""<figure>
<figcaption>{element("h3", picture.title)}{element("p", picture.caption)}</figcaption>
<div class="drawing {picture.kind}"></div>
<script type="application/json">{data}</script>
</figure>"""


def element(tag: str, text: str) -> str:
    """An element with this text, escaped; nothing if there is none."""
    return f"<{tag}>{escape(text)}</{tag}>" if text else ""


@cache
def _resource(name: str) -> str:
    return (files("grokinterp.circuits") / name).read_text(encoding="utf-8")


@cache
def _circuitsvis() -> str:
    """CircuitsVis's own script, fit to stand inside a page."""
    bundle = (files("circuitsvis") / "dist" / "cdn" / "iife.js").read_text(encoding="utf-8")
    # Developer tools would fetch the source map, which is not beside the page.
    bundle = bundle.replace("//# sourceMappingURL=iife.js.map", "")
    return bundle.replace("</script", "<\\/script")
