"""Learning curves of one run: accuracy and loss over epochs, with when it grokked."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from grokinterp.figures.epochs import epoch_axis, mark_epochs
from grokinterp.figures.style import BLUE, ORANGE, add_title, legend_beside, panels, styled
from grokinterp.figures.ticks import log_values


def learning_curves(
    metrics: pd.DataFrame,
    memorised: int | None = None,
    generalised: int | None = None,
    title: str = "",
) -> Figure:
    """Train and test accuracy above, losses below (log scale), over epochs.

    Args:
        metrics: A row per evaluated epoch (`Run.metrics`): epoch, train_loss, train_accuracy,
            test_loss, test_accuracy.
        memorised: Epoch to mark as memorised.
        generalised: Epoch to mark as generalised.
        title: Above the figure.
    """
    with styled():
        figure, grid = panels(2, height=4.2, sharex=True)
        accuracy, loss = grid[:, 0]
        for axes, kind in ((accuracy, "accuracy"), (loss, "loss")):
            axes.plot(metrics["epoch"], metrics[f"train_{kind}"], color=BLUE, label="train")
            axes.plot(metrics["epoch"], metrics[f"test_{kind}"], color=ORANGE, label="test")
        accuracy.set(ylabel="accuracy", ylim=(-0.03, 1.03))
        accuracy.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        loss.set_ylabel("cross-entropy\n(nats, log scale)")
        log_values(loss)
        epoch_axis(loss, metrics["epoch"].to_numpy())
        mark_epochs([accuracy, loss], memorised, generalised)
        legend_beside(accuracy)
        add_title(figure, title)
        return figure
