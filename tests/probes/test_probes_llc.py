"""SGLD on losses whose local learning coefficient is known."""

import math
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import TASK, perturbed_model, small_config

from grokinterp.probes.llc import llc, sgld_losses
from grokinterp.snapshot import Snapshot

needs_devinterp = pytest.mark.skipif(
    find_spec("devinterp") is None, reason="needs the extra llc (package devinterp)"
)
QUICK = {
    "step_size": 1e-3,
    "localization": 100.0,
    "chains": 2,
    "draws": 20,
    "burn_in": 5,
    "batch_size": 4,
}
N_BETA = 100.0


def snapshot() -> Snapshot:
    return Snapshot(perturbed_model(small_config("pre")), TASK, seed=0)


def estimate(loss_function, parameters, step_size, localization, steps, seed=0):
    """λ̂ at a minimum of loss 0."""
    losses = sgld_losses(
        loss_function, parameters, N_BETA, step_size, localization, steps, seed=seed
    )
    return N_BETA * losses[steps // 5 :].mean()


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "devinterp.optim", None)
    with pytest.raises(ValueError, match=r"pip install 'grokinterp\[llc\]'"):
        llc(snapshot(), **QUICK)


@needs_devinterp
def test_a_quadratic_of_d_parameters_has_d_over_2():
    d, step_size, localization = 200, 2e-3, 1.0
    curvature = torch.linspace(0.5, 4, d).double()

    def loss(named):
        return 0.5 * (curvature * named["w"] ** 2).sum()

    found = estimate(loss, {"w": torch.zeros(d).double()}, step_size, localization, 2000)
    # Each coordinate is an autoregression of variance 1/(k (1 - εk/4)), k = nβ h + γ.
    k = N_BETA * curvature + localization
    exact = 0.5 * (N_BETA * curvature / (k * (1 - step_size * k / 4))).sum().item()
    assert found == pytest.approx(exact, rel=0.02)
    assert exact == pytest.approx(d / 2, rel=0.15)


@needs_devinterp
def test_a_degenerate_minimum_has_less():
    pairs, localization = 200, 20.0
    start = {"u": torch.zeros(pairs).double(), "v": torch.zeros(pairs).double()}
    options = {"step_size": 2e-3, "localization": localization, "steps": 1500}

    def regular(named):
        return (named["u"] ** 2 + named["v"] ** 2).sum()

    def flat(named):
        return (named["u"] ** 2).sum() + 0 * named["v"].sum()

    def crossing(named):
        return (named["u"] ** 2 * named["v"] ** 2).sum()

    regular, flat, crossing = (estimate(f, start, **options) for f in (regular, flat, crossing))
    assert regular == pytest.approx(pairs, rel=0.1)
    assert flat == pytest.approx(pairs / 2, rel=0.1)

    # Of u²v², by the integral over the localised posterior, where n is far from infinite.
    grid = torch.linspace(-2, 2, 2001).double()
    products = N_BETA * grid[:, None] ** 2 * grid**2
    weight = (-products - localization * (grid[:, None] ** 2 + grid**2) / 2).exp()
    exact = pairs * ((products * weight).sum() / weight.sum()).item()
    assert crossing == pytest.approx(exact, rel=0.1)
    assert crossing < 0.5 * regular


@needs_devinterp
def test_the_value_of_a_model_is_nbeta_times_the_rise_of_the_loss():
    shot = snapshot()
    found = llc(shot, **QUICK)
    assert found["losses"].shape == (2, 25)
    n = len(shot.train.labels)
    at_start = F.cross_entropy(shot.train.logits, shot.train.labels).item()
    rise = found["losses"][:, 5:].mean(1) - at_start
    assert found["per_chain"] == pytest.approx(n / math.log(n) * rise)
    assert found["value"] == pytest.approx(found["per_chain"].mean())
    assert found["std"] == pytest.approx(np.std(found["per_chain"], ddof=1))
    # With every example in a batch, a chain begins at the weights' own loss.
    whole = llc(shot, **{**QUICK, "batch_size": 1000})
    assert whole["losses"][:, 0] == pytest.approx(at_start)


@needs_devinterp
def test_the_seed_decides_it_and_neither_the_global_rng_nor_the_model_moves():
    shot = snapshot()
    before = {name: p.clone() for name, p in shot.model.state_dict().items()}
    state = torch.get_rng_state()
    first, again, other = llc(shot, **QUICK), llc(shot, **QUICK), llc(shot, **QUICK, seed=1)
    np.testing.assert_array_equal(first["losses"], again["losses"])
    traces = np.concatenate([first["losses"], other["losses"]])
    assert len(np.unique(traces, axis=0)) == 4
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], p) for name, p in shot.model.state_dict().items())


@needs_devinterp
def test_weights_that_are_no_minimum_can_be_below_zero():
    # Random weights: the chain goes downhill, which no minimum lets it do.
    options = {**QUICK, "localization": 0.0, "step_size": 1e-4, "draws": 60, "batch_size": 1000}
    assert llc(snapshot(), **options)["value"] < 0


@needs_devinterp
def test_a_chain_that_diverges_says_so():
    with pytest.raises(ValueError, match=r"diverged at step \d+; give a step_size below 1e\+30"):
        llc(snapshot(), **{**QUICK, "step_size": 1e30})


@pytest.mark.parametrize(
    "options",
    [{"chains": 1}, {"draws": 0}, {"burn_in": -1}, {"batch_size": 0}, {"seed": -1}],
)
def test_what_it_refuses(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be an integer of at least"):
        llc(snapshot(), **options)


@pytest.mark.parametrize("options", [{"step_size": -1.0}, {"localization": -1.0}])
def test_a_step_or_a_pull_backwards_is_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        llc(snapshot(), **options)
