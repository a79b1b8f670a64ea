"""Probes in the store: recorded while training, and computed on checkpoints afterwards."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from runs_cases import SMALL_RUN, same_run, with_model, with_recipe

import grokinterp as gi
from grokinterp.config.recorded import METRICS
from grokinterp.probes import PROBES
from grokinterp.probes.calls import SETS, ProbeCall, expand
from grokinterp.snapshot import NotApplicable
from grokinterp.store import probe as probing
from grokinterp.store.progress import Observer
from grokinterp.training import train as training

PROBED = with_recipe(
    epochs=40,
    probes={"attention_entropy": 10, "shortcut:kind=shuffle_norm,split=train": 20},
    # Thread counts and the order of sums aside, a probe of a float64 model is exact.
    dtype="float64",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The small run, for the tests that write nothing to it."""
    return gi.train(SMALL_RUN, store=tmp_path_factory.mktemp("trained") / "runs")


@pytest.fixture
def small(trained, tmp_path):
    """A copy of it, to write to."""
    store = shutil.copytree(trained.path.parent, tmp_path / "runs")
    return gi.Run(store / trained.path.name)


class Failures(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []

    def failed(self, run, probe, reason) -> None:
        self.seen.append((run.id, probe, reason))


def test_online_probes_are_columns_at_their_cadence(tmp_path):
    [run] = gi.train([PROBED], store=tmp_path)
    metrics = run.metrics.set_index("epoch")
    names = [name for name in metrics.columns if name not in METRICS]
    shuffled = "shortcut:kind=shuffle_norm,split=train"
    assert names == [
        "attention_entropy.mean",
        *(f"{shuffled}.train_{value}" for value in ("loss", "accuracy", "loss_rise")),
    ]
    recorded = metrics["attention_entropy.mean"].dropna().index.tolist()
    assert recorded == [10, 20, 30, 40]
    assert metrics[f"{shuffled}.train_loss"].dropna().index.tolist() == [20, 40]


def test_online_probes_are_those_of_the_checkpoint_afterwards(tmp_path):
    [run] = gi.train([PROBED], store=tmp_path)
    after = gi.probe([run], PROBED.train.probes, epochs=[20, 40]).set_index(
        ["epoch", "probe", "name"]
    )["value"]
    metrics = run.metrics.set_index("epoch")
    assert len(after) == 8
    for (epoch, probe, name), value in after.items():
        assert metrics.loc[epoch, f"{probe}.{name}"] == pytest.approx(value, rel=1e-12), name
    # In one table, each once.
    assert len(run.probes) == 4 + 2 * 3
    assert set(run.probes["name"]) == {"mean", "train_loss", "train_accuracy", "train_loss_rise"}


def test_online_probes_of_an_ensemble_are_each_run_s_own(tmp_path):
    configs = [PROBED, replace(PROBED, seed=2), with_model(PROBED, readout_scale=1.5)]
    together = gi.train(configs, store=tmp_path / "together")
    for run, config in zip(together, configs, strict=True):
        [alone] = gi.train([config], store=tmp_path / "alone")
        pd.testing.assert_frame_equal(run.metrics, alone.metrics)
    values = [run.metrics["attention_entropy.mean"].iloc[-1] for run in together]
    assert len(set(values)) == 3


def test_online_probes_see_the_model_as_it_trains(tmp_path):
    uniform = (gi.hooks.UniformAttention(from_epoch=15),)
    [run] = gi.train([with_recipe(PROBED, interventions=uniform)], store=tmp_path)
    entropy = run.metrics.set_index("epoch")["attention_entropy.mean"].dropna()
    assert entropy[10] < np.log(3) - 1e-9
    assert entropy[20:].to_numpy() == pytest.approx(np.log(3))
    after = [PROBES["attention_entropy"](run.snapshot(epoch))["mean"] for epoch in (10, 20)]
    assert after == pytest.approx([entropy[10], np.log(3)])


def test_online_probes_survive_an_interruption(tmp_path, monkeypatch):
    [whole] = gi.train([PROBED], store=tmp_path / "whole")

    class Interrupt(Observer):
        def advanced(self, run, config, report):
            if report.epoch == 25:
                raise KeyboardInterrupt

    monkeypatch.setattr(training, "SECONDS_BETWEEN_SAVES", 0.0)
    with pytest.raises(KeyboardInterrupt):
        gi.train([PROBED], store=tmp_path / "parts", observer=Interrupt())
    [resumed] = gi.train([PROBED], store=tmp_path / "parts")
    same_run(resumed, whole)


def test_probing_does_not_change_the_training(tmp_path):
    [probed] = gi.train([PROBED], store=tmp_path / "probed")
    [plain] = gi.train([with_recipe(PROBED, probes={})], store=tmp_path / "plain")
    assert plain.id == probed.id
    pd.testing.assert_frame_equal(
        plain.metrics, probed.metrics[plain.metrics.columns], check_exact=True
    )


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            with_recipe(probes={"attention_entrop": 10}),
            "unknown probe 'attention_entrop'; did you mean",
        ),
        (with_recipe(probes={"ntk2xyz": 10}), "unknown probe 'ntk2xyz'"),
        (
            with_recipe(probes={"shortcut:side=train": 10}),
            "shortcut has no option 'side'; it takes",
        ),
        (with_recipe(probes={"shortcut:kind=no": 10}), "unknown kind 'no' of shortcut; choose one"),
        (
            with_recipe(with_model(n_heads=1), probes={"head_similarity": 10}),
            "cannot record while mlp-pre · seed 1 trains: head_similarity: .* has one",
        ),
        (with_recipe(probes={"cka": 10}), "cka: it compares with the final checkpoint"),
    ],
)
def test_a_probe_that_cannot_be_recorded_is_refused_before_training(tmp_path, config, sentence):
    with pytest.raises(ValueError, match=sentence):
        gi.train([config], store=tmp_path / "runs")
    assert not list(tmp_path.glob("runs/*/"))


