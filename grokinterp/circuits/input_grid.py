"""A logit, a neuron or any activation as a picture over all inputs (a, b)."""

from __future__ import annotations

from difflib import get_close_matches

import numpy as np
from jaxtyping import Float
from torch import Tensor

from grokinterp.circuits.picture import Frame, Picture, pack
from grokinterp.snapshot import Snapshot

Component = int | tuple[int, ...]
ATTENTION = ("hook_pattern", "hook_attn_scores")


def grid(snapshot: Snapshot, what: str = "logit", *components: Component) -> Picture:
    """Heatmaps over (a, b) of components of an activation at the last position, with hover.

        grid(snapshot)                                      # the correct logit
        grid(snapshot, "logit", 0, 1)                       # the logits of the answers 0 and 1
        grid(snapshot, "neuron", 17)                        # the last layer's neuron 17
        grid(snapshot, "blocks.0.hook_resid_mid", 5)        # any hook, and its component
        grid(snapshot, "blocks.0.attn.hook_pattern", (2, 0))  # head 2, from = to a

    Args:
        snapshot: The model.
        what: `logit`, `neuron`, or a hook's name.
        components: Which of the activation's components at the last position, each a heatmap with
            a scale of its own: a number, or one number per axis where there are several (head and
            component, or head and key). None: the correct logit.
    """
    if what == "logit" and not components:
        logits = snapshot.grid.logits
        labels = snapshot.grid.labels.to(logits.device)
        named = {"correct logit": logits.gather(1, labels[:, None])[:, 0]}
    else:
        values = _activation(snapshot, what)
        titles = [_title(what, one, snapshot.positions) for one in components]
        columns = [_component(values, one, what) for one in components]
        named = dict(zip(titles, columns, strict=True))
        if not named:
            raise ValueError(f"choose which components of {what} to draw, each {_range(values)}")
    # Where a model has learned, all logits are large, and it is how they differ that shows how.
    scale = {"range": "middle"} if what == "logit" else {}
    cut = " Values beyond the middle 98 % have the colour of the scale's end." if scale else ""
    axes = {"row": {"label": "a"}, "column": {"label": "b"}}
    panels = [
        {"title": title, "scale": title, "values": pack(_square(snapshot, column)), **axes}
        for title, column in named.items()
    ]
    subject = {"logit": "Logits", "neuron": "Neurons"}.get(what, what)
    return Picture(
        "heatmaps",
        f"{subject} over all inputs",
        "At the last position; a runs down and b across. Point at a cell for its value." + cut,
        (Frame(snapshot.epoch, {"panels": panels, **scale}),),
        snapshot.title,
    )


def _activation(snapshot: Snapshot, what: str) -> Float[Tensor, "batch ..."]:
    """Values at the last position."""
    if what == "logit":
        return snapshot.grid.logits
    cache = snapshot.grid.cache
    if what == "neuron":
        return cache["post", -1][:, -1]
    names = list(cache.keys())
    if what not in names:
        choices = ["logit", "neuron", *names]
        close = get_close_matches(what, choices, n=3) or choices[:3]
        raise ValueError(f"the model has no activation {what!r}; close ones: {', '.join(close)}")
    # Attention is [batch, head, query, key]; all others have the position next to the batch.
    return cache[what][:, :, -1] if what.endswith(ATTENTION) else cache[what][:, -1]


def _title(what: str, component: Component, positions: tuple[str, ...]) -> str:
    if not isinstance(component, tuple):
        return {"logit": "logit of ", "neuron": "neuron "}.get(what, f"{what} ") + str(component)
    if what.endswith(ATTENTION) and len(component) == 2 and component[1] in range(len(positions)):
        kind = "attention" if what.endswith("pattern") else "attention score"
        return f"{kind} of head {component[0]} from {positions[-1]} to {positions[component[1]]}"
    return f"{what} {component}"


def _component(
    values: Float[Tensor, "batch ..."], component: Component, what: str
) -> Float[Tensor, " batch"]:
    index = component if isinstance(component, tuple) else (component,)
    sizes = values.shape[1:]
    inside = all(0 <= i < size for i, size in zip(index, sizes, strict=False))
    if len(index) != len(sizes) or not inside:
        raise ValueError(f"a component of {what} must be {_range(values)}; got {component}")
    for i in index:
        values = values[:, i]
    return values


def _range(values: Tensor) -> str:
    sizes = values.shape[1:]
    if len(sizes) == 1:
        return f"a number from 0 to {sizes[0] - 1}"
    return f"a tuple up to ({', '.join(str(size - 1) for size in sizes)})"


def _square(snapshot: Snapshot, column: Float[Tensor, " batch"]) -> np.ndarray:
    """[n, n], NaN where the task has no input."""
    n = snapshot.task.n_elements
    values = np.full((n, n), np.nan)
    a, b = snapshot.grid.tokens[:, :2].cpu().numpy().T
    values[a, b] = column.detach().cpu().numpy()
    return values
