"""A matplotlib figure as an image that stands in the page itself."""

from __future__ import annotations

import base64
import zlib
from io import StringIO

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from grokinterp.circuits.document import render, script_json

DPI = 100
"""Of the page: a figure has 5.5 inches."""


def chart(figure: Figure, subject: str) -> Markup:
    """The figure as an SVG, deflated, with what it shows in words.

    Deflated it takes no more than a PNG, and stays sharp at any size. Its letters are paths, so
    that it looks the same where the font is not there.
    """
    file = StringIO()
    # Or its ids would differ from one time to the next.
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": subject}):
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    deflated = zlib.compress(file.getvalue().encode(), 9)
    width, height = (round(DPI * inches) for inches in figure.get_size_inches())
    return render(
        "report/chart.html",
        subject=subject,
        width=width,
        height=height,
        words=in_words(figure, subject),
        svg=script_json(
            {"width": width, "height": height, "deflated": base64.b64encode(deflated).decode()}
        ),
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
