"""How spread the heads' attention is over training, and what each attends to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Real
from matplotlib.figure import Figure

from grokinterp.figures.arrays import ascending, shaped
from grokinterp.figures.epochs import epoch_axis, mark_epochs, marker_places
from grokinterp.figures.style import (
    BLACK,
    GREY,
    PURPLE,
    add_title,
    colorbar,
    legend_beside,
    looks,
    panels,
    styled,
)


def attention_entropy(
    epochs: Real[np.ndarray, " epoch"],
    per_head: Real[np.ndarray, "epoch head"],
    *,
    paper: Real[np.ndarray, " epoch"] | None = None,
    n_keys: int = 3,
    memorised: int | None = None,
    generalised: int | None = None,
    log_epochs: bool = False,
    title: str = "",
) -> Figure:
    """Each head's attention entropy in nats over epochs, their mean, and the ceiling ln 3.

    Args:
        epochs: Ascending.
        per_head: Entropy at the final query.
        paper: The paper's convention of it, drawn dotted beside the heads.
        n_keys: Positions attended to, whose logarithm is the ceiling.
        memorised: Epoch to mark as memorised.
        generalised: Epoch to mark as generalised.
        log_epochs: Epochs on a log scale.
        title: Above the figure.
    """
    epochs = ascending(epochs)
    per_head = shaped("per_head", per_head, "epoch head", epoch=len(epochs))
    names = [f"head {head}" for head in range(per_head.shape[1])]
    with styled():
        figure, grid = panels(height=2.7)
        axes = grid[0, 0]
        epoch_axis(axes, epochs, log_epochs)
        axes.axhline(
            np.log(n_keys), color=GREY, linewidth=1.0, label=f"ln {n_keys}, uniform", zorder=1
        )
        for index, (label, look) in enumerate(looks(names).items()):
            axes.plot(
                epochs,
                per_head[:, index],
                color=look.color,
                linestyle=look.linestyle,
                marker=look.marker,
                markevery=marker_places(axes, epochs, index, len(names)),
                linewidth=1.0,
                label=label,
            )
        axes.plot(epochs, per_head.mean(axis=1), color=BLACK, linewidth=2.2, label="mean of heads")
        if paper is not None:
            values = shaped("paper", paper, "epoch", epoch=len(epochs))
            axes.plot(
                epochs,
                values,
                color=PURPLE,
                linestyle=":",
                linewidth=2.2,
                label="paper's convention",
            )
        axes.set_ylabel("attention entropy (nats)")
        mark_epochs([axes], memorised, generalised)
        legend_beside(axes)
        add_title(figure, title)
        return figure


def mean_pattern(
    pattern: Real[np.ndarray, "head pos"],
    keys: Sequence[str] = ("a", "b", "="),
    *,
    title: str = "",
) -> Figure:
    """The final query's mean attention to each key as a numbered heatmap, a row per head.

    Args:
        pattern: Weights from 0 to 1.
        keys: What stands at each key position.
        title: Above the figure.
    """
    pattern = shaped("pattern", pattern, "head pos", pos=len(keys))
    heads = len(pattern)
    with styled():
        figure, grid = panels(width=2.6, height=0.95 + 0.28 * heads + 0.2 * bool(title))
        axes = grid[0, 0]
        image = axes.imshow(
            np.ma.masked_invalid(pattern), cmap="viridis", vmin=0, vmax=1, aspect="auto"
        )
        for (head, key), weight in np.ndenumerate(pattern):
            if np.isfinite(weight):
                axes.text(
                    key,
                    head,
                    f"{weight:.2f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="black" if weight > 0.55 else "white",
                )
        axes.set_xticks(range(len(keys)), labels=list(keys))
        axes.set_yticks(range(heads), labels=[str(head) for head in range(heads)])
        axes.set(xlabel="key", ylabel="head")
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
        colorbar(figure, image, axes, "attention weight")
        add_title(figure, title)
        return figure
