"""Norms, margins and softmax collapse of planted weights and logits."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import TASK, perturbed_model, small_config
from runs_cases import SMALL_RUN, with_model, with_recipe

import grokinterp as gi
from grokinterp.definition import definition_of
from grokinterp.loss import losses_of_examples
from grokinterp.model.build import build_model
from grokinterp.probes.optimisation import collapsed, logit_scale, norms, softmax_collapse
from grokinterp.snapshot import Inputs, NotApplicable, Snapshot
from grokinterp.store.state import RunState
from grokinterp.training.engine import train_together


def planted(logits, dtype="float64", recipe=None, **options) -> Snapshot:
    """A model that answers every input with these logits."""
    model = build_model(small_config("off"), TASK, 0, dtype)
    with torch.no_grad():
        model.unembed.W_U.zero_()
        model.unembed.b_U.copy_(torch.tensor(logits))
    return Snapshot(model, TASK, seed=0, recipe=recipe and gi.TrainConfig(**recipe), **options)


def test_norms_of_known_weights():
    shot = Snapshot(perturbed_model(small_config("pre")), TASK, seed=0)
    found = norms(shot)
    parameters = dict(shot.model.named_parameters())
    assert found.keys() == {"total", *parameters}
    assert found["embed.W_E"] == pytest.approx(parameters["embed.W_E"].norm().item(), rel=1e-12)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.fill_(2.0)
    count = sum(parameter.numel() for parameter in parameters.values())
    assert norms(shot)["total"] == pytest.approx(2 * math.sqrt(count), rel=1e-12)


def test_norms_need_no_pass_through_the_model(monkeypatch):
    shot = Snapshot(perturbed_model(small_config("pre")), TASK, seed=0)
    monkeypatch.setattr(type(shot.model), "forward", None)
    assert norms(shot)["total"] > 0


@pytest.mark.parametrize("freeze_ln", [False, True])
def test_the_total_is_the_weight_norm_of_training(freeze_ln):
    config = gi.RunConfig(
        TASK,
        small_config("pre", freeze_ln=freeze_ln),
        gi.TrainConfig(epochs=1, dtype="float64"),
        seed=1,
    )
    model = perturbed_model(config.model)
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _, reports in train_together([config], [weights], [RunState.initial(weights)]):
        [report] = reports
    total = norms(Snapshot(model, TASK, seed=0))["total"]
    assert total == pytest.approx(report.row["weight_norm"], rel=1e-10)


def test_the_distance_from_the_initial_checkpoint(tmp_path):
    [run] = gi.train([with_model(SMALL_RUN, placement="pre")], store=tmp_path)
    assert norms(run.snapshot(0))["distance_from_initial"] == 0
    first, last = dict(run.model(0).named_parameters()), dict(run.model(30).named_parameters())
    square = sum((last[name] - p).double().square().sum() for name, p in first.items())
    distance = norms(run.snapshot(30))["distance_from_initial"]
    assert distance == pytest.approx(square.sqrt().item(), rel=1e-6)
    # No longer than the path of updates: 30 epochs at a step of at most lr per weight.
    assert 0 < distance < 30 * run.metrics["update_norm"].max() * 1.5


def test_the_logit_scale_of_known_logits():
    logits = [0.0, -3.0, 7.0, 4.0, 1.0, -9.0]  # The last class is `=`.
    for split in ("train", "test", "grid"):
        shot = planted(logits)
        found = logit_scale(shot, split)
        assert found["mean_abs"] == pytest.approx(4)
        assert found["top2_margin"] == pytest.approx(3)
        of_label = [-7.0, -10.0, 3.0, -3.0, -6.0]
        expected = np.mean([of_label[label] for label in getattr(shot, split).labels])
        assert found["correct_margin"] == pytest.approx(expected)


def test_margins_ignore_a_constant_and_mean_abs_does_not():
    low, high = (logit_scale(planted([c, c + 1, c, c, c, c + 5])) for c in (0.0, 100.0))
    assert high["top2_margin"] == pytest.approx(low["top2_margin"]) == 4
    assert high["correct_margin"] == pytest.approx(low["correct_margin"])
    assert (low["mean_abs"], high["mean_abs"]) == (1, 101)


def test_random_weights_have_no_margin_for_the_label():
    config = gi.ModelConfig("off", d_model=32, n_heads=2)
    task = gi.ModularTask(p=23)
    found = logit_scale(Snapshot(build_model(config, task, 0, "float64"), task, seed=0), "grid")
    assert found["correct_margin"] < 0 < found["top2_margin"] < found["mean_abs"]
    assert softmax_collapse(Snapshot(build_model(config, task, 0), task, seed=0)) == {
        "one_hot": 0,
        "zero_loss": 0,
    }


@pytest.mark.parametrize(
    ("margin", "loss_dtype", "share"),
    [
        # exp(-margin) against half of eps, 2⁻²⁴ and 2⁻⁵³: collapse at 16.6 and at 36.7.
        (16.0, "float32", 0),
        (20.0, "float32", 1),
        (20.0, "float64", 0),
        (20.0, None, 0),
        (36.0, "float64", 0),
        (40.0, "float64", 1),
        (40.0, None, 1),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_collapses_at_the_precision_of_the_loss(margin, loss_dtype, share, dtype):
    recipe = loss_dtype and {"loss_dtype": loss_dtype, "dtype": dtype}
    shot = planted([0.0, 0.0, margin, 0.0, 0.0, 0.0], dtype, recipe)
    found = softmax_collapse(shot)
    assert found["one_hot"] == share
    right = (shot.train.labels == 2).double().mean().item()
    assert 0 < right < 1
    # A confident error is one-hot, and its loss is far from 0.
    assert found["zero_loss"] == pytest.approx(share * right)


def test_the_temperature_and_the_initial_prediction_are_the_loss_s():
    logits = [0.0, 0.0, 7.0, 0.0, 0.0, 0.0]
    warm = planted(logits, recipe={"loss_dtype": "float32", "loss_logit_scale": 3.0})
    assert softmax_collapse(warm)["one_hot"] == 1
    assert softmax_collapse(planted(logits, recipe={"loss_dtype": "float32"}))["one_hot"] == 0

    recipe = {"loss_dtype": "float32", "subtract_initial_prediction": True}
    start = planted([0.0, 0.0, 0.0, 30.0, 0.0, 0.0])
    shot = planted([0.0, 0.0, 7.0, 30.0, 0.0, 0.0], recipe=recipe, others=lambda which: start)
    assert softmax_collapse(shot)["one_hot"] == 0
    shot = planted(
        [0.0, 0.0, 30.0, 30.0, 0.0, 0.0], recipe=recipe, others={"initial": start}.__getitem__
    )
    assert softmax_collapse(shot)["one_hot"] == 1
    with pytest.raises(NotApplicable, match="with the initial checkpoint, which this snapshot"):
        softmax_collapse(planted(logits, recipe=recipe))
    # The loss subtracts what the bare network said.
    gi.hooks.attach(start.model, [gi.hooks.UniformAttention()])
    with pytest.raises(NotApplicable, match="hooks act on this model"):
        softmax_collapse(shot)


def test_a_loss_without_a_softmax_has_none_that_collapses():
    shot = planted([0.0, 0.0, 20.0, 0.0, 0.0, 0.0], recipe={"loss": "stablemax"})
    with pytest.raises(NotApplicable, match="loss is stablemax, which has no softmax"):
        softmax_collapse(shot)


@pytest.mark.parametrize("margin", [20.0, 40.0])
def test_by_margins_softmax_does_not_collapse_but_underflows(margin):
    recipe = {"loss_dtype": "float32", "loss_form": "margins"}
    shot = planted([0.0, 0.0, margin, 0.0, 0.0, 0.0], recipe=recipe)
    assert softmax_collapse(shot) == {"one_hot": 0, "zero_loss": 0}
    # Below exp(-103.97) float32 has no numbers.
    under = planted([0.0, 0.0, 110.0, 0.0, 0.0, 0.0], recipe=recipe)
    found = softmax_collapse(under)
    right = (under.train.labels == 2).double().mean().item()
    assert found == {"one_hot": 1, "zero_loss": pytest.approx(right)}


@pytest.mark.parametrize(
    ("loss_dtype", "loss_form"),
    [("float32", "log-softmax"), ("float64", "log-softmax"), ("float32", "margins")],
)
def test_a_run_s_collapse_is_that_of_its_own_loss(tmp_path, loss_dtype, loss_form):
    """The share of train examples whose loss, as the training computed it, is exactly 0."""
    recipe = {"epochs": 150, "lr": 0.02, "weight_decay": 0.0, "checkpoint_every": 50}
    config = with_recipe(
        loss_dtype=loss_dtype,
        loss_form=loss_form,
        loss_logit_scale=8.0,
        probes={"softmax_collapse": 50},
        **recipe,
    )
    [run] = gi.train([config], store=tmp_path)
    online = run.metrics.set_index("epoch")["softmax_collapse.zero_loss"]
    shares = []
    for epoch in (50, 100, 150):
        inputs = run.snapshot(epoch).train
        losses = [
            losses_of_examples(config.train, logits[None, None], label[None, None]).item()
            for logits, label in zip(inputs.logits, inputs.labels, strict=True)
        ]
        shares.append(np.mean(np.array(losses) == 0))
        assert online[epoch] == softmax_collapse(run.snapshot(epoch))["zero_loss"] == shares[-1]
    assert bool(max(shares) > 0.1) is ((loss_dtype, loss_form) == ("float32", "log-softmax"))
    assert definition_of(softmax_collapse) == "2"


def test_a_memorised_example_still_has_a_gradient_in_a_float32_model():
    shot = planted([0.0, 0.0, 25.0, 0.0, 0.0, 0.0], "float32")
    model = shot.model
    model.unembed.b_U = torch.nn.Parameter(model.unembed.b_U.detach())
    keep = shot.train.labels == 2
    memorised = Inputs(model, shot.train.tokens[keep], shot.train.labels[keep])
    found = memorised.gradients["unembed.b_U"]
    assert found.dtype == torch.float32
    assert found[2].item() == pytest.approx(-5 * math.exp(-25), rel=1e-5)
    assert found[0].item() == pytest.approx(math.exp(-25), rel=1e-5)


def test_an_example_of_zero_loss_does_not_pull_its_logit():
    generator = torch.Generator().manual_seed(0)
    logits = 12 * torch.randn(400, 10, generator=generator)
    labels = logits.argmax(-1)
    found = collapsed(logits, labels)
    logits.requires_grad_()
    F.cross_entropy(logits, labels, reduction="sum").backward()
    still = logits.grad.gather(1, labels[:, None]) == 0
    assert 0.05 < found["zero_loss"] < 0.95
    assert found["zero_loss"] == pytest.approx(still.double().mean().item())
    assert found["one_hot"] == pytest.approx(found["zero_loss"], abs=0.01)


def test_another_split():
    shot = planted([0.0, 0.0, 50.0, 0.0, 0.0, 0.0])
    for split in ("train", "test", "grid"):
        share = (getattr(shot, split).labels == 2).double().mean().item()
        assert softmax_collapse(shot, split)["zero_loss"] == pytest.approx(share)
