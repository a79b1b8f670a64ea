"""A matplotlib figure that a notebook shows by itself, sharp, with no magic command."""

from __future__ import annotations

import struct
from io import BytesIO

from matplotlib import figure

DOTS = 2
"""Of the picture for each of the page's: what dense screens have."""


class Figure(figure.Figure):
    """Shown as the last line of a cell; where `%matplotlib inline` acts, by that and not twice."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The PNG, whole whatever lies outside the axes, and its size on the page."""
        file = BytesIO()
        # As large on the page as matplotlib's own: its dots per inch, but each of several.
        self.savefig(file, format="png", dpi=DOTS * self.dpi, bbox_inches="tight")
        png = file.getvalue()
        # A PNG's first chunk begins with its size.
        width, height = struct.unpack(">II", png[16:24])
        return png, {"width": width // DOTS, "height": height // DOTS}
