"""Options as text, wherever they are written: `name:value,option=value` and `field=value,value`.

A value is a Python literal, or true, false and none in any case, or else the text itself.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any


def parse_call(text: str) -> tuple[str, str]:
    """The name, and its options as they are written.

    >>> parse_call("ablate_neurons:(1,2),kind=mean")
    ('ablate_neurons', '(1,2),kind=mean')
    """
    name, _, options = text.partition(":")
    return name.strip(), options


def parse_options(text: str, by_position: Sequence[str]) -> dict[str, str]:
    """What is written for each option, by position first, then by name.

    >>> parse_options("(1,2),kind=mean", ["neurons", "kind", "layer"])
    {'neurons': '(1,2)', 'kind': 'mean'}

    Raises:
        ValueError: A value has no place, or an option is given twice.
    """
    options: dict[str, str] = {}
    for position, part in enumerate(split_at_commas(text)):
        name, equals, written = part.partition("=")
        if not equals:
            if len(options) != position or position >= len(by_position):
                raise ValueError(f"cannot place {part.strip()!r}")
            name, written = by_position[position], part
        if name.strip() in options:
            raise ValueError(f"{name.strip()} is given twice")
        options[name.strip()] = written.strip()
    return options


def parse_field(text: str, takes: str) -> tuple[str, str]:
    """A field and what is written for it.

    >>> parse_field("seed = 456", "--where takes field=value")
    ('seed', '456')

    Raises:
        ValueError: With what an option `takes`, where there is no field or no value.
    """
    name, _, written = text.partition("=")
    if not name.strip() or not written.strip():
        raise ValueError(f"{takes}; got {text!r}")
    return name.strip(), written.strip()


def parse_value(text: str) -> Any:
    """
    >>> parse_value("(1, 2)"), parse_value("None"), parse_value("false"), parse_value("mean")
    ((1, 2), None, False, 'mean')
    """
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def split_at_commas(text: str) -> list[str]:
    """The parts between the commas that no bracket holds.

    >>> split_at_commas("1,(2,3),a=[4,5]")
    ['1', '(2,3)', 'a=[4,5]']
    """
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part.strip()]
