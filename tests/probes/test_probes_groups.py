"""Waves are over the group that the task works in, or the probe refuses: an additive model, and the
multiplicative one that it becomes when its tokens are renamed by a discrete logarithm."""

import re

import numpy as np
import pytest
import torch

import grokinterp as gi
from grokinterp import circuits
from grokinterp.ablation import ablate, cluster
from grokinterp.circuits import direct_logit_attribution
from grokinterp.model.build import build_model
from grokinterp.probes import PROBES
from grokinterp.probes.fourier import cyclic_order
from grokinterp.snapshot import NotApplicable, Snapshot
from grokinterp.task import OPERATIONS, ModularTask

P = 11
NEW = [2**exponent % P for exponent in range(P - 1)]
"""The token of Z_11's multiplicative group for each residue mod 10."""


def model_of(task: ModularTask, seed=0):
    config = gi.ModelConfig("mlp-pre", d_model=16, n_heads=2, d_mlp=24)
    model = build_model(config, task, seed, "float64")
    with torch.no_grad():  # Biased, so that neurons vary in different ways.
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(24, generator=generator, dtype=torch.float64)
        model.blocks[0].mlp.b_in.copy_(noise)
        model.W_E.mul_(5)
    return model


def additive(seed=0) -> Snapshot:
    return Snapshot(model_of(ModularTask(P - 1), seed), ModularTask(P - 1), seed=1)


def renamed(operation: str, seed=0) -> Snapshot:
    """The same transformer, told 2^a for a and 2^b for b, answering with 2^c for c."""
    task, source = ModularTask(P, operation), model_of(ModularTask(P - 1), seed)
    model = model_of(task, seed + 1)
    weights = model.state_dict() | {
        name: value
        for name, value in source.state_dict().items()
        if name not in ("embed.W_E", "unembed.W_U", "unembed.b_U")
    }
    model.load_state_dict(weights)
    with torch.no_grad():
        model.embed.W_E[[*NEW, P]] = source.embed.W_E
        model.unembed.W_U[:, [*NEW, P]] = source.unembed.W_U
    return Snapshot(model, task, seed=1)


WAVES = {
    "fourier_concentration": {},
    "embedding_spectrum": {},
    "circularity": {},
    "key_frequencies": {"rule": "neuron_logit"},
    "key_frequencies by embedding": {"rule": "embedding_quarter_max"},
    "key_frequencies by neurons": {"rule": "neuron_argmax"},
    "neuron_frequencies": {},
    "fourier_plane": {},
    "fourier_plane of logits": {"of": "logits"},
    "singular_vectors": {},
    "singular_vectors to logits": {"matrix": "neuron_logit"},
}
of_each = pytest.mark.parametrize("name", WAVES)


def measure(name: str, shot: Snapshot) -> dict:
    return PROBES[name.partition(" ")[0]](shot, **WAVES[name])


@of_each
@pytest.mark.parametrize("operation", ["mul", "div"])
def test_a_multiplicative_model_is_an_additive_one_by_the_logarithms_of_its_tokens(name, operation):
    expected, found = measure(name, additive()), measure(name, renamed(operation))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-9, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", [one for one in WAVES if one != "key_frequencies by neurons"])
def test_in_the_order_of_the_residues_it_is_another_thing(name):
    """The negative control: the renamed model's own numbers are not those of its plain order."""
    shot = renamed("mul")
    plain = Snapshot(shot.model, ModularTask(P), seed=1)
    found, other = measure(name, shot), measure(name, plain)
    assert any(
        np.shape(found[key]) != np.shape(other[key]) or not np.allclose(found[key], other[key])
        for key in found
    )


@of_each
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_has_its_waves_or_is_refused(name, operation):
    task = ModularTask(P, operation)
    shot = Snapshot(model_of(task), task, seed=0)
    if operation in ("add", "sub", "mul", "div"):
        assert measure(name, shot)
    else:
        with pytest.raises(NotApplicable, match=r"in waves over a cyclic group .* works in none"):
            measure(name, shot)


@of_each
@pytest.mark.parametrize("p", [4, 9, 10])
def test_multiplication_mod_no_prime_has_no_waves(name, p):
    task = ModularTask(p, "mul")
    with pytest.raises(NotApplicable, match=rf"mul \(p = {p}\) works in none"):
        measure(name, Snapshot(model_of(task), task, seed=0))
    additive = ModularTask(p, "sub")
    assert measure(name, Snapshot(model_of(additive), additive, seed=0))


