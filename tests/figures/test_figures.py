"""Figures draw exactly the numbers they are given, with units, and legends that cover nothing."""

import doctest
import itertools
from functools import cache
from importlib import import_module

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from drawn import (
    log_axes_say_so,
    parts_stand_apart,
    text_is_dark_enough,
    tick_labels_stand_apart,
)
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from grokinterp.figures.attention import attention_entropy, mean_pattern
from grokinterp.figures.epochs import epoch_axis
from grokinterp.figures.evolution import over_epochs, same_values
from grokinterp.figures.fourier import embedding_spectrum, spectrum_evolution
from grokinterp.figures.learning import learning_curves
from grokinterp.figures.neurons import neuron_clusters
from grokinterp.figures.ntk import ntk_distance
from grokinterp.figures.progress_measures import progress_measures
from grokinterp.figures.scatter import Point, scatter
from grokinterp.figures.seed_curves import running_median
from grokinterp.figures.spectra import eigenvalue_spectrum
from grokinterp.figures.strip import strip
from grokinterp.figures.style import PLACEMENT_LOOKS, WIDTH, looks, panels, styled
from grokinterp.placement import PLACEMENTS

EPOCHS = np.arange(0, 1001, 50)
random = np.random.default_rng(0)
GROKKING = 1 / (1 + np.exp(-(EPOCHS - 600) / 60))
LOSSES = pd.DataFrame(
    {
        "epoch": EPOCHS,
        "train_loss": 5 * np.exp(-EPOCHS / 50),
        "test_loss": 5.01 - 5 * GROKKING,
        "train_accuracy": np.minimum(1.0, EPOCHS / 200),
        "test_accuracy": GROKKING,
    }
)


def seeds(n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(EPOCHS, GROKKING + 0.1 * random.standard_normal(len(EPOCHS))) for _ in range(n)]


NINE = {label: seeds(3) for label in PLACEMENT_LOOKS}
SPECTRUM = random.gamma(2, 1, 56)
EVOLUTION = random.gamma(2, 1, (len(EPOCHS), 56))
HEADS = random.uniform(0.2, 1.0, (len(EPOCHS), 4))

FIGURES = {
    "over_epochs": lambda: over_epochs(NINE, "test accuracy", title="Nine placements"),
    "over_epochs marked": lambda: over_epochs(
        NINE,
        "weight norm",
        "L2",
        generalised={label: [600, 650, None] for label in NINE},
        log_epochs=True,
    ),
    "over_epochs in panels": lambda: over_epochs(
        NINE, "update norm", generalised={"off": [600, 650, None]}, window=200, title="Spikes"
    ),
    "strip": lambda: strip(
        {"float64": {"off": [700, 900], "lr 0.01": [800]}, "float32": {"off": [1000]}},
        "generalisation epoch",
        log=True,
        reference={"off": 3000},
        title="Precision",
    ),
    "scatter": lambda: scatter(
        {"rank": {"off": [Point(4000, 9000), Point(5000, 10_000, True)], "pre": [Point(900, 800)]}},
        "generalisation epoch",
        "epoch of the minimum",
    ),
    "embedding_spectrum": lambda: embedding_spectrum(SPECTRUM, [3, 4, 5, 41], title="Spectrum"),
    "spectrum_evolution": lambda: spectrum_evolution(
        EPOCHS, EVOLUTION, [3, 4, 56], memorised=100, generalised=600
    ),
    "neuron_clusters": lambda: neuron_clusters(random.uniform(0, 1, (128, 56))),
    "attention_entropy": lambda: attention_entropy(
        EPOCHS, HEADS, paper=HEADS[:, 0], memorised=100, generalised=250
    ),
    "mean_pattern": lambda: mean_pattern(np.full((4, 3), 1 / 3), title="Pattern"),
    "eigenvalue_spectrum": lambda: eigenvalue_spectrum(
        {"off": np.sort(SPECTRUM)[::-1], "pre": np.array([3.0, 1.0, 0.0])}, {"off": 2.0}
    ),
    "ntk_distance": lambda: ntk_distance(
        EPOCHS, np.abs(EVOLUTION.T[:2]), np.abs(EVOLUTION.T[2:4]), ["off", "pre"], generalised=600
    ),
    "progress_measures": lambda: progress_measures(
        LOSSES, EPOCHS, HEADS[:, 0], HEADS[:, 1], memorised=100, generalised=600
    ),
    "learning_curves": lambda: learning_curves(LOSSES, 100, 600, title="Grokking"),
}


