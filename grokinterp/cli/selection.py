"""Which runs a command is about."""

from __future__ import annotations

from typing import Any

from grokinterp.hooks.intervention import parse_value

STORE = "runs"


def condition(text: str) -> tuple[str, Any]:
    """`seed=456` as ("seed", 456)."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--where takes field=value, such as placement=mlp-pre; got {text!r}")
    return name, parse_value(value)
