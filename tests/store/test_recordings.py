"""Runs that differ in nothing but what was recorded are one run: trained once, counted once."""

from dataclasses import replace

import pandas as pd
import pytest
from grokinterp.hooks import UniformAttention
from runs_cases import SMALL_RUN, Interrupt, as_ensembles, same_run, with_model, with_recipe

import grokinterp as gi
from grokinterp.probes import PROBES
from grokinterp.report.experiments_section import Gathered
from grokinterp.report.runs_section import list_runs
from grokinterp.reproduction.curves import by_label
from grokinterp.reproduction.experiment import Afterwards, Experiment, Planned, Results
from grokinterp.reproduction.plan import make_plan
from grokinterp.reproduction.tables import seeds_table
from grokinterp.results import ship
from grokinterp.store.recording import fewest
from grokinterp.store.run_tables import table
from grokinterp.sweep.grid import grid
from grokinterp.sweep.train_over import pending_units, train_over
from grokinterp.training import train as training

MORE = with_recipe(
    eval_every=1,
    checkpoint_every=5,
    keep_optimizer=True,
    probes={"attention_entropy": 5, "norms": 10},
)
OTHER = with_recipe(eval_every=3, checkpoint_every=None, probes={"norms": 15})


@pytest.fixture
def nothing_is_trained(monkeypatch):
    def forbid():
        monkeypatch.setattr(training, "ensembles", None)

    return forbid


@pytest.mark.parametrize(
    "less",
    [
        SMALL_RUN,
        with_recipe(MORE, probes={"norms": 30}),
        with_recipe(MORE, checkpoint_epochs=(15,), checkpoint_every=None),
        with_recipe(MORE, keep_optimizer=False),
        with_recipe(MORE, eval_every=7),
    ],
)
def test_a_run_that_has_more_than_is_asked_for_is_not_trained_again(
    tmp_path, nothing_is_trained, less
):
    [more] = gi.train([MORE], store=tmp_path)
    nothing_is_trained()
    [run] = gi.train([less], store=tmp_path)
    assert (run.id, run.path) == (less.id, more.path)
    assert pending_units([less], tmp_path) == []
    assert [run.path for run in train_over([less], tmp_path)] == [more.path]


@pytest.mark.parametrize(
    "more",
    [
        with_recipe(eval_every=4),
        with_recipe(checkpoint_epochs=(7,)),
        with_recipe(keep_optimizer=True),
        with_recipe(probes={"norms": 10}),
    ],
)
def test_what_a_run_lacks_is_recorded_beside_it(tmp_path, nothing_is_trained, more):
    [plain] = gi.train([SMALL_RUN], store=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in plain.path.rglob("*")}
    [unit] = pending_units([more], tmp_path)
    assert unit == [more]
    [run] = gi.train([more], store=tmp_path)
    assert run.id == plain.id
    assert run.path != plain.path
    assert run.config == more
    assert {path: path.stat().st_mtime_ns for path in plain.path.rglob("*")} == before
    columns = plain.metrics.columns
    shared = run.metrics[run.metrics["epoch"].isin(plain.metrics["epoch"])][columns]
    pd.testing.assert_frame_equal(
        shared.reset_index(drop=True),
        plain.metrics[plain.metrics["epoch"].isin(shared["epoch"])].reset_index(drop=True),
        check_exact=True,
    )
    nothing_is_trained()
    assert gi.train([more], store=tmp_path)[0].path == run.path


def test_of_recordings_that_are_asked_for_together_the_fewest_are_trained(tmp_path):
    configs = [SMALL_RUN, MORE, OTHER, replace(SMALL_RUN, seed=2)]
    for runs in (
        gi.train(configs, tmp_path / "one"),
        train_over(configs, tmp_path / "two", workers=1),
    ):
        assert [run.id for run in runs] == [config.id for config in configs]
        assert runs[0].path == runs[1].path
        assert len({run.path for run in runs}) == 3
        assert runs[2].config == OTHER
    assert len(gi.open_store(tmp_path / "one")) == 2
    # Two that record the same, said in two ways, serve each other.
    ways = [with_recipe(epochs=10, eval_every=every) for every in (10, 20)]
    assert len(set(fewest(ways).values())) == 1
    assert grid(SMALL_RUN, {"eval_every": (5, 10)}) == [SMALL_RUN, with_recipe(eval_every=10)]


def test_where_a_run_was_trained_does_not_matter(tmp_path):
    [run] = gi.train([SMALL_RUN], store=tmp_path)
    elsewhere = with_recipe(device="cuda:1")
    assert elsewhere.id == run.id
    found = gi.open_store(tmp_path).find(elsewhere)
    assert found is not None
    assert found.path == run.path


