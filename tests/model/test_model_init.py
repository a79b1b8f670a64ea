"""The initial weights, against the distributions that SPEC names."""

import math
from functools import cache

import pytest
import torch
from cases import EVERY_PLACEMENT, TASK, small_config
from torch import Tensor

from grokinterp.config import ModelConfig
from grokinterp.model.build import build_model
from grokinterp.model.parameters import initial_weights, is_trained, parameter_shapes
from grokinterp.task import ModularTask

D_MODEL, D_MLP = 64, 256
FAN_IN = {"attn.W_O": D_MODEL, "mlp.W_in": D_MODEL, "mlp.W_gate": D_MODEL, "mlp.W_out": D_MLP}
# Of a normal distribution cut at two standard deviations.
TRUNCATED_STD = 0.8796256610342398


@cache
def weights(init: str, gated: bool = True, scale: float = 1.0) -> dict[str, Tensor]:
    config = ModelConfig(
        "peri", d_model=D_MODEL, init=init, gated_mlp=gated, weight_init_scale=scale
    )
    model = build_model(config, ModularTask(p=59), seed=1, dtype="float64")
    return {name: value.detach() for name, value in model.named_parameters()}


def check_normal(value: Tensor, std: float) -> None:
    """Mean, std and share beyond two stds, each within four standard errors."""
    n = value.numel()
    assert abs(value.mean().item()) < 4 * std / math.sqrt(n)
    assert value.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * n))
    beyond = (value.abs() > 2 * std).double().mean().item()
    assert beyond == pytest.approx(0.0455, abs=4 * math.sqrt(0.0455 * 0.9545 / n))


@pytest.mark.parametrize("init", ["lecun", "kaiming"])
def test_embeddings_are_normal(init: str) -> None:
    check_normal(weights(init)["embed.W_E"], D_MODEL**-0.5)
    check_normal(weights(init)["unembed.W_U"], D_MODEL**-0.5)
    check_normal(weights(init)["pos_embed.W_pos"], 0.02)


@pytest.mark.parametrize("init", ["lecun", "kaiming"])
@pytest.mark.parametrize("name", ["W_Q", "W_K", "W_V"])
def test_attention_inputs_are_uniform(init: str, name: str) -> None:
    value = weights(init)[f"blocks.0.attn.{name}"]
    bound = math.sqrt(6 / (4 * D_MODEL))
    assert 0.99 * bound < value.abs().max() <= bound
    assert value.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)


@pytest.mark.parametrize("init", ["lecun", "lecun-icdf"])
@pytest.mark.parametrize("name", FAN_IN)
def test_lecun_is_a_truncated_normal(init: str, name: str) -> None:
    value, std = weights(init)[f"blocks.0.{name}"], FAN_IN[name] ** -0.5
    assert 1.98 * std < value.abs().max() <= 2 * std
    # No correction for the variance that the cut takes away.
    assert value.std().item() == pytest.approx(TRUNCATED_STD * std, rel=0.04)


@pytest.mark.parametrize("name", FAN_IN)
def test_kaiming_is_normal(name: str) -> None:
    check_normal(weights("kaiming")[f"blocks.0.{name}"], math.sqrt(2 / FAN_IN[name]))


def test_gains_are_one_and_biases_zero() -> None:
    names = [name for name in weights("lecun") if ".ln" in name or ".b_" in name]
    assert len(names) == 8 + 3
    for name in names:
        assert (weights("lecun")[name] == (1.0 if name.endswith(".w") else 0.0)).all(), name


def test_weight_init_scale_multiplies_every_parameter() -> None:
    for name, value in weights("lecun", scale=0.5).items():
        assert torch.equal(value, 0.5 * weights("lecun")[name])


def test_tensors_of_one_shape_differ() -> None:
    names = [f"blocks.0.attn.{name}" for name in ("W_Q", "W_K", "W_V")]
    q, k, v = (weights("lecun")[name] for name in names)
    assert not torch.equal(q, k)
    assert not torch.equal(k, v)
    deep = dict(build_model(small_config("off", n_layers=2), TASK).named_parameters())
    assert not torch.equal(deep["blocks.0.mlp.W_in"], deep["blocks.1.mlp.W_in"])


@pytest.mark.parametrize("placement", EVERY_PLACEMENT)
def test_a_seed_gives_each_name_its_values_whatever_the_placement(placement: str) -> None:
    plain = dict(build_model(small_config("off"), TASK, seed=5).named_parameters())
    config = small_config(placement, n_layers=2, gated_mlp=True)
    placed = dict(build_model(config, TASK, seed=5).named_parameters())
    assert plain.keys() < placed.keys()
    assert all(torch.equal(placed[name], value) for name, value in plain.items())
    other = dict(build_model(small_config("off"), TASK, seed=6).named_parameters())
    assert not torch.equal(other["embed.W_E"], plain["embed.W_E"])


def test_float32_weights_are_the_float64_ones_rounded() -> None:
    double = dict(build_model(small_config("pre"), TASK, dtype="float64").named_parameters())
    for name, value in build_model(small_config("pre"), TASK).named_parameters():
        assert value.dtype == torch.float32
        assert torch.equal(value, double[name].float())


# A seed means these numbers in every version of PyTorch, or a run could not be made again.
FIRST = {
    "embed.W_E": (0.037661056002286204, 0.001410214721268089),
    "pos_embed.W_pos": (0.024386994139495501, 0.0034833309120191657),
    "blocks.0.attn.W_Q": (-0.067914278133167555, 0.026970227923719801),
    "blocks.0.attn.W_O": (-0.027221924862224408, -0.076309678666998559),
    "blocks.0.mlp.W_in": (0.15002521060620613, -0.020376522082836256),
    "blocks.0.mlp.W_out": (-0.053866583743594161, -0.069920669437252794),
}


def test_a_seed_means_the_same_numbers_in_every_version_of_pytorch(monkeypatch) -> None:
    def forbidden(*args: object, **options: object) -> None:
        raise AssertionError("what torch.nn.init draws from a seed is not the same in all versions")

    monkeypatch.setattr(torch.nn.init, "trunc_normal_", forbidden)
    config = ModelConfig("off", d_model=D_MODEL)
    drawn = dict(build_model(config, ModularTask(p=59), seed=1, dtype="float64").named_parameters())
    for name, values in FIRST.items():
        assert drawn[name].flatten()[:2].tolist() == pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_layers": 2, "gated_mlp": True, "final_norm": "learned"},
        {"final_norm": "center-only", "freeze_mlp_biases": True, "answers": "p"},
        {"tied_unembedding": True, "freeze_ln": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("placement", EVERY_PLACEMENT)
def test_the_parameters_are_known_without_a_model(placement, norm, options) -> None:
    """Names in the model's order, which is that of the flat vector that an optimiser steps."""
    config = small_config(placement, norm=norm, **options)
    model = build_model(config, TASK)
    named = dict(model.named_parameters())
    shapes = {name: tuple(value.shape) for name, value in named.items()}
    assert list(parameter_shapes(config, TASK).items()) == list(shapes.items())
    for name, value in initial_weights(config, TASK, 0).items():
        assert torch.equal(value, named[name])
        assert is_trained(config, name) == named[name].requires_grad
