"""Clock and pizza: planted models of either, closed forms, and negative controls."""

import math

import numpy as np
import pytest
import torch
from cases import EVERY_PLACEMENT, TASK, perturbed_model, small_config

import grokinterp as gi
from grokinterp.model.build import build_model
from grokinterp.probes.algorithm import (
    distance_irrelevance,
    gradient_symmetricity,
    irrelevance_of,
)
from grokinterp.snapshot import Snapshot
from grokinterp.task import ModularTask

P, K = 11, 3
OMEGA = 2 * math.pi * K / P


def perturbed(placement="mlp-pre", **options) -> Snapshot:
    return Snapshot(perturbed_model(small_config(placement, **options)), TASK)


def symmetric(dtype="float64", placement="mlp-pre") -> Snapshot:
    """Uniform attention, and positions 0 and 1 alike: a function of E_a + E_b."""
    model = build_model(small_config(placement), TASK, 1, dtype)
    with torch.no_grad():
        model.blocks[0].attn.W_Q.zero_()
        model.pos_embed.W_pos[1] = model.pos_embed.W_pos[0]
    return Snapshot(model, TASK)


def planted_clock() -> Snapshot:
    """L_c = cos ω(a + b - c) exactly: one head fetches a, the other b, and the MLP multiplies."""
    task = ModularTask(P)
    model = build_model(gi.ModelConfig("off", d_model=12, n_heads=2, d_mlp=8), task, 0, "float64")
    angle = OMEGA * torch.arange(P, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.embed.W_E[:P, 0], model.embed.W_E[:P, 1] = angle.cos(), angle.sin()
        # Dimensions 8, 9 and 10 mark the position; the last query seeks one of the first two.
        model.pos_embed.W_pos[:, 8:11] = torch.eye(3)
        attn, mlp = model.blocks[0].attn, model.blocks[0].mlp
        for head in range(2):
            attn.W_Q[head, 10, 0] = 1e4
            attn.W_K[head, 8 + head, 0] = 1
            attn.W_V[head, :2, :2] = torch.eye(2)
            attn.W_O[head, :2, 2 + 2 * head : 4 + 2 * head] = torch.eye(2)
        # 4uv = (u + v)² - (u - v)²: cos·cos and sin·sin to the cosine of the sum, the rest to its
        # sine.
        products = [(2, 4, 6, 1), (3, 5, 6, -1), (2, 5, 7, 1), (3, 4, 7, 1)]
        for index, (u, v, into, sign) in enumerate(products):
            for half, side in ((0, 1), (1, -1)):
                neuron = 2 * index + half
                mlp.W_in[u, neuron], mlp.W_in[v, neuron] = 1, side
                mlp.W_out[neuron, into] = sign * side / 4
        mlp.act_fn = torch.square
        model.unembed.W_U[6, :P], model.unembed.W_U[7, :P] = angle.cos(), angle.sin()
    return Snapshot(model, task)


def test_the_planted_clock_is_one():
    a, b, c = np.indices((P, P, P))
    expected = np.cos(OMEGA * (a + b - c)).reshape(P * P, P)
    assert planted_clock().grid.logits[:, :P].numpy() == pytest.approx(expected, abs=1e-12)


def test_a_clocks_gradients_have_the_cosine_of_the_distance():
    found = gradient_symmetricity(planted_clock(), samples=4000)
    a, b, c = found["sampled"].T
    # ∂/∂E_a is (cos ω(b - c), -sin ω(b - c)), and with a for b the other.
    assert found["per_sample"] == pytest.approx(np.cos(OMEGA * (a - b)), abs=1e-12)
    assert found["value"] == pytest.approx(np.cos(OMEGA * (a - b)).mean(), abs=1e-12)
    assert abs(found["value"]) < 0.05
    assert found["std"] == pytest.approx(0.5**0.5, abs=0.03)
    assert set(c) == set(range(P))


@pytest.mark.parametrize(("dtype", "rounding"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("placement", ["off", "mlp-pre", "attn-pre-qk", "post"])
def test_a_function_of_the_sum_of_the_embeddings_is_symmetric(dtype, rounding, placement):
    found = gradient_symmetricity(symmetric(dtype, placement), samples=100)
    assert found["per_sample"] == pytest.approx(np.ones(100), abs=rounding)


@pytest.mark.parametrize("placement", ["attn-pre-v", "pre", "peri"])
def test_a_norm_of_the_values_makes_it_a_function_of_more_than_the_sum(placement):
    assert gradient_symmetricity(symmetric(placement=placement))["value"] < 0.95


@pytest.mark.parametrize("placement", EVERY_PLACEMENT)
def test_attention_that_tells_the_operands_apart_is_not_symmetric(placement):
    assert gradient_symmetricity(perturbed(placement))["value"] < 0.99


def test_a_rows_gradients_are_those_of_the_embedding_parameter():
    shot = perturbed(n_layers=2)
    found = gradient_symmetricity(shot, samples=40)
    model, compared = shot.model, 0
    for (a, b, c), cosine in zip(found["sampled"].tolist(), found["per_sample"], strict=True):
        if a == b:  # One row of W_E then has the sum of the two gradients.
            continue
        logit = model(torch.tensor([[a, b, TASK.p]]))[0, -1, c]
        [gradient] = torch.autograd.grad(logit, [model.embed.W_E])
        expected = torch.cosine_similarity(gradient[a], gradient[b], dim=0).item()
        assert cosine == pytest.approx(expected, rel=1e-9)
        compared += 1
    assert compared > 20


def test_a_model_that_does_not_read_its_operands_has_no_symmetricity():
    shot = symmetric()
    with torch.no_grad():
        shot.model.blocks[0].attn.W_V.zero_()
    found = gradient_symmetricity(shot)
    assert math.isnan(found["value"])
    assert math.isnan(found["std"])


def test_the_samples_are_of_the_seed_and_leave_no_trace():
    shot = perturbed()
    before = {name: p.clone() for name, p in shot.model.named_parameters()}
    with torch.no_grad():
        first, second = gradient_symmetricity(shot), gradient_symmetricity(shot)
    assert first["value"] == second["value"] != gradient_symmetricity(shot, seed=1)["value"]
    for name, parameter in shot.model.named_parameters():
        assert parameter.grad is None
        assert torch.equal(parameter, before[name])
    assert not shot.model.hook_embed.fwd_hooks
    with pytest.raises(ValueError, match="at least 1; got 0"):
        gradient_symmetricity(shot, samples=0)


def test_division_never_samples_a_zero_divisor():
    task = ModularTask(5, "div")
    shot = Snapshot(build_model(small_config("off"), task), task)
    a, b, _ = gradient_symmetricity(shot, samples=500)["sampled"].T
    assert set(a) == {0, 1, 2, 3, 4}
    assert set(b) == {1, 2, 3, 4}


def of_distance_and_sum(p: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Tables [a, b] of a random function of a - b, and of one of a + b."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.arange(p)
    difference, total = torch.randn(2, p, generator=generator, dtype=torch.float64)
    return difference[(a[:, None] - a) % p], total[(a[:, None] + a) % p]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_irrelevance_of_known_tables(dtype):
    by_distance, by_sum = (table.to(dtype) for table in of_distance_and_sum(13))
    assert irrelevance_of(by_distance)["value"] == pytest.approx(0, abs=1e-12)
    assert irrelevance_of(by_sum)["value"] == pytest.approx(1)
    variances = [table.var(correction=0).item() for table in (by_sum, 2 * by_distance)]
    expected = (variances[0] / sum(variances)) ** 0.5
    assert irrelevance_of(by_sum + 2 * by_distance + 7)["value"] == pytest.approx(expected)
    assert irrelevance_of(by_sum)["std"] == pytest.approx(variances[0] ** 0.5)


def test_the_spread_is_that_at_each_distance():
    table = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = [
        np.std([table[a, b].item() for a in range(6) for b in range(6) if (a - b) % 6 == d])
        for d in range(6)
    ]
    found = irrelevance_of(table)
    assert found["per_distance"] == pytest.approx(np.array(expected))
    assert found["value"] == pytest.approx(np.mean(expected) / table.numpy().std())


def test_noise_is_nearly_irrelevant_to_distance():
    p = 101
    noise = torch.randn(p, p, generator=torch.Generator().manual_seed(0))
    assert irrelevance_of(noise)["value"] == pytest.approx(1 - 3 / (4 * p), abs=1.5e-3)


@pytest.mark.parametrize("level", [0.0, 30.0])
def test_a_constant_correct_logit_has_no_irrelevance(level):
    noise = torch.randn(9, 9, generator=torch.Generator().manual_seed(0))
    rounding = level + 1e-6 * level * noise
    assert math.isnan(irrelevance_of(rounding)["value"])
    # The same spread is far above the rounding of float64.
    assert level == 0 or irrelevance_of(rounding.double())["value"] > 0.5


def test_the_planted_clock_is_the_degenerate_case():
    found = distance_irrelevance(planted_clock())
    assert math.isnan(found["value"])
    assert found["std"] < 1e-14


def test_irrelevance_reads_the_correct_logit():
    shot = perturbed()
    table = np.array(
        [
            [shot.model(torch.tensor([[a, b, 5]]))[0, -1, (a + b) % 5].item() for b in range(5)]
            for a in range(5)
        ]
    )
    expected = irrelevance_of(torch.from_numpy(table))
    found = distance_irrelevance(shot)
    assert found["value"] == pytest.approx(expected["value"], rel=1e-9)
    assert found["per_distance"] == pytest.approx(expected["per_distance"])
    task = ModularTask(5, "sub")
    with pytest.raises(ValueError, match="distance_irrelevance is about addition"):
        distance_irrelevance(Snapshot(build_model(small_config("off"), task), task))
