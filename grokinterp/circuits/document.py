"""HTML from the templates beside the code: what they are given is escaped, and no page loads
anything."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

# A name that a template misspells is an error, and not an empty place in the page.
TEMPLATES = Environment(
    loader=PackageLoader("grokinterp", ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(template: str, **values: Any) -> Markup:
    """A template by its path in the package, as `circuits/page.html`, filled with these values."""
    return Markup(TEMPLATES.get_template(template).render(values))


def document(title: str, body: Markup, kinds: Collection[str]) -> str:
    """A page with this body, and the scripts that draw pictures of these kinds in it."""
    circuitsvis = _circuitsvis() if "attention" in kinds else None
    page = render("circuits/document.html", title=title, body=body, circuitsvis=circuitsvis)
    return str(page)  # Markup adds text to itself escaped.


def script_json(data: Any) -> Markup:
    """JSON for a script element, which no `<` in it can end."""
    return htmlsafe_json_dumps(data, separators=(",", ":"))


def source(path: str) -> Markup:
    """A style or a script of the package, by its path there, as it is."""
    return Markup((files("grokinterp") / path).read_text(encoding="utf-8"))


TEMPLATES.globals["source"] = source


@cache
def _circuitsvis() -> Markup:
    """CircuitsVis's own script, fit to stand inside a page."""
    bundle = (files("circuitsvis") / "dist" / "cdn" / "iife.js").read_text(encoding="utf-8")
    # Developer tools would fetch the source map, which is not beside the page.
    bundle = bundle.replace("//# sourceMappingURL=iife.js.map", "")
    return Markup(bundle.replace("</script", "<\\/script"))
