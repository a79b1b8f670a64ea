"""What all figures share: colours that colour-blind readers tell apart, and quiet axes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from grokinterp.figures.figure import Figure

# Okabe and Ito's palette (2008), told apart under every common colour vision.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, BLACK = "#56B4E9", "#CC79A7", "#000000"
# Their yellow is too light for a line on white. These two stay as far from every other colour
# under protanopia, deuteranopia and tritanopia as those are from each other.
WINE, BROWN = "#882255", "#6B4C00"
GREY, LIGHT_GREY = "#666666", "#BDBDBD"

WIDTH = 5.5
"""Inches: the text width of this field's one-column papers, so that 8 points print as 8."""


class Look(NamedTuple):
    """How one label is drawn in every figure, told apart in greyscale too."""

    color: str
    linestyle: str
    marker: str


PLACEMENT_LOOKS = {
    "off": Look(BLACK, "-", "o"),
    "attn-pre": Look(VERMILION, "--", "s"),
    "pre": Look(BLUE, "-", "^"),
    "mlp-pre": Look(GREEN, "-", "D"),
    "attn-pre-qk": Look(ORANGE, "-.", "v"),
    "attn-pre-v": Look(PURPLE, ":", "P"),
    "pre-v": Look(SKY, "--", "X"),
    "post": Look(WINE, "-.", "<"),
    "peri": Look(BROWN, ":", ">"),
}
"""The LN placements, which look the same in every figure."""

# For labels that are no placement, the most distinct first.
_FREE = [
    PLACEMENT_LOOKS[name]
    for name in (
        *("pre", "attn-pre", "mlp-pre", "attn-pre-qk", "attn-pre-v"),
        *("pre-v", "post", "peri", "off"),
    )
]


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """A look per label: a placement's own, and for any other label the next free colour.

    >>> looks(["pre", "baseline"])["pre"] == PLACEMENT_LOOKS["pre"]
    True
    >>> looks(["pre", "baseline"])["baseline"].color == BLUE
    False
    """
    labels = list(dict.fromkeys(labels))
    chosen = {label: PLACEMENT_LOOKS[label] for label in labels if label in PLACEMENT_LOOKS}
    # Past nine labels the colours come again with another line style.
    free = [
        look._replace(linestyle=style) if style else look
        for style in ("", "--", ":", "-.", "-")
        for look in _FREE
    ]
    free = [look for look in dict.fromkeys(free) if look not in chosen.values()]
    unknown = [label for label in labels if label not in chosen]
    if len(unknown) > len(free):
        raise ValueError(f"a figure can tell {len(free)} labels apart; got {len(unknown)}")
    return chosen | dict(zip(unknown, free, strict=False))


_SETTINGS: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.titlelocation": "left",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "figure.dpi": 100,
    "savefig.dpi": 200,
}


@contextmanager
def styled() -> Iterator[None]:
    """matplotlib with these settings, and the reader's own ones back afterwards."""
    with mpl.rc_context(_SETTINGS):
        yield


def panels(
    rows: int = 1, columns: int = 1, *, height: float, width: float = WIDTH, **options: Any
) -> tuple[Figure, np.ndarray]:
    """A figure of so many inches, and its axes as [rows, columns]."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for one in axes.flat:
        _keep_ticks(one)
    return figure, axes


def colorbar(figure: Figure, image: ScalarMappable, axes: Axes, label: str) -> None:
    """What the colours of an image mean, to the right of it."""
    bar = figure.colorbar(image, ax=axes, pad=0.02)
    bar.set_label(label)
    bar.outline.set_visible(False)  # type: ignore[operator]
    _keep_ticks(bar.ax)


def legend_beside(axes: Axes, **options: Any) -> None:
    """The legend beside the axes, where it can cover neither a curve nor a mark."""
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, handlelength=3.2, **options
    )


def add_title(figure: Figure, title: str) -> None:
    """The title above the whole figure, if there is one."""
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)


def _keep_ticks(axes: Axes) -> None:
    # matplotlib makes ticks when it draws, which may be after the reader's own settings are back.
    axes.tick_params(
        which="both",
        labelsize=_SETTINGS["xtick.labelsize"],
        grid_color=_SETTINGS["grid.color"],
        grid_linewidth=_SETTINGS["grid.linewidth"],
    )
