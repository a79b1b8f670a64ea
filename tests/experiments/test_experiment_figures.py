"""The figures of every experiment can be read, whatever runs are there."""

from functools import cache

import pytest
from drawn import log_axes_say_so, parts_stand_apart, text_is_dark_enough, tick_labels_stand_apart
from shipped import SHIPPED

from grokinterp.experiments import EXPERIMENTS
from grokinterp.figures.evolution import MAIN, PANEL
from grokinterp.placement import PAPER_NAMES
from grokinterp.reproduction.experiment import Results
from grokinterp.reproduction.plan import make_plan

NOWHERE = "no/such/store"


@cache
def of_two_seeds(name: str) -> Results | None:
    experiment = EXPERIMENTS[name]
    plan = make_plan(experiment, NOWHERE, experiment.seeds[:2], read=SHIPPED)
    return experiment.results(plan.done) if plan.done else None


NOT_TRAINED = ("depth",)


@pytest.mark.parametrize("name", NOT_TRAINED)
def test_of_these_no_runs_ship(name):
    assert of_two_seeds(name) is None


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in NOT_TRAINED])
def test_figures_can_be_read(name):
    found = of_two_seeds(name)
    assert found.drawn
    for figure in found.drawn.values():
        assert tick_labels_stand_apart(figure)
        assert parts_stand_apart(figure)
        assert log_axes_say_so(figure)
        assert text_is_dark_enough(figure)
        texts = [text.get_text() for axes in figure.axes for text in axes.get_yticklabels()]
        texts += [
            text.get_text()
            for axes in figure.axes
            if axes.get_legend()
            for text in axes.get_legend().get_texts()
        ]
        # A placement never goes by one of its names alone.
        assert not set(texts) & {*PAPER_NAMES, *PAPER_NAMES.values()}
        # Neither a legend nor names beside the axes squeeze what is drawn.
        widest = max(axes.get_position().width for axes in figure.axes)
        assert widest > 0.6 or len(figure.axes) == 2


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("shortcut", ("rise_isolated", "rise_paper")),
        ("attention-pathways", ("entropy", "entropy_paper")),
    ],
)
def test_figures_of_a_pair_have_one_axis_of_values(name, pair):
    drawn = of_two_seeds(name).drawn
    for kind in (MAIN, PANEL):
        limits = {
            axes.get_ylim() for one in pair for axes in drawn[one].axes if axes.get_gid() == kind
        }
        assert len(limits) == 1


def test_a_light_text_an_unnamed_log_axis_and_ticks_that_touch_would_be_seen():
    figure = of_two_seeds.__wrapped__("edge").drawn["overview"]
    axes = figure.axes[0]
    axes.set_xlabel("epoch")
    assert not log_axes_say_so(figure)
    axes.text(1000, 1, "off", color="#56B4E9")
    assert not text_is_dark_enough(figure)
    axes.set_xticks([1000, 1010], ["1,000", "1,010"])
    assert not tick_labels_stand_apart(figure)