def named(axes, gid: str) -> list:
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


def drawn(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


@cache
def looked_at(name: str) -> Figure:
    """One figure for whoever only looks at it."""
    return drawn(FIGURES[name]())


# Every figure


@pytest.mark.parametrize("name", FIGURES)
def test_is_readable_at_column_width(name):
    figure = looked_at(name)
    assert figure.get_size_inches()[0] <= WIDTH
    page = figure.bbox.padded(0.5)
    texts = [text for text in figure.findobj(mpl.text.Text) if text.get_text()]
    visible = [text for text in texts if text.get_visible() and text.get_window_extent().width]
    assert len(visible) > 8
    # Drawn after the figure's own settings are gone, as a saved figure is.
    assert min(text.get_fontsize() for text in visible) >= 8
    for text in visible:
        box = text.get_window_extent()
        inside = box.x0 >= page.x0 and box.x1 <= page.x1 and box.y1 <= page.y1 and box.y0 >= page.y0
        assert inside or _off_axis(text), text.get_text()


def _off_axis(text) -> bool:
    """A tick label outside the limits: matplotlib keeps it, and does not draw it."""
    return any(
        text in (tick.label1, tick.label2)
        for axes in text.figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.majorTicks, *axis.minorTicks)
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    )


@pytest.mark.parametrize("name", FIGURES)
def test_no_legend_covers_data_and_no_two_names_overlap(name):
    figure = looked_at(name)
    for axes in figure.axes:
        if (legend := axes.get_legend()) is not None:
            box = legend.get_window_extent()
            assert not any(box.overlaps(other.get_window_extent()) for other in figure.axes)
        boxes = [text.get_window_extent() for text in axes.texts]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_a_legend_over_the_curves_would_be_seen():
    figure = FIGURES["progress_measures"]()
    axes = figure.axes[0]
    axes.legend(loc="lower left")
    drawn(figure)
    assert axes.get_legend().get_window_extent().overlaps(axes.get_window_extent())


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)
def test_every_axis_is_named_and_the_readers_settings_are_left_alone(make):
    before = dict(mpl.rcParams)
    figure = drawn(make())
    assert dict(mpl.rcParams) == before
    for axes in figure.axes:
        # Rows are named by their ticks or by the legend above them, seeds' panels by their titles.
        rows = any(text.get_text()[:1].isalpha() for text in axes.get_yticklabels())
        events = axes.get_legend() is not None and not axes.get_yticks().size
        assert axes.get_ylabel() or rows or events or axes.get_title(loc="left")
    assert any(axes.get_xlabel() for axes in figure.axes)


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)
def test_pyplot_knows_of_no_figure(make):
    import matplotlib.pyplot as plt

    make()
    assert plt.get_fignums() == []


# Looks


def test_each_placement_of_the_paper_has_its_own_look():
    assert set(PLACEMENT_LOOKS) <= set(PLACEMENTS)
    assert len({look.color for look in PLACEMENT_LOOKS.values()}) == 9
    assert len({look.marker for look in PLACEMENT_LOOKS.values()}) == 9
    figures = [over_epochs({"post": seeds(3)}, "x"), over_epochs(NINE, "x")]
    colors = {
        to_hex(line.get_color())
        for figure in figures
        for line in named(figure.axes[0], "median")
        if line.get_label().startswith("post:")
    }
    assert colors == {PLACEMENT_LOOKS["post"].color.lower()}


def test_unknown_labels_take_the_next_free_look():
    assert looks(["pre"])["pre"] == PLACEMENT_LOOKS["pre"]
    chosen = looks(["head 0", "pre", "head 1"])
    assert chosen["pre"] == PLACEMENT_LOOKS["pre"]
    assert len({look.color for look in chosen.values()}) == 3
    many = looks([*PLACEMENT_LOOKS, *map(str, range(15))])
    assert len(set(many.values())) == 24
    with pytest.raises(ValueError, match=r"can tell \d+ labels apart; got 100"):
        looks(map(str, range(100)))


