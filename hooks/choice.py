"""What an intervention chose of several, and random controls of the same size."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grokinterp.hooks.intervention import Intervention
    from transformer_lens import HookedTransformer


@dataclass(frozen=True)
class Choice:
    """A field of an intervention names some of several like things."""

    field: str
    """Holds one index, or a tuple of them."""
    what: str
    """Heads, neurons, frequencies."""
    candidates: range
    layer: int | None = None


def random_controls(
    interventions: Sequence[Intervention], model: HookedTransformer, seed: int = 0
) -> list[Intervention] | None:
    """The same interventions on as many others, drawn without replacement by the seed alone.

    None of the others is chosen by any of the interventions, so that together they have the same
    size. One that chose nothing among several, such as a whole pathway, stays as it is; None if
    none of them chose. ValueError where too few others are left.
    """
    choices = [item.choice(model) for item in interventions]
    if not any(choices):
        return None
    taken: dict[tuple[str, int | None], set[int]] = {}
    candidates: dict[tuple[str, int | None], range] = {}
    for item, choice in zip(interventions, choices, strict=True):
        if choice is not None:
            kind = (choice.what, choice.layer)
            taken.setdefault(kind, set()).update(_indices(item, choice))
            candidates[kind] = choice.candidates
    generator = random.Random(seed)
    left: dict[tuple[str, int | None], list[int]] = {}
    for kind, chosen in taken.items():
        others = sorted(set(candidates[kind]) - chosen)
        if len(others) < len(chosen):
            raise ValueError(
                f"no control of the same size: {len(chosen)} of {len(candidates[kind])} {kind[0]} "
                f"are chosen, which leaves {len(others)} others"
            )
        left[kind] = generator.sample(others, len(chosen))
    controls = []
    for item, choice in zip(interventions, choices, strict=True):
        if choice is None:
            controls.append(item)
            continue
        pool, size = left[choice.what, choice.layer], len(_indices(item, choice))
        drawn, left[choice.what, choice.layer] = pool[:size], pool[size:]
        many = isinstance(getattr(item, choice.field), tuple)
        controls.append(replace(item, **{choice.field: tuple(sorted(drawn)) if many else drawn[0]}))
    return controls


def _indices(item: Intervention, choice: Choice) -> tuple[int, ...]:
    value = getattr(item, choice.field)
    return value if isinstance(value, tuple) else (value,)