@pytest.mark.parametrize("probes", [{"cheap": 0}, {"cheap": 1.5}, ["cheap"]])
@pytest.mark.usefixtures("unchecked")
def test_a_cadence_is_a_number_of_epochs(probes):
    with pytest.raises(ValueError, match="probes"):
        gi.TrainConfig(probes=probes)


def test_afterwards_computes_what_is_missing_and_nothing_twice(small, monkeypatch):
    measured = []
    real = probing.measure

    def count(snapshot, probes):
        measured.append((snapshot.epoch, [str(one) for one in probes]))
        return real(snapshot, probes)

    monkeypatch.setattr(probing, "measure", count)
    first = gi.probe([small], ["attention_entropy"], epochs=[10])
    assert measured == [(10, ["attention_entropy"])]
    assert first[["run", "epoch", "probe", "name"]].to_numpy().tolist() == [
        [small.id, 10, "attention_entropy", "mean"]
    ]
    direct = PROBES["attention_entropy"](small.snapshot(10))
    assert first["value"].item() == direct["mean"]
    stored = gi.Run(small.path).arrays(10, "attention_entropy")
    assert np.array_equal(stored["per_head"], direct["per_head"])

    measured.clear()
    both = gi.probe([small], ["attention_entropy", "fourier_concentration"])
    assert measured == [
        (0, ["attention_entropy", "fourier_concentration"]),
        (10, ["fourier_concentration"]),
        (20, ["attention_entropy", "fourier_concentration"]),
        (30, ["attention_entropy", "fourier_concentration"]),
    ]
    assert len(both) == 8
    measured.clear()
    gi.probe([small], ["attention_entropy"], epochs=[10], again=True)
    assert measured == [(10, ["attention_entropy"])]
    assert len(small.probes) == 8


def test_a_probe_that_does_not_apply_leaves_the_others_alone(tmp_path):
    runs = gi.train([SMALL_RUN, with_model(n_heads=1)], store=tmp_path)
    failures = Failures()
    table = gi.probe(
        runs, ["head_similarity", "attention_entropy"], epochs=[0, 30], observer=failures
    )
    assert table.groupby("run")["probe"].nunique().to_dict() == {runs[0].id: 2, runs[1].id: 1}
    [(run, probe, reason)] = failures.seen
    assert (run, probe) == (runs[1].id, "head_similarity")
    assert "compares heads" in reason


@pytest.mark.parametrize(
    ("probes", "epochs", "sentence"),
    [
        (["attention"], None, "unknown probe 'attention'"),
        (["cheap"], [7], "no checkpoint at epoch 7; the nearest are 0, 10, 20, 30"),
    ],
)
def test_bad_input_afterwards_writes_nothing(small, probes, epochs, sentence):
    before = {path: path.stat().st_mtime_ns for path in small.path.rglob("*")}
    with pytest.raises(ValueError, match=sentence):
        gi.probe([small], probes, epochs)
    assert {path: path.stat().st_mtime_ns for path in small.path.rglob("*")} == before


