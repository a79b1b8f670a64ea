"""A matplotlib figure as an image that stands in the page itself."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from grokinterp.circuits.document import render

DPI = 200
"""Two dots for each of the page's, on the 5.5 inches that a figure has."""

COLOURS = 96
"""A figure has few: a palette of them is a third of the size, and the eye sees no difference."""


def chart(figure: Figure, subject: str) -> Markup:
    """The figure as a PNG, with what it shows in words.

    A PNG with a palette is smaller than an SVG for every figure of the experiments.
    """
    # Drawn without savefig, which draws everything twice.
    figure.dpi = DPI
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    small = drawn.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    file = BytesIO()
    small.save(file, "png", optimize=True)
    return render(
        "report/chart.html",
        width=drawn.width // 2,
        height=drawn.height // 2,
        words=in_words(figure, subject),
        png=base64.b64encode(file.getvalue()).decode(),
    )


def in_words(figure: Figure, subject: str) -> str:
    """What a figure shows, for those who do not see it: its title, its axes, its labels."""
    title = figure.get_suptitle() or subject
    axes = [one for one in figure.axes if one.get_xlabel() or one.get_ylabel()]
    sides = dict.fromkeys(
        " against ".join(filter(None, (one.get_ylabel(), one.get_xlabel()))) for one in axes
    )
    legends = [one.get_legend() for one in figure.axes]
    labels = dict.fromkeys(
        text.get_text() for legend in legends if legend for text in legend.get_texts()
    )
    parts = [title, "; ".join(sides), f"of {', '.join(labels)}" if labels else ""]
    return ". ".join(" ".join(part.split()) for part in parts if part)