def test_a_store_counts_a_run_once_and_gives_its_best_recording(tmp_path):
    store = gi.open_store(tmp_path, create=True)
    with pytest.raises(KeyboardInterrupt):
        gi.train([OTHER], store=tmp_path, observer=Interrupt(12))
    further = with_recipe(OTHER, eval_every=2)
    with pytest.raises(KeyboardInterrupt):
        gi.train([further], store=tmp_path, observer=Interrupt(24))
    assert [run.config for run in store] == [further]
    [plain] = gi.train([SMALL_RUN], store=tmp_path)
    assert [run.path for run in store] == [plain.path]
    [more] = gi.train([MORE], store=tmp_path)
    assert [run.path for run in store] == [more.path]
    assert len(store) == 1
    assert [run.config for run in store.recordings(more.id)] == [MORE, SMALL_RUN, further, OTHER]
    assert [run.path for run in store.select(id=more.id[:4], seed=1)] == [more.path]
    assert [run.config for run in store.select(eval_every=5)] == [SMALL_RUN]
    assert len(table(store.select(), print)) == 1


def planned(config):
    def plan(seeds):
        return [Planned("small", replace(config, seed=seed)) for seed in seeds]

    return Experiment("Small", "Is it small?", plan, lambda done: Results(), seeds=(1, 2))


def test_experiments_and_the_report_count_a_run_once(tmp_path):
    store = str(tmp_path)
    gi.train([SMALL_RUN, MORE, OTHER, replace(SMALL_RUN, seed=2)], store=store)
    plan = make_plan(planned(SMALL_RUN), store)
    assert (len(plan.found), len(plan.done), plan.missing) == (2, 2, [])
    assert [run.id for run in by_label(plan.done)["small"]] == [
        SMALL_RUN.id,
        replace(SMALL_RUN, seed=2).id,
    ]
    assert seeds_table(plan.done)["seeds"].tolist() == [2]
    in_store = list(gi.open_store(store))
    gathered = Gathered("small", plan.experiment, plan.done, 2, Results())
    ids = [listed.run.id for listed in list_runs([gathered], in_store)]
    assert len(ids) == len(set(ids))
    assert ids[:2] == [run.id for run in by_label(plan.done)["small"]]
    folder = tmp_path / "results"
    gi.open_store(folder, create=True)
    assert sorted(ship(in_store, folder)) == sorted(set(ids[:2]))


def test_a_plan_asks_for_what_it_needs_recorded(tmp_path):
    store = str(tmp_path)
    gi.train([SMALL_RUN], store=store)
    needs = planned(with_recipe(probes={"norms": 10}))
    assert len(make_plan(needs, store, [1]).missing) == 1
    gi.train([MORE], store=store)
    [(_, run)] = make_plan(needs, store, [1]).done
    assert run.config == MORE


@pytest.mark.parametrize(
    "recorded",
    [
        {"probes": {"norms": 7}},
        {"checkpoint_every": None, "checkpoint_epochs": (1, 23, 53)},
        {"probes": {"norms": 1}, "checkpoint_every": 1},
    ],
)
def test_a_stop_rule_does_not_depend_on_what_is_recorded(tmp_path, recorded):
    rule = with_recipe(
        epochs=200, eval_every=20, checkpoint_every=None, stop_when="train_loss <= 100 for 50"
    )
    [plain] = gi.train([rule], store=tmp_path / "plain")
    [run] = gi.train([with_recipe(rule, **recorded)], store=tmp_path / "recorded")
    assert run.id == plain.id
    assert (run.epoch, run.message) == (plain.epoch, plain.message)
    assert plain.epoch == 60


def asymmetric(power):
    """As a user writes it in a cell, and then edits it."""
    source = f"def probe(snapshot):\n    return {{'value': float(snapshot.epoch) ** {power}}}\n"
    scope = {"__name__": "__main__"}
    exec(compile(source, f"<cell {power}>", "exec"), scope)
    return scope["probe"]


def test_a_probe_that_was_edited_is_recorded_and_measured_anew(tmp_path, monkeypatch):
    config = with_recipe(probes={"power": 10})
    monkeypatch.setitem(PROBES, "power", asymmetric(1))
    [first] = gi.train([config], store=tmp_path)
    gi.probe([first], ["power"], epochs=[10])
    assert first.metrics["power.value"].dropna().tolist() == [10.0, 20.0, 30.0]
    probed = (Afterwards(("power",), near=(10,)),)
    plans = [replace(one, afterwards=probed) for one in planned(SMALL_RUN).plan([1])]
    asked = replace(planned(SMALL_RUN), plan=lambda seeds: plans)
    assert make_plan(asked, str(tmp_path), [1]).missing == []

    monkeypatch.setitem(PROBES, "power", asymmetric(2))
    assert "power.value" not in first.metrics
    assert first.probes.empty
    assert make_plan(asked, str(tmp_path), [1]).missing == plans
    with pytest.raises(gi.StoreError, match="holds no arrays of power"):
        first.arrays(10, "power")
    again = gi.probe([first], ["power"], epochs=[10])
    assert again["value"].tolist() == [100.0]
    assert make_plan(asked, str(tmp_path), [1]).missing == []
    [second] = gi.train([config], store=tmp_path)
    assert second.id == first.id
    assert second.path != first.path
    assert second.metrics["power.value"].dropna().tolist() == [100.0, 400.0, 900.0]
    assert [run.path for run in gi.open_store(tmp_path)] == [second.path]

    # As it was first: the first recording's own values again.
    monkeypatch.setitem(PROBES, "power", asymmetric(1))
    assert gi.train([config], store=tmp_path)[0].path == first.path
    assert first.probes["value"].tolist() == [10.0, 20.0, 30.0]
    assert first.probes["definition"].nunique() == 1
    # What was recorded stands where no probe has its name.
    monkeypatch.delitem(PROBES, "power")
    assert gi.Run(second.path).metrics["power.value"].notna().sum() == 3