def test_arrays_that_are_not_there_are_a_sentence(trained):
    with pytest.raises(gi.StoreError, match="holds no arrays of attention_entropy at epoch 10"):
        trained.arrays(10, "attention_entropy")


@pytest.mark.parametrize("name", [*PROBES])
def test_every_probe_keeps_its_word(trained, name):
    """Floats and arrays, the same twice; the model and the global generators untouched."""
    options = {"chains": 2, "draws": 5, "burn_in": 2} if name == "llc" else {}
    shot = trained.snapshot(20)
    before = {key: value.clone() for key, value in shot.model.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = PROBES[name](shot, **options)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert all(torch.equal(value, before[key]) for key, value in shot.model.state_dict().items())
    assert not any(hook.fwd_hooks or hook.bwd_hooks for hook in shot.model.hook_dict.values())
    again = PROBES[name](trained.snapshot(20), **options)
    assert first, name
    assert first.keys() == again.keys()
    for key, value in first.items():
        assert isinstance(value, (float, np.ndarray)), key
        np.testing.assert_array_equal(value, again[key], err_msg=key)


def failing_from(epoch):
    def probe(snapshot):
        if snapshot.epoch >= epoch:
            raise ZeroDivisionError("no convergence")
        return {"value": 1.0}

    return probe


def test_a_probe_that_fails_later_leaves_a_gap_and_the_training_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(PROBES, "moody", failing_from(20))
    failures = Failures()
    config = with_recipe(probes={"moody": 10, "attention_entropy": 10})
    [run] = gi.train([config], store=tmp_path, observer=failures)
    metrics = run.metrics.set_index("epoch")
    assert run.status == "finished"
    assert metrics["moody.value"].dropna().index.tolist() == [10]
    assert metrics["attention_entropy.mean"].dropna().index.tolist() == [10, 20, 30]
    [(_, probe, reason), *_] = failures.seen
    assert probe == "moody"
    assert reason.startswith(
        "at epoch 20, it failed with ZeroDivisionError: no convergence (test_recording.py, line "
    )
    assert reason.endswith(", in probe)")


def test_what_is_compared_with_the_end_waits_for_it(tmp_path, monkeypatch):
    class Interrupt(Observer):
        def advanced(self, run, config, report):
            if report.epoch == 20:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gi.train([SMALL_RUN], store=tmp_path, observer=Interrupt())
    [run] = gi.open_store(tmp_path).select()
    failures = Failures()
    assert gi.probe([run], ["cka"], observer=failures).empty
    assert "its final checkpoint is not known" in failures.seen[0][2]
    gi.train([SMALL_RUN], store=tmp_path)
    table = gi.probe([run], ["cka"]).set_index(["epoch", "name"])["value"]
    assert table[10, "blocks.0.hook_resid_post"] < 1 - 1e-9
    assert table[30, "blocks.0.hook_resid_post"] == pytest.approx(1)


def test_scalars_lost_to_a_kill_are_computed_again(small, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("grokinterp.store.probe_records.write_table", killed)
        with pytest.raises(KeyboardInterrupt):
            gi.probe([small], ["attention_entropy"], epochs=[10])
    assert len(gi.probe([small], ["attention_entropy"], epochs=[10])) == 1


def test_a_trajectory_is_of_one_model(tmp_path):
    config = with_recipe(PROBED, interventions=(gi.hooks.UniformAttention(),))
    [run] = gi.train([config], store=tmp_path)
    recorded = run.probes[run.probes["probe"] == "attention_entropy"]
    assert recorded["epoch"].tolist() == [10, 20, 30, 40]
    # What is missing is computed of the same model.
    table = gi.probe([run], ["attention_entropy"])
    assert set(table["epoch"]) == set(run.checkpoint_epochs) == {0, 10, 20, 30, 40}
    assert table["value"].to_numpy() == pytest.approx(np.log(3))


@pytest.mark.parametrize("hook", [gi.hooks.RemoveNorm, gi.hooks.CenterOnly])
def test_a_shortcut_is_recorded_under_interventions_on_its_pathway(tmp_path, hook):
    config = with_recipe(probes={"shortcut": 10}, interventions=(hook("mlp"),))
    [run] = gi.train([config], store=tmp_path)
    assert run.metrics["shortcut.train_loss"].notna().sum() == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hessian:top=many", "top of hessian must be int; got 'many'"),
        ("ntk:rows=2.5", "rows of ntk must be int"),
        ("hessian:smallest=no", "smallest of hessian must be bool"),
        ("linear_probe:frequencies=3", "frequencies of linear_probe must be tuple"),
    ],
)
def test_an_option_of_another_type_is_a_sentence(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        ProbeCall.parse(text)


def test_a_column_is_of_the_longest_probe_that_it_begins_with(tmp_path, monkeypatch):
    def scaled(snapshot, by: float = 1.0):
        return {"0.value": by}

    monkeypatch.setitem(PROBES, "scaled", scaled)
    config = with_recipe(probes={"scaled:by=0": 10, "scaled:by=0.5": 10})
    [run] = gi.train([config], store=tmp_path)
    last = run.probes.query("epoch == 30")
    assert {*zip(last["probe"], last["name"], last["value"], strict=True)} == {
        ("scaled:by=0", "0.value", 0.0),
        ("scaled:by=0.5", "0.value", 0.5),
    }


def test_options_may_be_tuples_and_enter_columns(tmp_path):
    text = "linear_probe:frequencies=(1, 2),label=False"
    assert ProbeCall.parse(text).options == {"frequencies": (1, 2), "label": False}
    [run] = gi.train([with_recipe(probes={text: 30})], store=tmp_path)
    assert set(run.probes["probe"]) == {str(ProbeCall.parse(text))}
    assert "blocks.0.hook_resid_post.r2_max" in set(run.probes["name"])


def test_one_probe_s_trouble_does_not_stop_the_others(trained):
    found = gi.measure(trained.snapshot(), (n for n in ("norm_readout:layer=4", "norms")))
    assert "norms.total" in found.columns
    assert "layer must be an integer from 0 to 0" in found.failures["norm_readout:layer=4"]
    assert not found.tracebacks


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "probe", ["attention_entropy", "attention_uniformity", "head_similarity", "norm_readout"]
)
def test_a_layer_that_is_not_there_is_a_sentence(probe):
    config = gi.ModelConfig(n_layers=2, d_model=8, n_heads=2)
    shot = gi.Snapshot(gi.build_model(config, SMALL_RUN.task), SMALL_RUN.task, seed=0)
    for layer in (2, -3, True, 0.5):
        with pytest.raises(NotApplicable, match="layer must be an integer from 0 to 1, or from"):
            PROBES[probe](shot, layer=layer)
    last, negative = PROBES[probe](shot, layer=1), PROBES[probe](shot, layer=-1)
    for name, value in last.items():
        np.testing.assert_array_equal(value, negative[name])


