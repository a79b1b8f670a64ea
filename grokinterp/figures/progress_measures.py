"""The progress measures of arXiv:2301.05217: restricted and excluded loss over epochs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Real
from matplotlib.figure import Figure

from grokinterp.figures.arrays import ascending, shaped
from grokinterp.figures.epochs import epoch_axis, mark_epochs, marker_places
from grokinterp.figures.style import (
    BLUE,
    GREEN,
    ORANGE,
    VERMILION,
    add_title,
    legend_beside,
    panels,
    styled,
)
from grokinterp.figures.ticks import log_values


def progress_measures(
    metrics: pd.DataFrame,
    epochs: Real[np.ndarray, " epoch"],
    restricted: Real[np.ndarray, " epoch"],
    excluded: Real[np.ndarray, " epoch"],
    *,
    memorised: int | None = None,
    generalised: int | None = None,
    log_epochs: bool = False,
    title: str = "",
) -> Figure:
    """Restricted and excluded loss beside train and test loss, in nats on a log scale.

    Args:
        metrics: A row per evaluated epoch: epoch, train_loss, test_loss.
        epochs: Where the two measures were taken.
        restricted: Loss with only the key frequencies left in the logits.
        excluded: Loss without the key frequencies.
        memorised: Epoch to mark as memorised.
        generalised: Epoch to mark as generalised.
        log_epochs: Epochs on a log scale.
        title: Above the figure.
    """
    epochs = ascending(epochs)
    if missing := {"epoch", "train_loss", "test_loss"} - set(metrics.columns):
        raise ValueError(f"metrics must have the columns {', '.join(sorted(missing))}")
    evaluated = ascending(metrics["epoch"].to_numpy(), "the epochs of metrics")
    curves = (
        ("train loss", evaluated, metrics["train_loss"].to_numpy(), BLUE, "-", ""),
        ("test loss", evaluated, metrics["test_loss"].to_numpy(), ORANGE, "-", ""),
        ("restricted loss", epochs, restricted, GREEN, "--", "o"),
        ("excluded loss", epochs, excluded, VERMILION, "-.", "s"),
    )
    with styled():
        figure, grid = panels(height=2.8)
        axes = grid[0, 0]
        epoch_axis(axes, np.union1d(evaluated, epochs), log_epochs)
        for index, (label, places, values, color, linestyle, marker) in enumerate(curves):
            axes.plot(
                places,
                shaped(label, values, "epoch", epoch=len(places)),
                color=color,
                linestyle=linestyle,
                marker=marker,
                markevery=marker_places(axes, places, index, len(curves)),
                label=label,
            )
        axes.set_ylabel("cross-entropy\n(nats, log scale)")
        log_values(axes)
        mark_epochs([axes], memorised, generalised)
        legend_beside(axes)
        add_title(figure, title)
        return figure
