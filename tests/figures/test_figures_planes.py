"""The 2-D Fourier heat map and the singular vectors: drawn as they are given."""

import numpy as np
import pytest

from grokinterp.figures.fourier_plane import fourier_plane
from grokinterp.figures.singular_vectors import singular_vectors

NORMS = np.arange(36.0).reshape(6, 6)
TOKENS = np.linalg.qr(np.random.default_rng(0).standard_normal((11, 11)))[0]
SPECTRA = np.full((11, 5), 0.2)
VALUES = np.arange(11.0, 0, -1)


def test_every_component_is_a_cell_but_the_constant():
    axes = fourier_plane(NORMS, [2, 5]).axes[0]
    [mesh] = axes.collections
    drawn = mesh.get_array().reshape(6, 6)
    assert drawn.mask.sum() == 1
    assert drawn.mask[0, 0]
    assert np.array_equal(drawn.compressed(), NORMS.ravel()[1:])
    # A frequency is at the middle of its cell.
    assert mesh.get_coordinates()[0, 0].tolist() == [-0.5, -0.5]
    assert mesh.get_clim() == (0, 35)
    above, beside = axes.get_lines()
    assert list(above.get_xdata()) == [2, 5]
    assert list(beside.get_ydata()) == [2, 5]


def test_the_axes_name_a_and_b_and_not_the_other_way_round():
    axes = fourier_plane(NORMS).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("frequency in b", "frequency in a")
    # norms[a, b]: the frequency in b runs to the right.
    assert axes.collections[0].get_array().reshape(6, 6)[0, 5] == NORMS[0, 5]


def test_the_leading_directions_are_drawn_over_their_tokens():
    figure = singular_vectors(VALUES, TOKENS, SPECTRA, [3], leading=2)
    curves = [axes for axes in figure.axes if axes.get_ylabel().startswith("direction")]
    assert len(curves) == 2
    for index, axes in enumerate(curves):
        assert np.array_equal(axes.get_lines()[0].get_ydata(), TOKENS[index])
    assert curves[0].get_ylim() == curves[1].get_ylim()
    [values] = [axes for axes in figure.axes if axes.get_ylabel() == "singular\nvalue"]
    assert [bar.get_height() for bar in values.patches] == VALUES.tolist()


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: fourier_plane(np.zeros((3, 4))), r"norms must have shape \[freq = 3, freq = 3\]"),
        (lambda: fourier_plane(NORMS, [6]), "among 1 to 5; got 6"),
        (lambda: fourier_plane(NORMS, [0]), "among 1 to 5; got 0"),
        (lambda: singular_vectors(VALUES, TOKENS, SPECTRA, leading=12), "from 1 to 11 directions"),
        (lambda: singular_vectors(VALUES[::-1], TOKENS, SPECTRA), "descending"),
        (lambda: singular_vectors(VALUES, TOKENS[:4], SPECTRA), "direction = 11"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_drawn_is_a_sentence(draw, said):
    with pytest.raises(ValueError, match=said):
        draw()
