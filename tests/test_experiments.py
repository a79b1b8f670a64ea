"""Experiments: what transplants do to the function, and a whole one from plan to table."""

from dataclasses import replace
from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from cases import TASK, perturbed_model, small_config

import grokinterp as gi
from grokinterp.cli import main
from grokinterp.experiments import EXPERIMENTS, recipe, transplant
from grokinterp.experiments.carry_out import carry_out
from grokinterp.experiments.plan import make_plan
from grokinterp.experiments.transplant import unchanged, with_mlp_norm, without_mlp_norm
from grokinterp.model import build_model
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
    short = replace(recipe.PAPER, epochs=30, checkpoint_every=5, checkpoint_ratio=None, probes={})
    recipes = ("PAPER", "UNIFORM", "UNTIL_MEMORISED")
    for name in ("transplant", "uniform_attention", "direction_or_norm", "positions"):
        module = import_module(f"grokinterp.experiments.{name}")
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
    carry_out(plan.missing, str(tmp_path))
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
    assert list(found.figures) == ["test_accuracy"]


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