def test_a_new_version_of_the_package_s_own_probe_counts_as_another(tmp_path, monkeypatch):
    config = with_recipe(probes={"norms": 10, "attention_entropy": 10})
    [first] = gi.train([config], store=tmp_path)
    gi.probe([first], ["norms"], epochs=[30])
    monkeypatch.setattr(PROBES["norms"], "version", 2, raising=False)
    assert "attention_entropy.mean" in first.metrics
    assert not [name for name in first.metrics if name.startswith("norms")]
    assert set(first.probes["probe"]) == {"attention_entropy"}
    assert set(first.records.table["definition"]) == {"1"}
    assert len(pending_units([config], tmp_path)) == 1


def test_an_interrupted_recording_never_mixes_two_definitions(tmp_path, monkeypatch):
    config = with_recipe(probes={"power": 10})
    monkeypatch.setitem(PROBES, "power", asymmetric(1))
    with pytest.raises(KeyboardInterrupt):
        gi.train([config], store=tmp_path, observer=Interrupt(20))
    monkeypatch.setitem(PROBES, "power", asymmetric(2))
    [run] = gi.train([config], store=tmp_path)
    assert run.metrics["power.value"].dropna().tolist() == [100.0, 400.0, 900.0]


def test_a_gap_that_a_failing_probe_left_is_not_trained_again(tmp_path, nothing_is_trained):
    def failing(snapshot):
        if snapshot.epoch:
            raise ZeroDivisionError("no convergence")
        return {"value": 0.0}

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROBES, "failing", failing)
        config = with_recipe(probes={"failing": 10})
        with pytest.warns(match="no convergence"):
            gi.train([config], store=tmp_path)
        nothing_is_trained()
        gi.train([config], store=tmp_path)


def test_a_fork_is_of_the_run_whichever_recording_it_is_taken_from(tmp_path):
    plain, more = (gi.train([c], store=tmp_path)[0] for c in (SMALL_RUN, MORE))
    assert plain.path != more.path
    config = with_recipe(lr=3e-3)
    starts = [run.checkpoint(10).weights for run in (plain, more)]
    ids = {gi.train([config], store=tmp_path, init=weights)[0].id for weights in starts}
    assert len(ids) == 1
    forks = [gi.train([config], store=tmp_path, init=plain.checkpoint(10))[0]]
    # Begun anew with another thing recorded, from what the first recording kept of its start.
    begun = replace(forks[0].config, train=MORE.train)
    begun = with_recipe(begun, lr=3e-3)
    forks += gi.train([begun], store=tmp_path)
    assert forks[0].id == forks[1].id
    assert forks[0].metrics["test_loss"].iloc[-1] == forks[1].metrics["test_loss"].iloc[-1]


def test_a_fork_with_its_parent_s_moments_begins_anew_with_them(tmp_path):
    [parent] = gi.train([MORE], store=tmp_path)
    config = with_recipe(epochs=20)
    [fork] = gi.train([config], store=tmp_path, init=parent.checkpoint(10))
    assert "+optimizer" in fork.config.start
    again = with_recipe(fork.config, eval_every=1)
    [other] = gi.train([again], store=tmp_path)
    assert other.path != fork.path
    last = fork.checkpoint(20).weights
    for name, value in other.checkpoint(20).weights.items():
        assert value.equal(last[name]), name
    (fork.path / "checkpoints" / "000000.safetensors").unlink()
    (other.path / "checkpoints" / "000000.safetensors").unlink()
    with pytest.raises(ValueError, match="does not hold all of them; give them as init"):
        gi.train([with_recipe(again, keep_optimizer=True)], store=tmp_path)


def test_the_same_training_together_or_apart(tmp_path, monkeypatch):
    """An ensemble's members may be recordings of one run."""
    monkeypatch.setattr(training, "units_of", as_ensembles)
    together = gi.train([with_model(MORE, norm="rms"), OTHER, MORE], store=tmp_path / "together")
    for run in together:
        [alone] = gi.train([run.config], store=tmp_path / run.path.name)
        same_run(run, alone)


def test_interventions_count_and_what_is_recorded_under_them_does_not():
    uniform = with_recipe(interventions=(UniformAttention(),))
    assert uniform.id != SMALL_RUN.id
    assert with_recipe(uniform, probes={"norms": 5}).id == uniform.id
