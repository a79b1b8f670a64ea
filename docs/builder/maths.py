"""Formulas as MathML, which browsers draw themselves: no script, no font, nothing to load."""

from __future__ import annotations

import re

from latex2mathml.converter import convert

# Code comes first, so that a dollar in it begins no formula.
FORMULA = re.compile(
    r"(?P<code>^(?P<fence>`{3,}).*?^(?P=fence)$|`[^`\n]*`)"
    r"|\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$]+?)\$",
    re.DOTALL | re.MULTILINE,
)

APPLIED = re.compile(r"(<mi>(?:cos|exp|ln|sin)</mi>)(?=<m(?!o))")


def typeset(page: str) -> str:
    """A page in Markdown with its formulas, $…$ in a line and $$…$$ on their own, drawn."""

    def drawn(found: re.Match[str]) -> str:
        if found["code"]:
            return found["code"]
        if found["inline"]:
            # In a span, because Markdown takes math at the start of a line for a paragraph.
            return f"<span>{mathml(found['inline'])}</span>"
        return f'<div class="formula">{mathml(found["block"], display="block")}</div>'

    return FORMULA.sub(drawn, page)


def mathml(tex: str, display: str = "inline") -> str:
    """A formula, with the space that stands between a function and what it is of."""
    spaced = r"\1<mspace width=\"0.17em\" />"
    return APPLIED.sub(spaced, convert(tex, display=display))