@pytest.mark.parametrize(
    ("given", "scalar"),
    [
        (torch.tensor(2.5), 2.5),
        (torch.tensor(2.5, requires_grad=True), 2.5),
        (np.float32(2.5), 2.5),
        (np.array(2.5), 2.5),
        (np.int64(2), 2.0),
        (True, 1.0),
        (3, 3.0),
    ],
)
def test_a_number_is_a_number_however_it_comes(small, monkeypatch, given, scalar):
    monkeypatch.setitem(PROBES, "mine", lambda snapshot: {"value": given})
    table = gi.probe([small], ["mine"], epochs=[10])
    assert table["value"].tolist() == [scalar]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"a": 1.0, "b": torch.ones(3)},
            r"'b' of mine must be .* a tensor of shape \[3\], so give",
        ),
        (
            {"b": np.array(["x"])},
            "'b' of mine must be a number, or a numpy array of numbers; it is",
        ),
        ({"b": np.array([1j])}, "it is an array of complex128"),
        ({"b": "high"}, "it is 'high', of type str"),
        ({"b": None}, "it is None, of type NoneType"),
        ({"b": [1.0]}, r"it is \[1.0\], of type list"),
        ({1: 1.0}, "mine must give a dictionary of values by name; it gave dict"),
        (1.0, "mine must give a dictionary of values by name; it gave float"),
    ],
)
def test_what_is_no_number_is_refused_by_its_name(trained, monkeypatch, given, sentence):
    monkeypatch.setitem(PROBES, "mine", lambda snapshot: given)
    found = gi.measure(trained.snapshot(), ["mine", "norms"])
    assert re.search(sentence, found.failures["mine"])
    assert "norms.total" in found.columns
    assert not any(probe == "mine" for probe, _ in [*found.scalars, *found.arrays])


def refusing(snapshot):
    raise ValueError("give it a model that has what it needs")


def calling_numpy(snapshot):
    return {"value": float(np.ones(3) @ np.ones(4))}


def calling_torch(snapshot):
    return {"value": torch.ones(2).view(3).sum()}


def calling_a_library(snapshot):
    from sklearn.neighbors import KNeighborsClassifier

    return {"value": KNeighborsClassifier(5).fit(np.ones((3, 1)), [0, 1, 2]).predict([[1.0]])}


