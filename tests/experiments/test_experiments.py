"""Experiments: what transplants do to the function, and a whole one from plan to table."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from cases import TASK, perturbed_model, small_config

import grokinterp as gi
from grokinterp.cli import main
from grokinterp.confidence_interval import LEVEL, coverage, median_interval
from grokinterp.experiments import EXPERIMENTS, progress_measures, transplant
from grokinterp.experiments.split_or_weights import POWER, _order, components, seeds_needed
from grokinterp.experiments.transplant import unchanged, with_mlp_norm, without_mlp_norm
from grokinterp.figures.strip import Beyond
from grokinterp.model.build import build_model
from grokinterp.reproduction import recipe
from grokinterp.reproduction.plan import make_plan
from grokinterp.reproduction.train_missing import train_missing
from grokinterp.snapshot import Snapshot
from grokinterp.task import ModularTask


def snapshot(placement: str) -> Snapshot:
    return Snapshot(perturbed_model(small_config(placement)), TASK, seed=1)


def rebuilt(placement: str, weights) -> torch.nn.Module:
    model = build_model(small_config(placement), TASK, 0, "float64")
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected
    assert not set(missing) & {name for name, _ in model.named_parameters()}
    return model


def loss(model, shot: Snapshot) -> float:
    with torch.no_grad():
        return F.cross_entropy(model(shot.train.tokens)[:, -1], shot.train.labels).item()


def test_taking_the_norm_out_is_freezing_its_scale_at_the_mean():
    shot = snapshot("mlp-pre")
    scale = shot.train.cache["blocks.0.ln2.hook_scale"][:, -1].mean().item()
    off = rebuilt("off", without_mlp_norm(shot))
    tokens = shot.grid.tokens
    with torch.no_grad(), gi.hooks.applied(shot.model, [gi.hooks.FreezeScale("mlp", scale)]) as m:
        expected = m(tokens)[:, -1]
        torch.testing.assert_close(off(tokens)[:, -1], expected, rtol=1e-10, atol=1e-10)
    assert (expected - shot.grid.logits).abs().max() > 1e-3


def test_putting_a_norm_in_changes_less_than_a_plain_norm_does():
    shot = snapshot("off")
    intact = loss(shot.model, shot)
    gentle = loss(rebuilt("mlp-pre", with_mlp_norm(shot)), shot)
    weights = unchanged(shot)
    plain = weights | {"blocks.0.ln2.w": torch.ones(8).double()}
    plain["blocks.0.ln2.b"] = torch.zeros(8).double()
    assert abs(gentle - intact) < 0.5 * abs(loss(rebuilt("mlp-pre", plain), shot) - intact)
    assert loss(rebuilt("off", weights), shot) == intact


def test_a_norm_put_in_gives_back_an_input_of_mean_scale():
    shot = snapshot("off")
    model = rebuilt("mlp-pre", with_mlp_norm(shot))
    x = shot.train.cache["resid_mid", 0][:, -1]
    centred = x - x.mean(-1, keepdim=True)
    at_mean = centred / x.std(-1, correction=0, keepdim=True) * x.std(-1, correction=0).mean()
    with torch.no_grad():
        found = model.blocks[0].ln2(x)
    torch.testing.assert_close(found, at_mean + x.mean(), rtol=1e-10, atol=1e-10)


SMALL = gi.RunConfig(task=ModularTask(p=5), model=gi.ModelConfig(d_model=8, n_heads=2), seed=1)


def made_small(model, train, seed=0):
    """In place of RunConfig."""
    placement = model.placement
    return replace(SMALL, model=replace(SMALL.model, placement=placement), train=train, seed=seed)


@pytest.fixture
def small(monkeypatch):
    """Every experiment at the size of a test."""
    short = replace(
        recipe.PAPER_RECIPE, epochs=30, checkpoint_every=5, checkpoint_ratio=None, probes={}
    )
    recipes = ("PAPER_RECIPE", "UNIFORM", "UNTIL_MEMORISED")
    for name in (
        "experiments.transplant",
        "experiments.uniform_attention",
        "experiments.direction_or_norm",
        "reproduction.positions",
    ):
        module = import_module(f"grokinterp.{name}")
        for constant in recipes:
            if hasattr(module, constant):
                given = getattr(module, constant)
                monkeypatch.setattr(
                    module, constant, replace(short, interventions=given.interventions)
                )
        if hasattr(module, "RunConfig"):
            monkeypatch.setattr(module, "RunConfig", made_small)
    monkeypatch.setattr(transplant, "REMOVED_AT", (5, 20))
    monkeypatch.setattr(transplant, "KEPT_AT", (10,))
    monkeypatch.setattr(transplant, "INSERTED_AT", 10)
    monkeypatch.setattr(transplant, "NORMED", replace(short, epochs=20))
    monkeypatch.setattr(transplant, "PLAIN", replace(short, epochs=10))
    monkeypatch.setattr(transplant, "TRAINED_ON", replace(short, epochs=20))


def test_a_transplant_from_plan_to_table(tmp_path, small):
    plan = make_plan(EXPERIMENTS["transplant"], str(tmp_path), [1, 2])
    assert len(plan.missing) == len(plan.planned) == 2 * 5
    train_missing(plan.missing, str(tmp_path))
    plan = make_plan(EXPERIMENTS["transplant"], str(tmp_path), [1, 2])
    assert plan.missing == []
    found = plan.experiment.results(plan.done)
    table = found.tables["transplant"]
    assert len(table) == 2 * 5
    assert set(table["transplant"]) >= {"LN removed at 5", "LN inserted at 10", "no LN from 10"}
    store = gi.open_store(tmp_path)
    assert len(store) == 2 * (2 + 5)
    [kept] = [
        run
        for run in store.select(placement="mlp-pre", seed=2)
        if run.config.start != "seed"
        and torch.equal(
            run.checkpoint(0).weights["embed.W_E"],
            store.select(placement="mlp-pre", seed=2, start="seed")[0]
            .checkpoint(10)
            .weights["embed.W_E"],
        )
    ]
    row = table[(table["transplant"] == "LN kept from 10") & (table["seed"] == 2)].iloc[0]
    assert row["test loss at the end"] == kept.metrics["test_loss"].iloc[-1]
    assert list(found.drawn) == ["overview", "test_accuracy"]


@pytest.mark.parametrize("name", ["transplant", "uniform-attention", "direction-or-norm"])
def test_an_experiment_trains_draws_and_saves_from_one_command(name, tmp_path, small, capsys):
    paths = ["--store", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    main(["reproduce", name, "--seeds", "1", "--workers", "1", *paths])
    shown = capsys.readouterr().out
    assert EXPERIMENTS[name].question in shown
    saved = {path.suffix for path in (tmp_path / "results" / name).iterdir()}
    assert ".csv" in saved
    assert saved == {".csv", ".png", ".pdf"}


def test_an_unknown_experiment_is_a_sentence(capsys):
    with pytest.raises(SystemExit):
        main(["reproduce", "transplants"])
    assert (
        "unknown experiment 'transplants'; did you mean transplant? choose one of ln-position"
        in (capsys.readouterr().err)
    )


def test_the_parts_of_a_full_square_are_those_of_the_analysis_of_variance():
    rng, n = np.random.default_rng(3), 4
    table = rng.normal(size=(n, n)) + rng.normal(size=(n, 1)) + 2 * rng.normal(size=(1, n))
    found = components({(i, j): table[i, j] for i in range(n) for j in range(n)})
    split, weights = (table.mean(axis, keepdims=True) - table.mean() for axis in (1, 0))
    left = ((table - table.mean() - split - weights) ** 2).sum() / (n - 1) ** 2
    assert found["rest"] == pytest.approx(left)
    for part, means in (("split", split), ("weights", weights)):
        square = n * (means**2).sum() / (n - 1)
        assert found[part] == pytest.approx((square - left) / n)


def test_the_parts_are_right_on_average_without_the_diagonal():
    rng, found = np.random.default_rng(1), []
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    for _ in range(3000):
        split, weights = rng.normal(0, 1, 4), rng.normal(0, 2, 4)
        found.append(components({(i, j): split[i] + weights[j] + rng.normal() for i, j in pairs}))
    means = pd.DataFrame(found).mean()
    assert means.to_dict() == pytest.approx({"split": 1, "weights": 4, "rest": 1}, abs=0.3)


@pytest.mark.parametrize("share", [0.7, 0.8, 0.95])
def test_the_seeds_that_are_needed_decide_as_often_as_they_promise(share):
    needed = seeds_needed(share)
    assert needed is not None
    rng = np.random.default_rng(0)
    for seeds, holds in ((needed, True), (needed - 1, False)):
        values = np.where(rng.random((seeds, 4000)) < share, 1.0, -1.0)
        low, _ = median_interval(values)
        decided = (low > 0).mean() if coverage(seeds) >= LEVEL else 0.0
        assert (decided > POWER - 0.02) if holds else (decided < POWER + 0.02)


def test_split_and_weights_are_varied_apart_and_the_runs_of_ln_position_are_used():
    plan = EXPERIMENTS["split-or-weights"].plan((444, 555))
    assert len({one.config.id for one in plan}) == len(plan) == 12
    position = {one.config.id for one in EXPERIMENTS["ln-position"].plan((444, 555))}
    for one in plan:
        assert (one.config.id in position) == (one.config.weights_seed == one.config.seed)


def test_an_order_that_is_not_known_is_not_counted():
    def of(later, earlier):
        found = _order({"off": {(1, 2): later}, "attn-pre": {(1, 2): earlier}})
        return None if found.empty else found.iloc[0, 1]

    assert of(20, 10) == of(Beyond(100), 10) == 1
    assert of(10, 20) == of(10, Beyond(100)) == of(10, 10) == 0
    assert of(Beyond(100), 200) is of(Beyond(100), Beyond(100)) is None


def test_a_loss_is_halved_after_its_largest_value():
    epochs = [0, 50, 100, 150]
    assert progress_measures.halved(pd.Series([1.0, 4.0, 2.0, 1.9], index=epochs)) == 150
    assert progress_measures.halved(pd.Series([1.0, 4.0, 2.0, 2.1], index=epochs)) is None
    assert progress_measures.halved(pd.Series(dtype=float)) is None
