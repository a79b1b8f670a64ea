"""The effective circuits of one layer: where a head looks, and what it writes there."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from grokinterp.checks import check_one_of
from grokinterp.circuits.picture import Frame, Picture, pack
from grokinterp.probes.qk_ov import ov_table, qk_table
from grokinterp.snapshot import Snapshot

Position = Literal["a", "b"]


def circuit_tables(snapshot: Snapshot, position: Position = "a") -> Picture:
    """Heatmaps of each head's QK scores (`qk_table`) and of its OV effect (`ov_table`).

    QK: the score that `=` gives each token, before the softmax. OV: what the head adds to the logit
    of each answer if it looks at a token alone.

    Args:
        snapshot: The model.
        position: Of that token: a or b.
    """
    check_one_of("position", position, get_args(Position))
    scores = np.asarray(qk_table(snapshot)["scores"])
    # `=`, where it is a class, is the last one, and no answer.
    answers = slice(snapshot.task.equals_token)
    logits = np.asarray(ov_table(snapshot)["logits"])
    logits = logits[:, get_args(Position).index(position), :, answers]
    panels = [
        {
            "title": f"head {head}: attention score of each token",
            "scale": "score",
            "values": pack(table),
            "row": {"label": "position", "names": ["a", "b"]},
            "column": {"label": "token"},
        }
        for head, table in enumerate(scores)
    ] + [
        {
            "title": f"head {head}: effect of looking at {position} on the logits",
            "scale": "logit",
            "values": pack(table),
            "row": {"label": position},
            "column": {"label": "answer"},
        }
        for head, table in enumerate(logits)
    ]
    return Picture(
        "heatmaps",
        "QK and OV circuits",
        "Above, the score that “=” gives each token, before the softmax: where a head looks. "
        f"Below, what it adds to the logit of each answer when it looks at {position} alone, "
        "not counting what the MLP makes of it. The heads share a scale.",
        (Frame(snapshot.epoch, {"panels": panels}),),
        snapshot.title,
    )
