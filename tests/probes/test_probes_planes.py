"""The 2-D Fourier components and the singular vectors: of what is planted, and of noise."""

import math

import numpy as np
import pytest
import torch
from planted import KEYS, P, planted

import grokinterp as gi
from grokinterp.model.build import build_model
from grokinterp.probes import PROBES
from grokinterp.probes.fourier_plane import plane_energy
from grokinterp.snapshot import NotApplicable, Snapshot
from grokinterp.task import ModularTask


def random_snapshot(p=31, seed=0) -> Snapshot:
    task = ModularTask(p)
    return Snapshot(build_model(gi.ModelConfig("off", d_model=64), task, seed), task, seed=seed)


def wave(p, k, phase=0.0):
    return torch.cos(2 * math.pi * k * torch.arange(p, dtype=torch.float64) / p + phase)


def test_a_planted_clock_has_its_frequencies_and_no_other():
    found = PROBES["fourier_plane"](planted(), of="logits")
    expected = np.zeros((6, 6))
    for k in KEYS:  # Σ_abc cos² ω_k(a + b − c) is p³/2.
        expected[k, k] = math.sqrt(P**3 / 2)
    np.testing.assert_allclose(found["norms"], expected, atol=1e-6)
    assert found["diagonal"] == pytest.approx(1)
    assert found["linear"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_random_weights_have_no_frequency_of_their_own(seed):
    shot = random_snapshot(seed=seed)
    for of in ("neurons", "logits"):
        found = PROBES["fourier_plane"](shot, of=of)
        assert found["diagonal"] < 0.01
        # Of a alone, and of b alone, all frequencies about alike.
        for axis in (found["norms"][0, 1:], found["norms"][1:, 0]):
            assert axis.max() < 3 * axis.min()


def test_a_cell_is_the_frequency_in_a_and_that_in_b_whatever_the_phases():
    p = 11
    of_a = wave(p, 3, 0.4)[:, None].expand(p, p)
    both = wave(p, 2, 0.3)[:, None] * wave(p, 5, 1.1)
    t = torch.arange(p, dtype=torch.float64)
    difference = torch.cos(2 * math.pi * 4 * (t[:, None] - t) / p + 1)
    grid = torch.stack([of_a, both, difference, torch.full((p, p), 2.0).double()], dim=-1)
    expected = torch.zeros(6, 6).double()
    expected[3, 0] = p**2 / 2
    expected[2, 5] = p**2 / 4
    expected[4, 4] = p**2 / 2
    expected[0, 0] = 4 * p**2
    torch.testing.assert_close(plane_energy(grid), expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("p", [6, 7])
def test_the_energy_is_that_of_a_discrete_fourier_transform(p):
    grid = torch.randn(p, p, 3, generator=torch.Generator().manual_seed(p)).double()
    transformed = np.abs(np.fft.fft2(grid.numpy(), axes=(0, 1), norm="ortho")) ** 2
    expected = np.zeros((p // 2 + 1, p // 2 + 1))
    for i in range(p):
        for j in range(p):
            expected[min(i, p - i), min(j, p - j)] += transformed[i, j].sum()
    np.testing.assert_allclose(plane_energy(grid), expected, rtol=1e-10)


def test_noise_is_spread_over_all_components_alike():
    p = 31
    energy = plane_energy(
        torch.randn(p, p, 200, generator=torch.Generator().manual_seed(0)).double()
    )
    diagonal = energy.diagonal()[1:].sum() / (energy.sum() - energy[0, 0])
    assert diagonal == pytest.approx(2 / (p + 1), rel=0.05)


def test_neurons_that_never_vary_have_no_share():
    shot = planted()
    with torch.no_grad():
        shot.model.blocks[0].mlp.W_in.zero_()
        shot.model.blocks[0].mlp.b_in.fill_(1.7)
    found = PROBES["fourier_plane"](shot)
    assert (found["diagonal"], found["linear"]) == (0, 0)


def embedded(weights: torch.Tensor) -> Snapshot:
    shot = planted()
    with torch.no_grad():
        shot.model.embed.W_E[:P] = weights
    return shot


def test_the_directions_of_planted_circles_are_their_waves():
    directions = torch.linalg.qr(
        torch.randn(24, 24, generator=torch.Generator().manual_seed(1)).double()
    )[0]
    strengths = {4: 3.0, 1: 2.0, 5: 0.5}
    weights = sum(
        strength
        * (
            wave(P, k)[:, None] * directions[2 * i]
            + wave(P, k, -math.pi / 2)[:, None] * directions[2 * i + 1]
        )
        for i, (k, strength) in enumerate(strengths.items())
    )
    found = PROBES["singular_vectors"](embedded(weights))
    # A wave's norm over the tokens is √(p/2).
    expected = [s * math.sqrt(P / 2) for s in (3, 3, 2, 2, 0.5, 0.5)]
    np.testing.assert_allclose(found["singular_values"][:6], expected)
    np.testing.assert_allclose(found["singular_values"][6:], 0, atol=1e-9)
    spectra = np.zeros((6, 5))
    for row, k in enumerate((4, 4, 1, 1, 5, 5)):
        spectra[row, k - 1] = 1
    np.testing.assert_allclose(found["spectra"][:6], spectra, atol=1e-9)
    assert found["purity"] == pytest.approx(1)
    # As functions of the token: in the plane of cos ω₄t and sin ω₄t, of norm 1.
    plane = np.stack([wave(P, 4), wave(P, 4, -math.pi / 2)]) / math.sqrt(P / 2)
    np.testing.assert_allclose(
        found["tokens"][0], plane.T @ (plane @ found["tokens"][0]), atol=1e-9
    )
    assert found["tokens"][0].max() == np.abs(found["tokens"][0]).max()


def test_a_planted_clock_writes_its_frequencies_to_the_logits_alone():
    found = PROBES["singular_vectors"](planted(), matrix="neuron_logit")
    n = 2 * len(KEYS)
    assert found["singular_values"][n:] == pytest.approx(
        np.zeros(len(found["singular_values"]) - n), abs=1e-6
    )
    in_keys = found["spectra"][:n, [k - 1 for k in KEYS]].sum(1)
    np.testing.assert_allclose(in_keys, 1, atol=1e-9)


def test_the_decomposition_is_that_of_the_matrix():
    shot = random_snapshot()
    found = PROBES["singular_vectors"](shot)
    weights = shot.model.W_E.detach().double().numpy()[:31]
    np.testing.assert_allclose(found["singular_values"], np.linalg.svd(weights, compute_uv=False))
    # U Uᵀ W is W: the directions span its columns.
    np.testing.assert_allclose(found["tokens"].T @ (found["tokens"] @ weights), weights, atol=1e-9)
    # What is not at k ≥ 1 is the constant's.
    constant = found["tokens"].sum(1) ** 2 / 31
    np.testing.assert_allclose(found["spectra"].sum(1) + constant, 1)


@pytest.mark.parametrize("matrix", ["embedding", "neuron_logit"])
def test_no_direction_of_random_weights_is_a_wave(matrix):
    found = PROBES["singular_vectors"](random_snapshot(), matrix=matrix)
    assert found["spectra"].max() < 0.7
    assert found["purity"] < 0.3


@pytest.mark.parametrize(
    ("probe", "options", "said"),
    [
        ("fourier_plane", {"of": "heads"}, "unknown of 'heads'; choose one of neurons, logits"),
        (
            "singular_vectors",
            {"matrix": "W_E"},
            "unknown matrix 'W_E'; choose one of embedding, neuron_logit",
        ),
        ("fourier_plane", {"layer": 3}, "layer must be an integer from 0 to 0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_there_is_not_is_refused(probe, options, said):
    with pytest.raises(ValueError, match=said):
        PROBES[probe](planted(), **options)


def test_more_than_one_layer_has_no_way_from_neurons_to_logits():
    task = ModularTask(5)
    model = build_model(gi.ModelConfig("off", n_layers=2, d_model=8, n_heads=2), task, 0)
    with pytest.raises(NotApplicable, match="one layer"):
        PROBES["singular_vectors"](Snapshot(model, task), matrix="neuron_logit")
