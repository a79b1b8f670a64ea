"""What all figures share: colours that colour-blind readers tell apart, and quiet axes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from textwrap import fill
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.textpath import TextPath

from grokinterp.figures.figure import Figure
from grokinterp.placement import ALIASES

# Okabe and Ito's palette (2008), told apart under every common colour vision.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, BLACK = "#56B4E9", "#CC79A7", "#000000"
# Their yellow is too light for a line on white. These two stay as far from every other colour
# under protanopia, deuteranopia and tritanopia as those are from each other.
WINE, BROWN = "#882255", "#6B4C00"
DARK_GREEN = "#006B4E"
GREY, LIGHT_GREY = "#666666", "#BDBDBD"

WIDTH = 5.5
"""Inches: the text width of this field's one-column papers, so that 8 points print as 8."""


SMALL = 1.1
"""Inches: the height of one of many small panels."""

ACROSS = 4
"""Small panels beside each other, at most."""


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

    >>> looks(["pre", "baseline"])["pre"] == looks(["M+A*"])["M+A*"] == PLACEMENT_LOOKS["pre"]
    True
    >>> looks(["pre", "baseline"])["baseline"].color == BLUE
    False
    """
    labels = list(dict.fromkeys(labels))
    codes = {label: ALIASES.get(label, label) for label in labels}
    chosen = {
        label: PLACEMENT_LOOKS[code] for label, code in codes.items() if code in PLACEMENT_LOOKS
    }
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


TEXT_SIZE = TICK_SIZE = 8
"""Points, of what is not an axis's name or a title."""

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
    "xtick.labelsize": TICK_SIZE,
    "ytick.labelsize": TICK_SIZE,
    "legend.fontsize": TEXT_SIZE,
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


def stacked(
    above: float, height: float, below: int, *, extra: float
) -> tuple[Figure, Axes | None, Axes, list[Axes]]:
    """One pair of axes, low ones above it and a grid of small ones below, of the same epochs.

    Args:
        above: Inches of the axes above; 0 for none.
        height: Inches of the main axes.
        below: How many small axes, which share their values.
        extra: Inches for names, legend and caption.
    """
    rows = -(-below // ACROSS)
    inches = [*([above] if above else []), height, *([SMALL * rows] if rows else [])]
    figure = Figure(figsize=(WIDTH, sum(inches) + extra), layout="constrained")
    grid = figure.add_gridspec(len(inches), 1, height_ratios=inches)
    axes = figure.add_subplot(grid[int(above > 0), 0])
    top = figure.add_subplot(grid[0, 0], sharex=axes) if above else None
    small = []
    if rows:
        columns = -(-below // rows)
        within = grid[-1, 0].subgridspec(rows, columns)
        small = list(within.subplots(sharex=True, sharey=True, squeeze=False).flat)
        for empty in small[below:]:
            empty.remove()
        small = small[:below]
        for lowest in small[-columns:]:
            lowest.tick_params(labelbottom=True)
    for one in figure.axes:
        _keep_ticks(one)
    return figure, top, axes, small


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


def legend_above(axes: Axes, of: Axes | None = None, width: float = WIDTH - 0.6) -> None:
    """The legend above the axes, of what these or other axes show.

    It has as many columns as there is width for, in inches, and so takes none from the axes,
    however long the names are.
    """
    handles, texts = (of or axes).get_legend_handles_labels()
    # Beside a name: its line, a gap, and the space between columns, in sizes of its font.
    line, gap, space = 2.7, 0.8, 2.0
    column = max(text_width(text, TEXT_SIZE) for text in texts) + TEXT_SIZE * (line + gap + space)
    axes.legend(
        handles,
        texts,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.3,
        borderpad=0.0,
        handlelength=line,
        handletextpad=gap,
        columnspacing=space,
        ncols=int(np.clip((72 * width + space * TEXT_SIZE) // column, 1, len(texts))),
    )


@cache
def text_width(text: str, size: int) -> float:
    """How wide a text is, in points."""
    lines = [line for line in text.splitlines() if line.strip()]
    return max(
        (float(TextPath((0, 0), line, size=size).get_extents().width) for line in lines),
        default=0.0,
    )


def axis_name(quantity: str, unit: str = "", log: bool = False) -> str:
    """What an axis shows, with its unit, and its scale if that is logarithmic.

    >>> axis_name("train loss", "nats", log=True), axis_name("effective rank")
    ('train loss (nats, log scale)', 'effective rank')
    """
    said = ", ".join(part for part in (unit, "log scale" if log else "") if part)
    return f"{quantity} ({said})" if said else quantity


def add_title(figure: Figure, title: str) -> None:
    """The title above the whole figure, if there is one."""
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)


def caption(text: str) -> str:
    """What a figure's parts are, in lines as long as it is wide."""
    # No line ends between a number and its sign.
    return fill(text.replace(" %", "\N{NO-BREAK SPACE}%"), 88)


def add_caption(figure: Figure, lines: str) -> None:
    """The caption below the whole figure."""
    figure.supxlabel(lines, x=0.01, ha="left", fontsize=TEXT_SIZE, color=GREY)


def _keep_ticks(axes: Axes) -> None:
    # matplotlib makes ticks when it draws, which may be after the reader's own settings are back.
    axes.tick_params(
        which="both",
        labelsize=TICK_SIZE,
        grid_color=_SETTINGS["grid.color"],
        grid_linewidth=_SETTINGS["grid.linewidth"],
    )
