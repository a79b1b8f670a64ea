"""What an intervention chose of several, and random controls of the same size."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from math import comb, prod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer

FEW = 10_000
"""Controls that are all enumerated, rather than drawn until enough of them differ."""


@dataclass(frozen=True)
class Choice:
    """A field of an intervention names some of several like things."""

    field: str
    """Holds one index, or a tuple of them."""
    what: str
    """Heads, neurons, frequencies."""
    candidates: range
    layer: int | None = None

    @property
    def kind(self) -> Kind:
        return self.what, self.layer


@runtime_checkable
class Chooses(Protocol):
    """A frozen dataclass that may have chosen some of several like things."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def choice(self, model: HookedTransformer) -> Choice | None: ...


T = TypeVar("T", bound=Chooses)


def random_controls(
    interventions: Sequence[T], model: HookedTransformer, seed: int = 0
) -> list[T] | None:
    """The same interventions on as many others, drawn without replacement.

    None of the others is chosen by any of the interventions, so that together they have the same
    size. One that chose nothing among several, such as a whole pathway, stays as it is.

    Args:
        interventions: They act together.
        model: Whose others there are.
        seed: Draws them, alone.

    Returns:
        None if none of them chose.

    Raises:
        ValueError: Too few others are left.
    """
    choices = [item.choice(model) for item in interventions]
    if not any(choices):
        return None
    generator = random.Random(seed)
    groups, others = _groups(interventions, choices), _others(interventions, choices)
    drawn = {kind: generator.sample(others[kind], _total(of)) for kind, of in groups.items()}
    return _replaced(interventions, choices, groups, drawn)


def distinct_controls(
    interventions: Sequence[T], model: HookedTransformer, count: int, seed: int = 0
) -> list[list[T]]:
    """Up to `count` random controls, no two alike: all that there are, where these are fewer.

    Each is one that `random_controls` may draw; none where it gives none.

    Args:
        interventions: They act together.
        model: Whose others there are.
        count: How many.
        seed: Draws them.

    Raises:
        ValueError: Too few others are left.
    """
    choices = [item.choice(model) for item in interventions]
    if not any(choices):
        return []
    groups, others = _groups(interventions, choices), _others(interventions, choices)
    every: Iterable[list[T] | None]
    if prod(_count(len(others[kind]), of) for kind, of in groups.items()) <= FEW:
        ways = product(*(_ways(others[kind], of) for kind, of in groups.items()))
        each = (dict(zip(groups, way, strict=True)) for way in ways)
        every = [_replaced(interventions, choices, groups, drawn) for drawn in each]
        random.Random(seed).shuffle(every)
    else:
        every = (random_controls(interventions, model, seed + i) for i in range(FEW * count))
    found: dict[tuple[str, ...], list[T]] = {}
    for control in every:
        if len(found) == count:
            break
        if control is not None:
            # On the same others, equal interventions are one control in any order.
            found.setdefault(tuple(sorted(map(repr, control))), control)
    return list(found.values())


Kind = tuple[str, int | None]
"""What is chosen, and in which layer."""
Groups = list[tuple[int, ...]]
"""Chosen indices of a kind, those together that the same interventions chose."""


def _groups(
    interventions: Sequence[Chooses], choices: Sequence[Choice | None]
) -> dict[Kind, Groups]:
    chosen_by: dict[Kind, dict[int, tuple[int, ...]]] = {}
    for position, (item, choice) in enumerate(zip(interventions, choices, strict=True)):
        if choice is not None:
            of_kind = chosen_by.setdefault(choice.kind, {})
            for index in _indices(item, choice):
                of_kind[index] = (*of_kind.get(index, ()), position)
    return {
        kind: [
            tuple(index for index, by in owners.items() if by == one)
            for one in dict.fromkeys(owners.values())
        ]
        for kind, owners in chosen_by.items()
    }


def _others(
    interventions: Sequence[Chooses], choices: Sequence[Choice | None]
) -> dict[Kind, list[int]]:
    """What none of them chose, of each kind. ValueError where it is too few."""
    candidates = {choice.kind: choice.candidates for choice in choices if choice is not None}
    others = {}
    for kind, groups in _groups(interventions, choices).items():
        chosen = {index for group in groups for index in group}
        others[kind] = sorted(set(candidates[kind]) - chosen)
        if len(others[kind]) < len(chosen):
            raise ValueError(
                f"no control of the same size: {len(chosen)} of {len(candidates[kind])} {kind[0]} "
                f"are chosen, which leaves {len(others[kind])} others"
            )
    return others


def _total(groups: Groups) -> int:
    return sum(map(len, groups))


def _count(n: int, groups: Groups) -> int:
    """In how many ways n others can take the places of these groups."""
    return prod(comb(n - _total(groups[:i]), len(group)) for i, group in enumerate(groups))


def _ways(others: Sequence[int], groups: Groups) -> Iterator[list[int]]:
    """Each of them, as the others in the order of the groups' indices."""
    if not groups:
        yield []
        return
    for first in combinations(others, len(groups[0])):
        left = [one for one in others if one not in first]
        for rest in _ways(left, groups[1:]):
            yield [*first, *rest]


def _replaced(
    interventions: Sequence[T],
    choices: Sequence[Choice | None],
    groups: dict[Kind, Groups],
    drawn: dict[Kind, list[int]],
) -> list[T]:
    """The interventions with these others in the places of what they chose."""
    instead = {
        kind: dict(zip([index for group in of for index in group], drawn[kind], strict=True))
        for kind, of in groups.items()
    }
    controls = []
    for item, choice in zip(interventions, choices, strict=True):
        if choice is not None:
            others = [instead[choice.kind][index] for index in _indices(item, choice)]
            many = isinstance(getattr(item, choice.field), tuple)
            item = replace(item, **{choice.field: tuple(sorted(others)) if many else others[0]})
        controls.append(item)
    return controls


def _indices(item: Chooses, choice: Choice) -> tuple[int, ...]:
    value = getattr(item, choice.field)
    return value if isinstance(value, tuple) else (value,)