@pytest.mark.parametrize("p", [3, 5, 7, 11, 13, 113])
def test_the_order_is_that_of_powers_of_one_root(p):
    order = cyclic_order(ModularTask(p, "mul"))
    assert sorted(order.tolist()) == [*range(1, p)]
    assert order[0] == 1
    if p > 3:
        assert all(order[i] * order[1] % p == order[i + 1] for i in range(p - 2))
    assert torch.equal(cyclic_order(ModularTask(p, "div")), order)
    assert torch.equal(cyclic_order(ModularTask(p, "sub")), torch.arange(p))


def test_a_planted_multiplicative_wave_is_found():
    task = ModularTask(P, "mul")
    model = model_of(task)
    exponent = {token: place for place, token in enumerate(NEW)}
    phase = torch.arange(16).double()
    with torch.no_grad():
        for token in range(1, P):
            angle = 2 * np.pi * 3 * exponent[token] / (P - 1)
            model.embed.W_E[token] = torch.cos(angle + phase)
    shot = Snapshot(model, task, seed=0)
    assert measure("key_frequencies by embedding", shot)["frequencies"].tolist() == [3]
    assert measure("fourier_concentration", shot)["value"] > 1e3
    assert measure("circularity", shot)["value"] == pytest.approx(1)
    # The token 0 is no power, and changes nothing.
    with torch.no_grad():
        model.embed.W_E[0] = 100
    assert measure("fourier_concentration", shot)["value"] > 1e3
    plain = Snapshot(model, ModularTask(P), seed=0)
    assert measure("fourier_concentration", plain)["value"] < 1


def test_what_is_about_addition_still_refuses_subtraction():
    task = ModularTask(P, "sub")
    shot = Snapshot(model_of(task), task, seed=0)
    for name in ("logit_formula", "restricted_loss", "excluded_loss", "distance_irrelevance"):
        with pytest.raises(NotApplicable, match=f"{name} is about addition"):
            PROBES[name](shot)


@pytest.mark.parametrize("operation", ["mul", "div"])
def test_clusters_of_an_attribution_are_of_the_same_frequencies(operation):
    shot = renamed(operation)
    with torch.no_grad():  # Linear, so that each neuron is of one frequency of one operand or two.
        shot.model.blocks[0].mlp.b_in.add_(100)
    found = direct_logit_attribution(shot)
    assert found["clusters"].shape == (1, (P - 1) // 2)
    sizes = PROBES["neuron_frequencies"](shot)["sizes"]
    assert found["cluster_sizes"][0].tolist() == sizes.tolist()
    if sizes.any():
        k = int(np.flatnonzero(sizes)[0]) + 1
        assert len(cluster(shot, k).neurons) == sizes[k - 1]


def test_an_attribution_without_waves_has_no_clusters():
    task = ModularTask(P, "a2+b2")
    shot = Snapshot(model_of(task), task, seed=0)
    found = direct_logit_attribution(shot)
    assert found["clusters"].shape == found["cluster_sizes"].shape == (1, 0)
    assert found["unclustered"] == pytest.approx(found["neurons"].sum(1))
    labels = [bar["label"] for bar in circuits.logit_attribution(shot).frames[0].data["bars"]]
    assert "neurons of no one frequency" in labels


def test_circles_name_the_tokens_in_their_order():
    [panel] = circuits.frequency_circles(renamed("mul"), [2]).frames[0].data["panels"]
    [plain] = circuits.frequency_circles(additive(), [2]).frames[0].data["panels"]
    assert panel["tokens"] == NEW
    assert plain["tokens"] == [*range(P - 1)]
    assert panel["points"] == plain["points"]
    task = ModularTask(P, "xor")
    with pytest.raises(NotApplicable, match="frequency_circles is in waves over a cyclic group"):
        circuits.frequency_circles(Snapshot(model_of(task), task, seed=0), [2])


@pytest.mark.parametrize(
    "item", [gi.hooks.FilterEmbedding((1,)), gi.hooks.FilterFrequencies("hook_embed", (1,))]
)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_filters_of_residues_refuse_other_operations(item, operation):
    task = ModularTask(5, operation)
    model = model_of(task)
    if operation in ("add", "sub"):
        assert item.hooks(model)
        return
    with pytest.raises(ValueError, match=re.escape(f"and this model's task is {operation}")):
        item.hooks(model)
    with pytest.raises(ValueError, match="is about waves over the residues"):
        ablate(Snapshot(model, task, seed=0), [item])