def test_colours_stay_apart_for_colour_blind_readers():
    # Machado, Oliveira and Fernandes (2009), full severity, on linear RGB.
    kinds = [
        np.eye(3),
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    ]

    def lab(color, kind):
        rgb = np.array(mpl.colors.to_rgb(color))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        to_xyz = np.array(
            [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
        )
        xyz = to_xyz @ np.clip(np.array(kind) @ linear, 0, 1) / [0.9505, 1, 1.089]
        x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    def nearest(colors):
        return min(
            np.linalg.norm(lab(one, kind) - lab(other, kind))
            for one, other in itertools.combinations(colors, 2)
            for kind in kinds
        )

    ours = nearest([look.color for look in PLACEMENT_LOOKS.values()])
    assert ours > 15
    # matplotlib's own cycle is not made for them.
    assert nearest([f"C{index}" for index in range(9)]) < 10


# Over epochs


def test_seeds_and_median_are_the_data():
    runs = seeds(4)
    figure = over_epochs({"pre": runs}, "test accuracy")
    lines = named(figure.axes[0], "seed")
    assert len(lines) == 4
    for line, (epochs, values) in zip(lines, runs, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), epochs)
        np.testing.assert_array_equal(line.get_ydata(), values)
    [median] = named(figure.axes[0], "median")
    expected = np.median([values for _, values in runs], axis=0)
    np.testing.assert_allclose(median.get_ydata(), expected, rtol=1e-15)
    assert median.get_linewidth() > 2 * lines[0].get_linewidth()
    assert median.get_label() == "M+A* · pre: 4 seeds"


