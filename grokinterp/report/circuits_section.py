"""Circuits of some runs, each picture over its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args

import numpy as np
from markupsafe import Markup

from grokinterp.circuits import (
    Picture,
    attention_heads,
    frequency_circles,
    grid,
    logit_attribution,
    over_checkpoints,
)
from grokinterp.circuits.document import render
from grokinterp.placement import ALIASES, PLACEMENTS
from grokinterp.pretrained import Stage, pretrained_card, pretrained_snapshot
from grokinterp.pretrained.evolution import EVOLVED, pretrained_evolution
from grokinterp.probes.fourier import cyclic_order, frequency_norms
from grokinterp.snapshot import NotApplicable, Snapshot
from grokinterp.store.files import StoreError
from grokinterp.store.run import Run

PRETRAINED = ("off", "mlp-pre", "attn-pre-qk")
"""No LN, LN before the MLP, LN before q and k."""

MOST_OWN = 2
"""Runs of the store that are drawn though no one named them."""

MOST_CHECKPOINTS = 10
FREQUENCIES = 3


@dataclass(frozen=True)
class Subject:
    """A run, and its checkpoints by epoch; each is loaded when it is drawn."""

    id: str
    title: str
    snapshots: dict[int, Callable[[], Snapshot]]


def choose_subjects(
    in_store: Sequence[Run], wanted: Sequence[str] | None, known: Collection[str] = ()
) -> list[Subject]:
    """Whose circuits are drawn.

    Args:
        in_store: The store's runs.
        wanted: Placements that ship trained, and beginnings of run ids; if None, PRETRAINED and
            the first runs of the store that belong to no experiment.
        known: Ids of the runs that belong to one.
    """
    if wanted is not None:
        return [_named(name, in_store) for name in wanted]
    others = (run for run in in_store if run.id not in known and _has_circuits(run))
    own = [run for run, _ in zip(others, range(MOST_OWN), strict=False)]
    return [_named(name, in_store) for name in PRETRAINED] + [_of_run(run) for run in own]


def circuits_section(
    subjects: Sequence[Subject], tell: Callable[[str], object] = lambda stage: None
) -> tuple[Markup, Collection[str]]:
    """The section, and the kinds of its pictures, which decide what scripts the page needs."""
    drawn: list[tuple[Subject, list[Picture], StoreError | ValueError | None]] = []
    for subject in subjects:
        tell(f"circuits of {subject.title}, {len(subject.snapshots)} checkpoints")
        try:
            drawn.append((subject, draw(subject), None))
        except (StoreError, ValueError) as error:
            drawn.append((subject, [], error))
    kinds = {picture.kind for _, pictures, _ in drawn for picture in pictures}
    return render("report/circuits_section.html", drawn=drawn), kinds


def draw(subject: Subject) -> list[Picture]:
    """Each picture of a run that applies to it, over its checkpoints."""
    last = next(reversed(subject.snapshots.values()))()
    pairs = last.task.pairs()
    # An input like any other: its tokens differ, and none of them is zero.
    a, b = pairs[len(pairs) // 3]
    strongest = _strongest(last)
    drawers: list[Callable[[Snapshot], Picture]] = [
        lambda snapshot: attention_heads(snapshot, a, b),
        lambda snapshot: frequency_circles(snapshot, strongest),
        grid,
        logit_attribution,
    ]
    by_epoch = {}
    for epoch, load in subject.snapshots.items():
        # One after the other, because each holds its activations for all inputs.
        snapshot = load()
        by_epoch[epoch] = [_if_applicable(drawer, snapshot) for drawer in drawers]
    each = [
        {epoch: drawn[which] for epoch, drawn in by_epoch.items()} for which in range(len(drawers))
    ]
    applicable = [{e: p for e, p in one.items() if p is not None} for one in each]
    return [over_checkpoints(one) for one in applicable if len(one) == len(by_epoch)]


def _strongest(snapshot: Snapshot) -> list[int]:
    """The strongest frequencies of the embedding; none where the task has no waves."""
    order = cyclic_order(snapshot.task)
    if order is None:
        return []
    norms = np.asarray(frequency_norms(snapshot.model.W_E.detach().cpu()[order]))
    return sorted((np.argsort(-norms)[:FREQUENCIES] + 1).tolist())


def _if_applicable(drawer: Callable[[Snapshot], Picture], snapshot: Snapshot) -> Picture | None:
    try:
        return drawer(snapshot)
    except NotApplicable:
        return None


def _named(name: str, in_store: Sequence[Run]) -> Subject:
    placement = ALIASES.get(name, name)
    if placement in PLACEMENTS:
        return _pretrained(placement, in_store)
    found = [run for run in in_store if run.id.startswith(name)]
    if len(found) != 1:
        raise ValueError(
            "circuits takes placements that ship trained and beginnings of ids of the store's "
            f"runs; {len(found)} runs begin with {name!r}, and no placement is called so"
        )
    return _of_run(found[0])


def _pretrained(placement: str, in_store: Sequence[Run]) -> Subject:
    """The run itself, where the store holds its checkpoints; one that shipped while it grokked,
    where there is one."""
    card = pretrained_card(placement)
    for run in in_store:
        if run.id == card["run"] and _is_over(run) and len(run.checkpoint_epochs) > 2:
            return _of_run(run)
    snapshots: dict[int, Callable[[], Snapshot]]
    if placement in EVOLVED:
        evolution = pretrained_evolution(placement)
        card = evolution.card
        snapshots = {epoch: partial(evolution.__getitem__, epoch) for epoch in evolution}
    else:
        snapshots = {
            card["stages"][stage]["epoch"]: partial(pretrained_snapshot, placement, stage)
            for stage in get_args(Stage)
        }
    return Subject(card["run"], f"{placement} · seed {card['config']['seed']}", snapshots)


def _of_run(run: Run) -> Subject:
    epochs = run.checkpoint_epochs
    if not epochs:
        run.find_checkpoint()  # Says what to do.
    places = np.linspace(0, len(epochs) - 1, min(MOST_CHECKPOINTS, len(epochs)))
    chosen = [epochs[round(place)] for place in places]
    return Subject(run.id, run.config.name, {e: partial(run.snapshot, e) for e in chosen})


def _is_over(run: Run) -> bool:
    """Whether it is known to be."""
    try:
        return run.is_over
    except StoreError:
        return False


def _has_circuits(run: Run) -> bool:
    """Whether it has checkpoints to slide between, and can be read."""
    try:
        return run.config.id == run.id and len(run.checkpoint_epochs) > 1
    except StoreError:
        return False
