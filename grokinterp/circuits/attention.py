"""Attention of every head for one input, drawn by CircuitsVis."""

from __future__ import annotations

import torch

from grokinterp.circuits.picture import Frame, Picture, pack
from grokinterp.snapshot import Snapshot


def attention_heads(snapshot: Snapshot, a: int, b: int) -> Picture:
    """The attention pattern of every head over the tokens [a, b, =], by CircuitsVis.

    Rows of a pattern are queries, which attend, and columns are keys. No triangle is greyed out:
    this attention looks both ways.

    Args:
        snapshot: The model.
        a: The first token.
        b: The second.
    """
    pairs, most = snapshot.task.pairs(), snapshot.task.n_elements - 1
    for name, token in (("a", a), ("b", b)):
        if not 0 <= token <= most:
            raise ValueError(f"{name} must be a token from 0 to {most}; got {token}")
    if (a, b) not in pairs:
        raise ValueError(f"{snapshot.task} has no input ({a}, {b}); choose another b")
    row = pairs.index((a, b))
    layers = range(snapshot.model.cfg.n_layers)
    patterns = torch.cat([snapshot.grid.cache["pattern", layer][row] for layer in layers])
    heads = range(snapshot.model.cfg.n_heads)
    totals = patterns.sum(-1)
    shares = "; each row sums to 1" if torch.allclose(totals, torch.ones_like(totals)) else ""
    data = {
        "heads": [
            f"Layer {layer}, head {head}" if len(layers) > 1 else f"Head {head}"
            for layer in layers
            for head in heads
        ],
        "tokens": [f"a={a}", f"b={b}", *snapshot.positions[2:]],
        "pattern": pack(patterns),
    }
    return Picture(
        "attention",
        f"Attention of each head on {', '.join([str(a), str(b), *snapshot.positions[2:]])}",
        f"From the destination token (row) to the source token (column){shares}. The answer is "
        f"read at “{snapshot.positions[-1]}”, so its row is the one that matters.",
        (Frame(snapshot.epoch, data),),
        snapshot.title,
    )