def test_a_bug_keeps_its_place_and_a_refusal_is_a_sentence(monkeypatch):
    config = gi.ModelConfig(d_model=8, n_heads=2)
    shot = gi.Snapshot(gi.build_model(config, SMALL_RUN.task), SMALL_RUN.task, seed=0)
    for probe in (refusing, calling_numpy, calling_torch, calling_a_library):
        monkeypatch.setitem(PROBES, probe.__name__, probe)
    names = ["refusing", "calling_numpy", "calling_torch", "calling_a_library"]
    found = gi.measure(shot, names)
    assert found.failures["refusing"] == "give it a model that has what it needs"
    assert found.tracebacks.keys() == set(names[1:])
    for name in names[1:]:
        assert re.match(
            rf"it failed with \w+: .*\(test_recording.py, line \d+, in {name}\)$",
            found.failures[name],
            re.DOTALL,
        )
        assert found.tracebacks[name].startswith("Traceback (most recent call last):")
        assert f"in {name}" in found.tracebacks[name]
    assert not found.inapplicable


def test_sets_name_probes_that_exist():
    for name in SETS:
        assert expand([name])
    assert str(ProbeCall.parse("shortcut:split=train,kind=unit_norm")) == (
        "shortcut:kind=unit_norm,split=train"
    )
    assert [str(one) for one in expand(["cheap", "norms"])].count("norms") == 1


def test_one_run_one_probe_and_one_epoch_need_no_lists(small):
    one = gi.probe(small, "norms", 20)
    several = gi.probe([small], ["norms"], [20])
    pd.testing.assert_frame_equal(one, several)
    assert set(one["epoch"]) == {20}


def test_an_option_takes_true_false_and_none_as_interventions_do():
    assert str(ProbeCall.parse("hessian:smallest=true")) == "hessian:smallest=True"
    assert ProbeCall.parse("ntk:rows=none").options == ProbeCall.parse("ntk:rows=None").options


def test_an_option_without_a_type_is_a_sentence(monkeypatch):
    monkeypatch.setitem(PROBES, "bare", lambda snapshot, by=1: {"value": 1.0})
    with pytest.raises(ValueError, match="by of bare has no type; annotate it"):
        ProbeCall.parse("bare:by=2")


def test_what_fails_is_warned_of_where_nobody_is_told(tmp_path, monkeypatch):
    """A probe without values must not be missing from the table without a word."""

    def fails(snapshot):
        if snapshot.epoch:
            raise ValueError("the weights are too large")
        return {"value": 1.0}

    monkeypatch.setitem(PROBES, "fails", fails)
    run = gi.train(SMALL_RUN, store=tmp_path)
    said = r"seed 1: attention_entropy:layer=3 was left out: .*layer must be"
    with pytest.warns(UserWarning, match=said):
        table = gi.probe(run, ["norms", "attention_entropy:layer=3"], epochs=30)
    assert set(table["probe"]) == {"norms"}
    with pytest.warns(UserWarning, match="fails was left out: at epoch 10, the weights are too"):
        gi.train(with_recipe(epochs=10, probes={"fails": 10}), store=tmp_path)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda run: gi.train("off"), "runs must be a RunConfig, or several; got 'o'"),
        (lambda run: gi.train([run]), "runs must be a RunConfig, or several; got <.*Run object"),
        (lambda run: gi.train(3), "runs must be a RunConfig, or several; got 3"),
        (lambda run: gi.train_over([run.config, "x"]), "configs must be a RunConfig.*got 'x'"),
        (lambda run: gi.probe(run.id), "runs must be a Run, or several; got"),
        (lambda run: gi.probe(run, epochs="all"), "None for every checkpoint; got 'all'"),
        (lambda run: gi.probe(run, epochs=1.5), "each of epochs must be an integer"),
        (lambda run: gi.probe(run, epochs=[10, "20"]), "each of epochs must be an integer"),
    ],
)
def test_what_is_no_run_and_no_epoch_is_a_sentence(trained, tmp_path, monkeypatch, call, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=said):
        call(trained)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("unchecked")
def test_epochs_may_be_an_array_s(small):
    for epochs in (np.array([10, 20]), np.arange(10, 30, 10), pd.Series([20, 10, 20])):
        assert set(gi.probe(small, "norms", epochs=epochs)["epoch"]) == {10, 20}
    assert set(gi.probe(small, "norms", epochs=np.int64(30))["epoch"]) == {30}
    assert gi.probe(small, "norms", epochs=[]).empty
