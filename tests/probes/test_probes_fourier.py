"""Fourier probes: a planted clock, closed forms, and random weights as the control."""

import math
import re

import numpy as np
import pytest
import torch
from planted import KEYS, P, clock, planted, waves

import grokinterp as gi
from grokinterp.model.build import build_model
from grokinterp.probes import PROBES
from grokinterp.probes.calls import ProbeCall
from grokinterp.probes.embedding import gini
from grokinterp.probes.fourier import fourier_basis, frequency_norms, sum_waves
from grokinterp.probes.frequencies import frequency_shares, keys
from grokinterp.snapshot import Snapshot
from grokinterp.task import ModularTask


def random_snapshot(p=31, seed=1, **options) -> Snapshot:
    task = ModularTask(p=p)
    config = gi.ModelConfig("off", d_model=32, n_heads=2, **options)
    return Snapshot(build_model(config, task, seed, "float64"), task, seed=1)


def wave(p, k, phase=0.0):
    return torch.cos(2 * math.pi * k * torch.arange(p).double() / p + phase)


@pytest.mark.parametrize("p", [7, 8, 11, 12])
def test_the_basis_is_orthonormal_and_finds_each_frequency(p):
    assert torch.allclose(fourier_basis(p) @ fourier_basis(p).T, torch.eye(p).double())
    for k in range(1, p // 2 + 1):
        x = 3 * wave(p, k)[:, None] + 5  # The constant counts nowhere.
        norms = frequency_norms(x)
        assert norms[k - 1].item() == pytest.approx(x.sub(5).norm().item())
        assert norms.square().sum().sqrt().item() == pytest.approx(norms[k - 1].item())
    columns = sum_waves(p, tuple(range(1, p // 2 + 1)))
    assert torch.allclose(columns.T @ columns, torch.eye(columns.shape[1]).double())


def test_the_planted_clock_is_one():
    logits = clock()(gi.ModularTask(p=P).encode(gi.ModularTask(p=P).pairs())[0])[:, -1]
    a, b = torch.arange(P)[:, None, None], torch.arange(P)[None, :, None]
    angle = 2 * math.pi * (a + b - torch.arange(P)).double() / P
    expected = sum(torch.cos(k * angle) for k in KEYS).flatten(0, 1)
    torch.testing.assert_close(logits[:, :P].detach(), expected, atol=1e-9, rtol=0)


def test_a_planted_clock_concentrates():
    shot = random_snapshot(p=31)
    assert PROBES["fourier_concentration"](shot)["value"] < 0.2
    # Every dimension holds each key's wave with one amplitude, so nothing varies within.
    phases = torch.arange(32).double()
    with torch.no_grad():
        shot.model.embed.W_E[:31] = sum(
            torch.cos(2 * math.pi * k * torch.arange(31).double()[:, None] / 31 + k * phases)
            for k in KEYS
        )
    assert PROBES["fourier_concentration"](shot)["value"] > 1e3
    assert PROBES["fourier_concentration"](planted())["value"] > 1


def test_the_spectrum_of_a_planted_clock_is_at_its_keys():
    found = PROBES["embedding_spectrum"](planted())
    others = [k for k in range(1, P // 2 + 1) if k not in KEYS]
    # Each key has two waves of squared norm p/2, mixed by a rotation.
    assert found["norms"][[k - 1 for k in KEYS]] == pytest.approx([P**0.5] * 2)
    assert found["norms"][[k - 1 for k in others]] == pytest.approx([0] * len(others), abs=1e-9)
    assert found["inverse_participation_ratio"] == pytest.approx(1 / 2)
    assert found["gini_norms"] == pytest.approx(1 - 2 / 5)
    assert found["gini_powers"] == pytest.approx(1 - 2 / 5)


def test_the_spectrum_of_random_weights_is_that_of_gaussians():
    found = PROBES["embedding_spectrum"](random_snapshot(p=113))
    generator = np.random.default_rng(0)
    gaussians = [
        frequency_norms(torch.from_numpy(generator.standard_normal((113, 32)))).numpy()
        for _ in range(50)
    ]
    expected = [gini(norms) for norms in gaussians]
    assert abs(found["gini_norms"] - np.mean(expected)) < 4 * np.std(expected)
    assert found["gini_norms"] < 0.1 < 1 - 2 / 56
    assert found["inverse_participation_ratio"] < 2 / 56


@pytest.mark.parametrize("n", [2, 7])
def test_gini_of_equal_and_of_one_hot(n):
    assert gini(np.ones(n)) == pytest.approx(0)
    assert gini(np.eye(n)[0]) == pytest.approx((n - 1) / n)


@pytest.mark.parametrize("rule", ["neuron_logit", "embedding_quarter_max"])
@pytest.mark.parametrize("planted_keys", [(1, 3), (2,), (1, 2, 5)])
def test_key_frequencies_of_a_planted_clock_are_recovered_exactly(rule, planted_keys):
    found = PROBES["key_frequencies"](planted(planted_keys), rule=rule)
    assert tuple(found["frequencies"]) == planted_keys
    assert found["count"] == len(planted_keys)


@pytest.mark.parametrize("rule", ["neuron_logit", "embedding_quarter_max", "neuron_argmax"])
def test_random_weights_single_no_frequency_out(rule):
    """All frequencies are alike, so a rule picks all of them, or none: never a few."""
    found = [
        set(PROBES["key_frequencies"](random_snapshot(seed=s), rule)["frequencies"].tolist())
        for s in range(3)
    ]
    assert all(len(one) in (0, 15) for one in found)


def test_neurons_of_one_frequency_are_clustered_by_it():
    p = 11
    a, b = torch.arange(p)[:, None], torch.arange(p)
    product = wave(p, 2, 0.3)[:, None] * wave(p, 2, 1.1)
    total = torch.cos(2 * math.pi * 5 * (a + b).double() / p + 0.7)
    mixed = wave(p, 1)[:, None] + wave(p, 3)[None]
    foreign = wave(p, 1)[:, None] * wave(p, 3)
    constant = torch.full((p, p), 2.0).double()
    grid = torch.stack([product, total + 4, mixed, foreign, constant], dim=-1)
    shares = frequency_shares(grid)
    expected = torch.zeros(5, 5).double()
    expected[0, 1] = expected[1, 4] = 1
    expected[2, 0] = expected[2, 2] = 0.5
    torch.testing.assert_close(shares, expected, atol=1e-9, rtol=0)


def test_neuron_frequencies_of_planted_neurons():
    """Neurons that read one wave of a alone: W_O is the identity's copy of a's embedding."""
    shot = planted((2,))
    mlp = shot.model.blocks[0].mlp
    with torch.no_grad():
        mlp.b_in.fill_(10.0)  # All neurons are in the linear range.
        mlp.W_in[:, 100:] = 0
    found = PROBES["neuron_frequencies"](shot)
    assert found["clustered"] == pytest.approx(100 / P**2)
    assert set(found["cluster"][:100]) == {2}
    assert set(found["cluster"][100:]) == {0}
    assert found["sizes"].tolist() == [0, 100, 0, 0, 0]
    rule = PROBES["key_frequencies"](shot, rule="neuron_argmax")
    assert rule["frequencies"].tolist() == [2]
    assert PROBES["neuron_frequencies"](random_snapshot())["clustered"] == 0


def test_the_logit_formula_explains_a_planted_clock():
    found = PROBES["logit_formula"](planted())
    assert found["fve"] == pytest.approx(1)
    assert found["fve_per_key"] == pytest.approx([0.5, 0.5])
    assert found["coefficients"] == pytest.approx([(P**3 / 2) ** 0.5] * 2)
    assert found["keys"].tolist() == list(KEYS)


def test_the_logit_formula_does_not_explain_random_logits():
    """Against the definition, wave by wave, too."""
    shot = random_snapshot(p=7)
    found = PROBES["logit_formula"](shot)
    assert found["fve"] < 0.2
    logits = shot.grid.logits[:, :7].reshape(7, 7, 7)
    t = torch.arange(7)
    difference = (t[:, None, None] + t[None, :, None] - t).double()
    for k, alpha, share in zip(
        found["keys"], found["coefficients"], found["fve_per_key"], strict=True
    ):
        unit = torch.cos(2 * math.pi * k * difference / 7)
        unit /= unit.norm()
        assert alpha == pytest.approx((unit * logits).sum().item())
        variance = (logits - logits.mean()).square().sum()
        assert share == pytest.approx((alpha**2 / variance).item())


@pytest.mark.parametrize("level", ["logits", "neurons"])
def test_restricting_a_clock_changes_nothing_and_excluding_leaves_chance(level):
    shot = planted()
    for split in ("train", "test", "grid"):
        restricted = PROBES["restricted_loss"](shot, split=split, level=level)
        assert restricted["loss"] == pytest.approx(restricted["full"], rel=1e-9)
        excluded = PROBES["excluded_loss"](shot, split=split, level=level)
        assert excluded["loss"] == pytest.approx(math.log(P), rel=1e-9)
        assert excluded["full"] == restricted["full"] < math.log(P) - 0.1
        # Without one of two waves the other is left.
        assert all(excluded["full"] < one < math.log(P) for one in excluded["per_key"])


@pytest.mark.parametrize("level", ["logits", "neurons"])
def test_a_random_model_does_not_rely_on_its_keys(level):
    shot = random_snapshot()
    excluded = PROBES["excluded_loss"](shot, level=level)
    assert abs(excluded["loss"] - excluded["full"]) < 0.1
    assert abs(PROBES["restricted_loss"](shot, level=level)["loss"] - math.log(31)) < 0.5


def test_losses_are_of_the_split_s_own_examples():
    shot = random_snapshot(p=7)
    found = PROBES["excluded_loss"](shot, split="test")
    logits = shot.test.logits[:, :7]
    expected = torch.nn.functional.cross_entropy(logits, shot.test.labels).item()
    assert found["full"] == pytest.approx(expected, rel=1e-12)


def test_a_trajectory_is_measured_by_the_keys_of_its_end():
    end = planted((2,))
    start = planted((1, 3), others=lambda which: end)
    assert keys(start, "neuron_logit") == (2,)
    assert keys(start, "neuron_logit", at="self") == (1, 3)
    assert PROBES["logit_formula"](start)["fve"] == pytest.approx(0, abs=1e-12)
    assert PROBES["logit_formula"](start, at="self")["fve"] == pytest.approx(1)


def test_given_frequencies_stand_in_for_those_of_the_rule():
    shot = planted()
    one, other = KEYS
    restricted, excluded = PROBES["restricted_loss"], PROBES["excluded_loss"]
    by_rule = excluded(shot)
    assert excluded(shot, frequencies=KEYS)["loss"] == by_rule["loss"]
    # The clock without one of its waves, and with nothing but that one.
    without_one = excluded(shot, frequencies=(one,), split="grid")
    assert without_one["loss"] == excluded(shot, split="grid")["per_key"][0]
    assert restricted(shot, frequencies=(other,))["loss"] == pytest.approx(without_one["loss"])
    assert without_one["keys"].tolist() == [one]
    found = PROBES["logit_formula"](shot, frequencies=(other, one))
    assert (found["fve"], found["keys"].tolist()) == (pytest.approx(1), [other, one])
    # The control: frequencies that the clock does not have.
    absent = tuple(k for k in range(1, P // 2 + 1) if k not in KEYS)
    assert PROBES["logit_formula"](shot, frequencies=absent)["fve"] == pytest.approx(0, abs=1e-12)
    assert restricted(shot, frequencies=absent)["loss"] == pytest.approx(math.log(P))
    assert excluded(shot, frequencies=absent)["loss"] == pytest.approx(by_rule["full"])


def test_given_frequencies_need_no_rule():
    """Three layers, on which the rule is no formula; and the keys of the end do not matter."""
    deep = random_snapshot(p=7, n_layers=3)
    assert PROBES["logit_formula"](deep, frequencies=(2,))["keys"].tolist() == [2]
    start = planted((1, 3), others=lambda which: planted((2,)))
    assert PROBES["logit_formula"](start, frequencies=(1, 3))["fve"] == pytest.approx(1)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("probe", ["logit_formula", "restricted_loss", "excluded_loss"])
@pytest.mark.parametrize("wrong", [(), (0,), (-1,), (P // 2 + 1,), (1, 1), (1.0,), ("1",), (True,)])
def test_frequencies_that_are_none_of_the_task_are_a_sentence(probe, wrong):
    said = f"frequencies must be one or more distinct integers from 1 to {P // 2}; got "
    with pytest.raises(ValueError, match=said + re.escape(str(wrong))):
        PROBES[probe](planted(), frequencies=wrong)


def test_frequencies_as_text():
    probing = ProbeCall.parse("restricted_loss:frequencies=(2,3),split=train")
    assert probing.options == {"frequencies": (2, 3), "split": "train"}
    assert ProbeCall.parse(str(probing)) == probing
    expected = PROBES["restricted_loss"](planted(), frequencies=(2, 3), split="train")["loss"]
    assert gi.measure(planted(), [str(probing)]).columns[f"{probing}.loss"] == expected
    with pytest.raises(ValueError, match="frequencies of excluded_loss must be "):
        ProbeCall.parse("excluded_loss:frequencies=(2,x)")
    failed = gi.measure(planted(), ["excluded_loss:frequencies=(99,)"]).failures
    assert [*failed.values()] == [
        f"frequencies must be one or more distinct integers from 1 to {P // 2}; got (99,)"
    ]


def test_circles_are_circular_and_noise_is_not():
    shot = random_snapshot(p=31)
    circles = waves((5, 2), 31) * torch.tensor([2.0, 2.0, 1.0, 1.0])
    with torch.no_grad():
        shot.model.embed.W_E[:31] = circles @ torch.linalg.qr(torch.randn(32, 4).double())[0].T
    found = PROBES["circularity"](shot)
    assert found["value"] == pytest.approx(1)
    assert found["frequencies"].tolist() == [5, 5, 2, 2]
    assert PROBES["circularity"](random_snapshot(p=113))["value"] < 0.2


@pytest.mark.parametrize(
    ("probe", "task", "sentence"),
    [
        ("logit_formula", ModularTask(5, "mul"), "logit_formula is about addition"),
        ("restricted_loss", ModularTask(5, "sub"), "restricted_loss is about addition"),
        ("excluded_loss", ModularTask(5, "sub"), "excluded_loss is about addition"),
        ("neuron_frequencies", ModularTask(5, "a2+b2"), "waves over a cyclic group"),
        ("qk_table", ModularTask(5, "div"), "needs all p × p pairs, and .* has 20"),
    ],
)
def test_a_task_that_a_probe_is_not_about_is_a_sentence(probe, task, sentence):
    shot = Snapshot(build_model(gi.ModelConfig(d_model=8, n_heads=2), task), task)
    with pytest.raises(ValueError, match=sentence):
        PROBES[probe](shot)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("probe", "option"),
    [
        ("key_frequencies", "rule"),
        ("restricted_loss", "level"),
        ("excluded_loss", "level"),
        ("restricted_loss", "split"),
        ("excluded_loss", "split"),
        ("logit_formula", "at"),
    ],
)
def test_an_unknown_option_is_a_sentence(probe, option):
    with pytest.raises(ValueError, match=f"unknown {option} 'x'; choose one of"):
        PROBES[probe](planted(), **{option: "x"})


def test_rules_on_neurons_are_for_one_layer():
    shot = random_snapshot(p=7, n_layers=3)
    with pytest.raises(ValueError, match="rule neuron_logit is a formula for one layer"):
        PROBES["logit_formula"](shot)
    assert PROBES["logit_formula"](shot, rule="embedding_quarter_max")["fve"] < 0.2


def test_a_model_without_keys_says_so():
    shot = planted()
    with torch.no_grad():
        shot.model.blocks[0].mlp.W_out.zero_()
    with pytest.raises(ValueError, match="no key frequency by the rule neuron_logit"):
        PROBES["logit_formula"](shot)
    with pytest.raises(ValueError, match="no key frequency by the rule neuron_argmax"):
        PROBES["logit_formula"](random_snapshot(), rule="neuron_argmax")
