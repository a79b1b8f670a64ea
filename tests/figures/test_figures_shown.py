"""A figure shows itself in a notebook: sharp, once, and with no magic command."""

import base64
import struct
import warnings

import numpy as np
import pytest
from hang import PATIENT

from grokinterp.figures.figure import DOTS
from grokinterp.figures.fourier import embedding_spectrum

with warnings.catch_warnings():
    # It asks for a newer way to find folders, which its own dependencies choose.
    warnings.simplefilter("ignore")
    import nbformat
    from nbclient import NotebookClient


def size_of(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


def test_it_is_a_png_of_several_dots_for_each_of_the_page() -> None:
    figure = embedding_spectrum(np.arange(1.0, 10))
    png, page = figure._repr_png_()
    width, height = size_of(png)
    assert (page["width"], page["height"]) == (width // DOTS, height // DOTS)
    # The page's size is the figure's inches, and a margin.
    assert page["width"] == pytest.approx(figure.get_figwidth() * figure.dpi, abs=25)
    assert repr(figure) == "<Figure size 550x220 with 1 Axes>"


def test_what_lies_outside_the_figure_is_not_cut_off() -> None:
    figure = embedding_spectrum(np.arange(1.0, 10))
    before = figure._repr_png_()[1]
    figure.axes[0].text(1.5, 0.5, "far to the right", transform=figure.axes[0].transAxes)
    figure.set_layout_engine("none")
    assert figure._repr_png_()[1]["width"] > before["width"] + 100


@pytest.mark.parametrize("magic", ["", "%matplotlib inline\n", "import matplotlib.pyplot\n"])
def test_a_kernel_shows_it_once(magic: str) -> None:
    source = (
        f"{magic}import numpy as np\n"
        "from grokinterp.figures.fourier import embedding_spectrum\n"
        "embedding_spectrum(np.arange(1.0, 10))"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    with warnings.catch_warnings():
        # The kernel runs in a process of its own: these are about the tools that start it.
        warnings.simplefilter("ignore")
        NotebookClient(notebook, kernel_name="python3", **PATIENT).execute()
    [output] = notebook.cells[0].outputs
    assert output.output_type == "execute_result"
    width, _ = size_of(base64.b64decode(output.data["image/png"]))
    page = output.metadata.get("image/png", {}).get("width", width)
    assert 520 < page < 620
    # With the magic command the reader's own settings of it hold.
    assert width == (page if "inline" in magic else DOTS * page + width % DOTS)
