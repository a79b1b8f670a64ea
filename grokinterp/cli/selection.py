"""Which runs a command is about."""

from __future__ import annotations

import ast
from typing import Any

STORE = "runs"


def condition(text: str) -> tuple[str, Any]:
    """`seed=456` as ("seed", 456)."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--where takes field=value, such as placement=mlp-pre; got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