def band(axes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The epochs, lower and upper bounds of the only interval drawn."""
    [artist] = named(axes, "interval")
    vertices = np.concatenate([path.vertices for path in artist.get_paths()])
    epochs = np.unique(vertices[:, 0])
    at = [vertices[vertices[:, 0] == epoch, 1] for epoch in epochs]
    return epochs, np.array([y.min() for y in at]), np.array([y.max() for y in at])


@pytest.mark.parametrize(
    ("n", "says"),
    [
        (2, "range of the seeds (holds the median with 50 %)"),
        (5, "range of the seeds (holds the median with 93.8 %)"),
        (6, "interval of the median from order statistics (95 % or more)"),
        (9, "interval of the median from order statistics (95 % or more)"),
    ],
)
def test_the_band_is_the_interval_it_says(n, says):
    runs = seeds(n)
    values = np.array([one for _, one in runs])
    figure = over_epochs({"pre": runs}, "test accuracy")
    epochs, low, high = band(figure.axes[0])
    # The second least and second largest of nine leave 96 %; of fewer only the range leaves 95 %.
    ordered = np.sort(values, axis=0)
    expected = (ordered[1], ordered[-2]) if n == 9 else (ordered[0], ordered[-1])
    np.testing.assert_array_equal(epochs, EPOCHS)
    np.testing.assert_allclose([low, high], expected)
    assert says in " ".join(figure.get_supxlabel().split())


def test_one_seed_has_no_band():
    figure = over_epochs({"pre": seeds(1)}, "test accuracy")
    assert named(figure.axes[0], "interval") == []
    assert "band" not in figure.get_supxlabel()


def test_one_seed_is_not_said_to_be_several():
    runs = {"pre": seeds(1), "off": seeds(1)}
    figure = over_epochs(runs, "x", generalised={"pre": [300], "off": [None]})
    _, rows = figure.axes
    assert [text.get_text() for text in rows.get_legend().get_texts()] == [
        "M+A* · pre: generalised",
        "No LN · off: did not generalise",
    ]
    caption = " ".join(figure.get_supxlabel().split())
    assert caption == (
        "One seed of each; ticks above and vertical dashes: when it generalised. "
        "M: LN before the MLP; A*: LN before q, k and v."
    )
    assert over_epochs({"x": seeds(1)}, "x").get_supxlabel() == "One seed."


def test_runs_are_combined_only_where_their_epochs_coincide():
    sparse = (np.array([0, 100, 130, 400]), np.array([1.0, 2.0, 99.0, 4.0]))
    dense = (EPOCHS, np.arange(len(EPOCHS), dtype=float))
    figure = over_epochs({"pre": [sparse, dense]}, "norm")
    [median] = named(figure.axes[0], "median")
    np.testing.assert_array_equal(median.get_xdata(), [0, 100, 400])
    np.testing.assert_array_equal(median.get_ydata(), [0.5, 2.0, 6.0])
    # The sparse one stops at 400, with 4; the dense one goes on.
    [carried] = named(figure.axes[0], "median carried on")
    np.testing.assert_array_equal(carried.get_xdata(), EPOCHS[EPOCHS >= 400])
    np.testing.assert_array_equal(carried.get_ydata(), (np.arange(8, 21) + 4) / 2)
    assert "only at epochs that all seeds" in figure.get_supxlabel().replace("\n", " ")
    apart = over_epochs({"pre": [(EPOCHS, GROKKING), (EPOCHS + 1, GROKKING)]}, "norm")
    assert len(named(apart.axes[0], "median")[0].get_xdata()) == 0
    drawn(apart)


def test_missing_values_leave_a_gap():
    runs = seeds(3)
    runs[1][1][7] = np.nan
    figure = drawn(over_epochs({"pre": runs}, "norm"))
    [median] = named(figure.axes[0], "median")
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(median.get_ydata())), [7])
    epochs, _, _ = band(figure.axes[0])
    assert EPOCHS[7] not in epochs
    assert EPOCHS[6] in epochs


def test_spikes_survive_and_tables_are_runs():
    values = GROKKING.copy()
    values[10] = 1e6
    table = pd.DataFrame({"epoch": EPOCHS, "probe.value": values})
    figure = over_epochs({"off": [table]}, "entropy", "nats", column="probe.value")
    [line] = named(figure.axes[0], "seed")
    assert line.get_ydata()[10] == 1e6
    assert figure.axes[0].get_ylim()[1] > 1e6
    assert figure.axes[0].get_ylabel() == "entropy (nats)"


def test_generalising_epochs_are_ticks_and_their_median_a_line():
    marks = {"pre": [300, 500, None], "off": [900, None, None]}
    figure = over_epochs({"off": seeds(3), "pre": seeds(3)}, "x", generalised=marks)
    axes, rows = figure.axes
    ticks = {
        tuple(segment[0][0] for segment in ticks.get_segments())
        for ticks in named(rows, "generalised")
    }
    assert ticks == {(900.0,), (300.0, 500.0)}
    # Only one of three seeds of `off` generalised: its median seed never did.
    [line] = named(axes, "median generalised")
    assert line.get_xdata()[0] == 500
    assert [text.get_text() for text in rows.get_legend().get_texts()] == [
        "No LN · off: 1 of 3",
        "M+A* · pre: 2 of 3",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"series": {}}, "at least one label"),
        ({"series": {"pre": []}}, "'pre' must have at least one run"),
        ({"series": {"pre": [(EPOCHS, GROKKING[1:])]}}, r"shape \[epoch = 21\]; got \(20,\)"),
        ({"series": {"pre": [(EPOCHS[::-1], GROKKING)]}}, "each greater than the one before"),
        ({"series": {"pre": [LOSSES]}}, "lacks x"),
        ({"series": {"pre": seeds(2)}, "generalised": {"off": [1]}}, "generalised names 'off'"),
        ({"series": {"pre": seeds(2)}, "generalised": {"pre": [1]}}, "2 of them; got 1"),
        ({"series": {"pre": seeds(2)}, "window": 0}, "window must be a number of epochs above 0"),
    ],
)
def test_over_epochs_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        over_epochs(quantity="x", **arguments)


SHORT = [(EPOCHS[:n], np.linspace(0, 1, n)) for n in (9, 13, 21)]


@pytest.mark.parametrize("window", [None, 200])
def test_a_median_covers_every_epoch_and_each_stop_is_marked(window):
    figure = drawn(over_epochs({"pre": SHORT, "off": seeds(2)}, "test accuracy", window=window))
    axes = figure.axes[0]
    for label in ("pre", "off"):
        lines = [
            line
            for gid in ("median", "median carried on")
            for line in named(axes, gid)
            if line.get_color() == PLACEMENT_LOOKS[label].color
        ]
        covered = np.unique(np.concatenate([line.get_xdata() for line in lines]))
        np.testing.assert_array_equal(covered, EPOCHS)
    [carried] = named(axes, "median carried on")
    assert carried.get_linewidth() < named(axes, "median")[0].get_linewidth()
    # What has stopped counts with its last value: two of three have, with 1.
    np.testing.assert_array_equal(carried.get_xdata(), EPOCHS[8:])
    assert (carried.get_ydata()[5:] == 1).all()
    stops = [mark for one in figure.axes for mark in named(one, "stop")]
    assert [mark.get_xdata()[0] for mark in stops] == [EPOCHS[8], EPOCHS[12]]
    caption = " ".join(figure.get_supxlabel().split())
    assert "open circle: where a seed's values end" in caption
    assert "it counts with its last value" in caption


def test_no_stop_is_told_of_where_none_is():
    figure = over_epochs({"pre": seeds(3), "off": seeds(3)}, "x")
    assert not named(figure.axes[0], "median carried on") + named(figure.axes[0], "stop")
    assert "open circle" not in figure.get_supxlabel()


def test_spikes_lie_in_panels_of_their_own_and_medians_run_without_them():
    runs = []
    for seed in range(3):
        values = GROKKING.copy()
        values[3 + 5 * seed] = -8.0
        runs.append((EPOCHS, values))
    figure = drawn(over_epochs({"pre": runs, "off": seeds(3)}, "test accuracy", window=200))
    axes, *below = figure.axes
    assert axes.get_ylim()[0] > -1
    assert named(axes, "seed") == []
    # A running median leaves what only rises as it is, so that nothing moves in time.
    np.testing.assert_allclose(named(axes, "median")[0].get_ydata(), GROKKING, atol=0.03)
    assert [one.get_title(loc="left") for one in below] == ["M+A* · pre", "No LN · off"]
    for line, (_, values) in zip(named(below[0], "seed"), runs, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert below[0].get_ylim() == below[1].get_ylim()
    assert below[0].get_ylim()[0] < -8
    caption = " ".join(figure.get_supxlabel().split())
    assert "median over seeds of the running median over 200 epochs of each" in caption
    assert "small panels: each seed as it is" in caption


def test_bands_of_many_labels_are_not_drawn_over_each_other():
    few = over_epochs({label: seeds(3) for label in "abcd"}, "x", window=100)
    assert len(named(few.axes[0], "interval")) == 4
    many = over_epochs({label: seeds(3) for label in "abcde"}, "x", window=100)
    assert [len(named(one, "interval")) for one in many.axes] == [0, 1, 1, 1, 1, 1]


def test_figures_to_be_compared_get_one_axis_of_values():
    first = over_epochs({"pre": seeds(2)}, "x", window=100)
    second = over_epochs({"pre": [(EPOCHS, 5 + GROKKING)]}, "x", window=100)
    same_values(first, None, second)
    for one, other in zip(first.axes, second.axes, strict=True):
        assert one.get_ylim() == other.get_ylim()
    assert first.axes[0].get_ylim()[1] > 6


def test_a_log_axis_says_so():
    figure = over_epochs({"pre": seeds(2)}, "train loss", "nats", log_values=True)
    assert figure.axes[0].get_ylabel() == "train loss (nats, log scale)"
    assert strip({"x": {"a": [1]}}, "epoch", log=True).axes[0].get_xlabel() == "epoch (log scale)"


# Running medians


def test_a_running_median_is_that_of_the_values_around():
    epochs = np.sort(random.choice(5000, 300, replace=False))
    values = random.standard_normal(300)
    values[[20, 21, 150]] = np.nan
    found = running_median(epochs, values, 400)
    for at, epoch in enumerate(epochs):
        reach = min(200, epoch - epochs[0], epochs[-1] - epoch)
        expected = np.nanmedian(values[np.abs(epochs - epoch) <= reach])
        np.testing.assert_equal(found[at], np.nan if np.isnan(values[at]) else expected)


@pytest.mark.parametrize("window", [1, 150, 10_000])
def test_a_running_median_leaves_what_only_rises_or_only_falls(window):
    rising = np.cumsum(random.exponential(size=len(EPOCHS)))
    np.testing.assert_array_equal(running_median(EPOCHS, rising, window), rising)
    np.testing.assert_array_equal(running_median(EPOCHS, -rising, window), -rising)


# The epoch axis


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_touches_and_all_can_be_read(name):
    figure = looked_at(name)
    assert tick_labels_stand_apart(figure)
    assert parts_stand_apart(figure)
    assert text_is_dark_enough(figure)
    assert log_axes_say_so(figure)


def test_tick_labels_that_touch_would_be_seen():
    figure = over_epochs({"pre": seeds(2)}, "x")
    figure.axes[0].set_xticks([500, 510], ["8,000", "10,000"])
    assert not tick_labels_stand_apart(figure)
    figure.text(0.5, 0.5, "in the middle")
    assert not parts_stand_apart(figure)


@pytest.mark.parametrize("width", [1.2, 2.0, 5.5])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "epochs",
    [[0, 9, 50, 10_000], [0, 1, 30_000], [50, 10_000], [2800, 10_000], [1100, 1900], [0, 3]],
)
def test_ticks_have_room_however_narrow_the_axis(width, log, epochs):
    with styled():
        figure, grid = panels(width=width, height=1.5)
    epoch_axis(grid[0, 0], np.array(epochs, dtype=float), log)
    assert tick_labels_stand_apart(figure)
    low, high = grid[0, 0].get_xlim()
    shown = [tick for tick in grid[0, 0].get_xticks() if low <= tick <= high]
    assert len(shown) >= (2 if width > 2 else 1)


def test_epochs_have_thousands_separators_and_zero_a_place_on_a_log_axis():
    figure = drawn(over_epochs({"pre": seeds(3)}, "x"))
    assert "1,000" in [label.get_text() for label in figure.axes[0].get_xticklabels()]
    logarithmic = drawn(over_epochs({"pre": seeds(3)}, "x", log_epochs=True)).axes[0]
    assert logarithmic.get_xlim() == (0, 1000)
    assert logarithmic.get_xlabel() == "epoch (log scale, linear below 50)"
    places = logarithmic.transData.transform([(0, 0), (50, 0), (500, 0), (1000, 0)])[:, 0]
    assert np.isfinite(places).all()
    assert places[2] - places[1] > 3 * (places[3] - places[2])


def test_a_log_axis_without_epoch_0_is_logarithmic_throughout():
    axes = Figure().subplots()
    epoch_axis(axes, np.array([10.0, 100.0, 1000.0]), log=True)
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "epoch (log scale)"


def test_a_mark_outside_the_epochs_is_refused():
    with pytest.raises(ValueError, match="marked as generalised must be among"):
        learning_curves(LOSSES, generalised=5000)


# Fourier


def test_bars_are_the_norms_and_the_key_frequencies_stand_out():
    axes = embedding_spectrum(SPECTRUM, [14, 15, 41]).axes[0]
    assert [bar.get_height() for bar in axes.patches] == SPECTRUM.tolist()
    centres = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
    np.testing.assert_allclose(centres, np.arange(1, 57))
    colors = [to_hex(bar.get_facecolor()) for bar in axes.patches]
    assert {k for k in range(1, 57) if colors[k - 1] != colors[0]} == {14, 15, 41}
    assert sorted(text.get_text() for text in axes.texts) == ["14", "15", "41"]


@pytest.mark.parametrize("log_epochs", [False, True])
def test_image_holds_the_norms_around_their_epochs(log_epochs):
    epochs = np.array([0, 10, 20, 100, 1000])
    norms = EVOLUTION[:5]
    axes = spectrum_evolution(epochs, norms, log_epochs=log_epochs).axes[0]
    [image] = axes.collections
    np.testing.assert_array_equal(image.get_array(), norms.T)
    borders, frequencies = image.get_coordinates()[0, :, 0], image.get_coordinates()[:, 0, 1]
    np.testing.assert_allclose(frequencies, np.arange(57) + 0.5)
    inner = [5, np.sqrt(200), np.sqrt(2000), np.sqrt(1e5)] if log_epochs else [5, 15, 60, 550]
    # Linear below the first epoch after 0, and logarithmic above it.
    np.testing.assert_allclose(borders, [0, *inner, 1000])
    assert axes.get_xlim() == (0, 1000)


def test_missing_norms_are_not_coloured():
    norms = EVOLUTION.copy()
    norms[2, 3] = np.nan
    [image] = drawn(spectrum_evolution(EPOCHS, norms)).axes[0].collections
    assert np.argwhere(np.ma.getmaskarray(image.get_array())).tolist() == [[3, 2]]
    assert image.norm.vmax == np.nanmax(norms)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: embedding_spectrum(EVOLUTION), r"norms must have shape \[freq\]; got \(21, 56\)"),
        (lambda: embedding_spectrum(SPECTRUM, [57]), "among 1 to 56; got 57"),
        (lambda: embedding_spectrum(np.empty(0)), "nothing in it"),
        (lambda: spectrum_evolution(EPOCHS, EVOLUTION.T), r"\[epoch = 21, freq\]; got \(56, 21\)"),
        (lambda: spectrum_evolution(EPOCHS[:1], EVOLUTION[:1]), "at least two epochs"),
        (lambda: neuron_clusters(SPECTRUM), r"fve must have shape \[d_mlp, freq\]"),
        (lambda: neuron_clusters(-EVOLUTION), "fractions of variance"),
        (lambda: attention_entropy(EPOCHS, HEADS[1:]), r"\[epoch = 21, head\]; got \(20, 4\)"),
        (lambda: attention_entropy(EPOCHS - 1, HEADS), "must be 0 or more"),
        (lambda: mean_pattern(np.ones((4, 2))), r"\[head, pos = 3\]; got \(4, 2\)"),
        (lambda: eigenvalue_spectrum({"a": np.arange(3.0)}), "must be descending"),
        (lambda: eigenvalue_spectrum({"a": np.ones(3)}, {"b": 2.0}), "alpha names b"),
        (lambda: eigenvalue_spectrum({"a": np.ones(3)}, {"a": 2.0}, {"a": 2.0}), "at most its"),
        (lambda: ntk_distance(EPOCHS, HEADS.T), r"\[run = 1, epoch = 21\]; got \(4, 21\)"),
        (lambda: ntk_distance(EPOCHS[:1], GROKKING[:1]), "an epoch after 0"),
        (lambda: progress_measures(LOSSES, EPOCHS, GROKKING[1:], GROKKING), "restricted loss must"),
        (lambda: progress_measures(LOSSES[["epoch"]], EPOCHS, GROKKING, GROKKING), "test_loss"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Neurons


def test_neurons_are_sorted_by_cluster_and_counted():
    fve = np.full((7, 5), 0.01)
    fve[[0, 4], 3] = [0.9, 0.95]
    fve[1, 0] = 0.99
    fve[2, 4] = 0.85  # Not above the threshold.
    fve[3] = np.nan
    fve[5, 1] = 0.5
    fve[6, 3] = 0.86
    figure = drawn(neuron_clusters(fve))
    image_axes, bars = figure.axes[:2]
    image = image_axes.collections[0].get_array()
    np.testing.assert_array_equal(np.ma.filled(image, np.nan), fve[[1, 4, 0, 6, 5, 2, 3]].T)
    assert [bar.get_height() for bar in bars.patches] == [1, 0, 0, 3, 0]
    assert [text.get_text() for text in image_axes.texts] == ["4 clustered", "3 not clustered"]
    assert bars.get_ylabel() == "neurons with\nFVE > 0.85"


def test_noise_has_no_cluster():
    bars = neuron_clusters(random.dirichlet(np.ones(56), 128)).axes[1]
    assert not any(bar.get_height() for bar in bars.patches)
    assert bars.texts[0].get_text() == "no neuron"


# Attention


def test_entropy_has_each_head_the_mean_and_the_ceiling():
    axes = attention_entropy(EPOCHS, HEADS, paper=HEADS[:, 1]).axes[0]
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    for head in range(4):
        np.testing.assert_array_equal(lines[f"head {head}"], HEADS[:, head])
    np.testing.assert_allclose(lines["mean of heads"], HEADS.mean(axis=1))
    np.testing.assert_array_equal(lines["paper's convention"], HEADS[:, 1])
    np.testing.assert_allclose(lines["ln 3, uniform"], np.log(3))
    assert axes.get_ylabel() == "attention entropy (nats)"
    assert axes.get_ylim()[1] > np.log(3)


def test_pattern_is_numbered():
    pattern = random.dirichlet(np.ones(3), 2)
    pattern[1, 2] = np.nan
    axes = drawn(mean_pattern(pattern)).axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array().filled(np.nan), pattern)
    assert axes.images[0].get_clim() == (0, 1)
    expected = [f"{weight:.2f}" for weight in pattern.ravel()[:5]]
    assert [text.get_text() for text in axes.texts] == expected
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "="]


# Spectra


def test_a_spectrum_that_is_a_power_law_lies_on_its_line():
    # Exactly the fraction (λ / λ_min)^(1 - α) of eigenvalues is at least λ.
    fraction = np.arange(1, 101) / 100
    eigenvalues = 2.0 * fraction ** (1 / (1 - 2.5))
    axes = eigenvalue_spectrum({"pre": eigenvalues}, {"pre": 2.5}).axes[0]
    [points], [line] = named(axes, "spectrum"), named(axes, "power law")
    np.testing.assert_array_equal(points.get_xdata(), eigenvalues)
    np.testing.assert_allclose(points.get_ydata(), fraction)
    np.testing.assert_allclose(line.get_xdata(), [2.0, eigenvalues[0]])
    np.testing.assert_allclose(line.get_ydata(), [1.0, 0.01])
    assert axes.get_xscale() == axes.get_yscale() == "log"
    part = eigenvalue_spectrum({"pre": eigenvalues}, {"pre": 2.5}, {"pre": eigenvalues[49]})
    [line] = named(part.axes[0], "power law")
    np.testing.assert_allclose(line.get_ydata(), [0.5, 0.01])


def test_eigenvalues_without_a_place_are_counted():
    axes = eigenvalue_spectrum({"pre": np.array([4.0, 2.0, 0.0, -1e-9])}, {"pre": np.nan}).axes[0]
    [points] = named(axes, "spectrum")
    np.testing.assert_array_equal(points.get_ydata(), [0.25, 0.5])
    assert named(axes, "power law") == []
    [text] = [text.get_text() for text in axes.get_legend().get_texts()]
    assert text == "M+A* · pre\n(2 of 4 not positive)"


# NTK and progress measures


def test_kernel_distances_are_the_data_on_log_axes():
    relative, kernel = np.abs(HEADS.T[:2]), np.abs(HEADS.T[2:])
    relative[:, 0] = kernel[:, 0] = 0.0
    figure = drawn(ntk_distance(EPOCHS, relative, kernel, ["off", "off"]))
    for axes, values in zip(figure.axes, (relative, kernel), strict=True):
        assert axes.get_xscale() == axes.get_yscale() == "log"
        assert axes.get_xlim() == (50, 1000)
        for line, row in zip(axes.lines, values, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), EPOCHS)
            np.testing.assert_array_equal(line.get_ydata(), row)
        assert axes.lines[0].get_color() == axes.lines[1].get_color()
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["No LN · off"]


def test_one_run_needs_no_legend():
    figure = ntk_distance(EPOCHS, GROKKING)
    assert len(figure.axes) == 1
    assert figure.axes[0].get_legend() is None


def test_progress_measures_are_the_four_losses():
    epochs = EPOCHS[::2]
    restricted, excluded = np.exp(-epochs / 300), np.exp(epochs / 900)
    figure = progress_measures(LOSSES, epochs, restricted, excluded, memorised=100, generalised=600)
    axes = figure.axes[0]
    lines = {line.get_label(): line.get_xydata() for line in axes.lines if not line.get_gid()}
    expected = {
        "train loss": (EPOCHS, LOSSES["train_loss"]),
        "test loss": (EPOCHS, LOSSES["test_loss"]),
        "restricted loss": (epochs, restricted),
        "excluded loss": (epochs, excluded),
    }
    assert set(lines) == set(expected)
    for label, curve in expected.items():
        np.testing.assert_array_equal(lines[label], np.column_stack(curve))
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "cross-entropy\n(nats, log scale)"
    assert [line.get_xdata()[0] for line in axes.lines if line.get_gid()] == [100, 600]
    assert [text.get_text() for text in axes.texts] == [
        "memorised\nepoch 100",
        "generalised\nepoch 600",
    ]


@pytest.mark.parametrize("module", ["arrays", "seed_curves", "style"])
def test_docstring_examples(module):
    results = doctest.testmod(import_module(f"grokinterp.figures.{module}"))
    assert results.attempted > 0
    assert results.failed == 0
