"""Runs draw themselves: what is drawn is what was recorded."""

import numpy as np
import pytest
from runs_cases import SMALL_RUN, with_model, with_recipe

import grokinterp as gi
from grokinterp.figures.evolution import MAIN
from grokinterp.results import FOLDER


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    configs = [
        with_recipe(with_model(placement=placement), probes={"norms": 10})
        for placement in ("off", "pre")
    ]
    return gi.train([*configs, SMALL_RUN], store=tmp_path_factory.mktemp("runs"))


def line(axes, gid):
    return [one for one in axes.get_lines() if one.get_gid() == gid]


def main_axes(figure):
    """Those of the medians; below are those of the seeds."""
    [axes] = [one for one in figure.axes if one.get_gid() == MAIN]
    return axes


def legend(figure):
    """Of whichever axes it stands above."""
    [found] = [one.get_legend() for one in figure.axes if one.get_legend()]
    return [text.get_text() for text in found.get_texts()]


def test_a_run_draws_its_learning_curves_and_its_times():
    run = gi.open_store(FOLDER).select(id="307d2fe1")[0]
    accuracy, loss = run.plot().axes
    for axes, kind in ((accuracy, "accuracy"), (loss, "loss")):
        for drawn, split in zip(axes.get_lines(), ("train", "test"), strict=False):
            assert np.array_equal(drawn.get_ydata(), run.metrics[f"{split}_{kind}"])
    [mark] = line(accuracy, "generalised")
    assert mark.get_xdata()[0] == run.grokking.generalised.by
    assert loss.get_ylabel() == "cross-entropy\n(nats, log scale)"


def test_another_loss_is_called_by_its_name(tmp_path):
    run = gi.train(with_recipe(loss="mse"), store=tmp_path)
    assert run.plot().axes[1].get_ylabel() == "mse loss"


def test_runs_are_a_list_that_draws_itself(runs):
    assert isinstance(runs, list)
    assert isinstance(gi.open_store(runs[0].path.parent).select(), gi.Runs)
    assert isinstance(runs[:2], gi.Runs)
    assert runs[0].id == runs[:2][0].id
    figure = runs.plot()
    axes = main_axes(figure)
    assert axes.get_ylabel() == "test accuracy"
    assert legend(figure) == [
        f"{name}: did not generalise" for name in ("No LN · off", "M+A* · pre", "M · mlp-pre")
    ]
    for drawn, run in zip(line(axes, "median"), runs, strict=True):
        assert np.array_equal(drawn.get_ydata(), run.metrics["test_accuracy"])


def test_seeds_are_one_label_and_a_rate_another(tmp_path):
    runs = gi.train(
        [with_recipe(lr=lr) for lr in (0.001, 0.01)]
        + [gi.RunConfig(SMALL_RUN.task, SMALL_RUN.model, SMALL_RUN.train, seed=2)],
        store=tmp_path,
    )
    assert legend(runs.plot("train_loss")) == [
        "mlp-pre · lr 0.001: 0 of 2",
        "mlp-pre · lr 0.01: did not generalise",
    ]


def test_a_scalar_is_of_the_metrics_or_of_what_probes_found(runs):
    run = runs[2]
    gi.probe(run, ["norms"], epochs=[0, 20])
    assert run.scalar("weight_norm")["weight_norm"].tolist() == run.metrics["weight_norm"].tolist()
    after = run.scalar("norms.total")
    assert after["epoch"].tolist() == [0, 20]
    while_training = runs[0].scalar("norms.total")
    assert while_training["epoch"].tolist() == [10, 20, 30]
    [drawn] = line(main_axes(run.plot("norms.total")), "median")
    assert np.array_equal(drawn.get_ydata(), after["norms.total"])


def test_what_is_not_there_is_refused_by_name(runs):
    with pytest.raises(ValueError, match="no scalar 'test_acuracy'; choose one of test_accuracy"):
        runs.plot("test_acuracy")
    with pytest.raises(ValueError, match="no scalar 'epoch'"):
        runs[0].plot("epoch")
    with pytest.raises(ValueError, match="there is no run to plot"):
        gi.Runs().plot()
