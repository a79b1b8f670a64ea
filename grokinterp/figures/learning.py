"""Learning curves of one run: accuracy and loss over epochs, with when it grokked."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokinterp.figures.style import BLUE, GREEN, GREY, ORANGE, styled


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
        figure = Figure(figsize=(7.2, 5.4), layout="constrained")
        accuracy, loss = figure.subplots(2, 1, sharex=True)
        for axes, name in ((accuracy, "accuracy"), (loss, "loss")):
            axes.plot(metrics["epoch"], metrics[f"train_{name}"], color=BLUE, label="train")
            axes.plot(metrics["epoch"], metrics[f"test_{name}"], color=ORANGE, label="test")
            for epoch, color in ((memorised, GREY), (generalised, GREEN)):
                if epoch is not None:
                    axes.axvline(epoch, color=color, linestyle="--", linewidth=1.2, zorder=1)
        accuracy.set(ylabel="accuracy", ylim=(-0.03, 1.03))
        accuracy.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        loss.set(xlabel="epoch", ylabel="cross-entropy (nats)", yscale="log")
        loss.set_xlim(0, metrics["epoch"].max())
        loss.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        _mark(accuracy, memorised, "memorised", GREY)
        _mark(accuracy, generalised, "generalised", GREEN)
        # Beside the axes, where it can cover neither a curve nor a mark.
        accuracy.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12)
        return figure


def _mark(axes: Axes, epoch: int | None, what: str, color: str) -> None:
    """Name a marked epoch above the axes."""
    if epoch is not None:
        axes.annotate(
            f"{what}\nepoch {epoch:,}",
            xy=(epoch, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=color,
            fontsize=9,
        )
