"""One picture at several checkpoints, with a slider between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from grokinterp.circuits.picture import Frame, Picture


def over_checkpoints(pictures: Mapping[int, Picture]) -> Picture:
    """The same picture of several checkpoints, behind a slider.

    The slider starts at the last epoch, moves with the mouse, a finger or the arrow keys, and a
    button plays it. All checkpoints share one scale unless the reader chooses another; the logits
    over all inputs begin on the scale of the middle 98 % of each.

    Args:
        pictures: By epoch, as `{epoch: grid(run.snapshot(epoch), "neuron", 3) for epoch in (0,
            500)}`.

    Raises:
        ValueError: They are not pictures of one thing.
    """
    if not pictures:
        raise ValueError("over_checkpoints needs at least one picture; give {epoch: picture, ...}")
    ordered = sorted(pictures.items())
    last = ordered[-1][1]
    for epoch, picture in ordered:
        if _subject(picture) != _subject(last):
            raise ValueError(
                "over_checkpoints shows one picture at several epochs; got "
                f"{_subject(picture)} at epoch {epoch} and {_subject(last)} at the last"
            )
        if len(picture.frames) != 1:
            raise ValueError(f"the picture of epoch {epoch} has a slider already; give single ones")
    models = {picture.model for picture in pictures.values()}
    return replace(
        last,
        frames=tuple(Frame(epoch, picture.frames[0].data) for epoch, picture in ordered),
        model=last.model if len(models) == 1 else "",
    )


def _subject(picture: Picture) -> str:
    panels = ", ".join(panel["title"] for panel in picture.frames[0].data.get("panels", []))
    return f"{picture.title!r}" + (f" ({panels})" if panels else "")
