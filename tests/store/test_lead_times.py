"""Lead times, on curves whose crossings are known."""

import pandas as pd
import pytest
from runs_cases import with_recipe

import grokinterp as gi
from grokinterp.store.lead_times import NearExtreme, StandsStill, Threshold
from grokinterp.store.run import Run


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A trained run whose curves are replaced by known ones."""
    [trained] = gi.train([with_recipe(epochs=10)], store=tmp_path)
    epochs = [10, 20, 30, 40, 50]
    curves = {
        ("fourier_concentration", "value"): [0.1, 0.4, 1.0, 0.9, 3.0],
        # The first value is below the minimum that counts, the one after the peak.
        ("compressibility", "effective_rank"): [2.0, 90.0, 22.1, 21.9, 20.0],
        ("norms", "total"): [5.0, 9.1, 10.0, 2.0, 1.0],
        ("compressibility:split=test", "alpha"): [2.0, 1.5, 1.0, 1.0, 1.0],
    }
    probes = pd.DataFrame(
        [
            (epoch, probe, name, value)
            for (probe, name), values in curves.items()
            for epoch, value in zip(epochs, values, strict=True)
        ],
        columns=["epoch", "probe", "name", "value"],
    )
    metrics = pd.DataFrame({"epoch": epochs, "train_accuracy": 1.0, "test_loss": 1.0})
    metrics["test_accuracy"] = [0.0, 0.1, 0.5, 0.9, 1.0]
    monkeypatch.setattr(Run, "probes", property(lambda self: probes))
    monkeypatch.setattr(Run, "metrics", property(lambda self: metrics))
    return trained


def test_each_value_is_held_against_its_rule(run):
    table = gi.lead_times(run).set_index(["probe", "name", "rule"])
    assert run.grokking.generalised.by == 50
    found = {key: (row["after"], row["by"], row["lead"]) for key, row in table.iterrows()}
    assert found == {
        ("fourier_concentration", "value", ">= 1"): (20, 30, 20),
        ("compressibility", "effective_rank", "within 10 % of its minimum"): (30, 40, 10),
        ("compressibility:split=test", "alpha", "within 10 % of its minimum"): (20, 30, 20),
        ("norms", "total", "within 10 % of its minimum"): (40, 50, 0),
        ("norms", "total", "within 10 % of its maximum"): (10, 20, 30),
    }


def test_what_is_met_from_the_start_leads_nothing_until_it_is_met_again(run):
    rules = {("norms", "total"): Threshold("<=", 9.0)}
    table = gi.lead_times(run, rules).set_index("name")
    # 5.0, 9.1, 10.0, 2.0, 1.0
    assert (table.loc["total", "after"], table.loc["total", "by"]) == (30, 40)
    always = {("norms", "total"): Threshold(">=", 0.0)}
    row = gi.lead_times(run, always).set_index("name").loc["total"]
    assert row["after"] == 50
    assert pd.isna(row["by"])


def test_what_is_never_reached_is_censored_and_leads_nothing(run):
    rules = {("norms", "total"): Threshold(">=", 11.0)}
    table = gi.lead_times(run, rules).set_index(["probe", "name", "rule"])
    row = table.loc[("norms", "total", ">= 11")]
    assert row["after"] == 50
    assert pd.isna(row["by"])
    assert pd.isna(row["lead"])


def test_a_plateau_is_that_of_the_recorded_value(run, monkeypatch):
    epochs = [*range(100, 1100, 100)]
    curves = {
        "settles": [5.0, 4.0, 1.0, *[2.0] * 7],
        "moves": [float(t) for t in epochs],
        "constant": [3.0] * 10,
    }
    rows = [
        (t, "norms", name, v)
        for name, vs in curves.items()
        for t, v in zip(epochs, vs, strict=True)
    ]
    probes = pd.DataFrame(rows, columns=["epoch", "probe", "name", "value"])
    metrics = pd.DataFrame({"epoch": epochs, "train_accuracy": 1.0, "test_loss": 1.0})
    metrics["test_accuracy"] = [0.0] * 7 + [1.0] * 3
    monkeypatch.setattr(Run, "probes", property(lambda self: probes))
    monkeypatch.setattr(Run, "metrics", property(lambda self: metrics))
    table = gi.lead_times(run, StandsStill()).set_index("name")
    assert set(table["rule"]) == {"stands still from here"}
    # The median of the last 200 epochs' two rows is 1.5 at 400, and 2 from 500 on.
    expected = gi.plateau(pd.DataFrame({"epoch": epochs, "x": curves["settles"]}), "x").since
    assert expected == 500
    found = table.loc["settles"]
    assert (found["after"], found["by"], found["lead"]) == (400, 500, 300)
    # What still moves, and what never moved: neither came to rest.
    for name in ("moves", "constant"):
        assert table.loc[name, "after"] == 1000
        assert pd.isna(table.loc[name, "by"])


def test_a_rule_may_be_one_s_own(run):
    rules = {("norms", "total"): NearExtreme("maximum")}
    table = gi.lead_times(run, rules)
    assert len(table[table["name"] == "total"]) == 1


def test_a_run_that_did_not_generalise_has_no_lead(tmp_path):
    recipe = with_recipe(probes={"fourier_concentration": 10})
    [run] = gi.train([recipe], store=tmp_path)
    first = run.metrics["fourier_concentration.value"].dropna().iloc[0]
    rule = Threshold(">=", first + 1e-9)
    table = gi.lead_times(run, {("fourier_concentration", "value"): rule})
    assert table["lead"].isna().all()
