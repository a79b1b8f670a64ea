"""The Hessian's eigenvalues and trace against closed forms and the dense Hessian."""

import sys
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import EVERY_PLACEMENT, TASK, perturbed_model, small_config

from grokinterp.config import ModelConfig
from grokinterp.model.build import build_model
from grokinterp.probes.hessian import (
    hessian,
    hessian_vector_product,
    hutchinson_trace,
    largest_eigenvalues,
    smallest_eigenvalue,
)
from grokinterp.snapshot import Snapshot
from grokinterp.task import ModularTask


def symmetric(eigenvalues, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = len(eigenvalues)
    noise = torch.randn(size, size, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(noise)[0]
    return rotation @ torch.diag(torch.as_tensor(eigenvalues, dtype=torch.float64)) @ rotation.T


def quadratic(matrix):
    """Products with the Hessian, the matrix, of ½wᵀAw + w₀ over two named tensors."""
    size = len(matrix)
    weights = {"a": torch.ones(2, 3).double(), "b": torch.ones(size - 6).double()}

    def loss(named):
        w = torch.cat([named["a"].flatten(), named["b"]])
        return 0.5 * w @ matrix @ w + w[0]

    return hessian_vector_product(loss, weights)


def test_the_hessian_of_a_quadratic():
    eigenvalues = [-4.0, *np.linspace(0.1, 1, 25), 2.0, 3.0, 5.0]
    product = quadratic(symmetric(eigenvalues))
    vector = np.random.default_rng(0).standard_normal(29)
    expected = symmetric(eigenvalues).numpy() @ vector
    np.testing.assert_allclose(product(vector), expected, rtol=1e-12, atol=1e-12)
    found = largest_eigenvalues(product, 29, 3, tol=1e-10)
    assert found == pytest.approx([5, 3, 2], rel=1e-9)
    assert smallest_eigenvalue(product, 29, 5.0, tol=1e-10) == pytest.approx(-4, rel=1e-9)


def test_a_repeated_eigenvalue_and_a_null_space():
    product = quadratic(symmetric([3.0, 3.0, 1.0, *[0.0] * 10]))
    assert largest_eigenvalues(product, 13, 4) == pytest.approx([3, 3, 1, 0], abs=1e-9)
    assert smallest_eigenvalue(product, 13, 3.0) == pytest.approx(0, abs=3e-3)


@pytest.mark.parametrize("slope", [0.0, 2.0])
def test_what_is_not_curved_has_no_eigenvalues(slope):
    weights = {"w": torch.ones(8).double(), "unused": torch.ones(2).double()}
    product = hessian_vector_product(lambda named: slope * named["w"].sum(), weights)
    assert largest_eigenvalues(product, 10, 2) == pytest.approx([0, 0])
    assert hutchinson_trace(product, 10, 2) == (0, 0)


def test_the_trace_of_a_diagonal_is_exact_and_of_a_rotated_one_within_its_error():
    eigenvalues = np.linspace(-1, 5, 40)
    trace, error = hutchinson_trace(quadratic(torch.diag(torch.tensor(eigenvalues))), 40, 2)
    assert (trace, error) == (pytest.approx(eigenvalues.sum(), rel=1e-12), pytest.approx(0))
    matrix = symmetric(eigenvalues)
    trace, error = hutchinson_trace(quadratic(matrix), 40, 400)
    # The variance of zᵀAz over random signs is 2 Σ_{i≠j} A_ij².
    off_diagonal = matrix - torch.diag(matrix.diag())
    assert error == pytest.approx((2 * off_diagonal.square().sum().item() / 400) ** 0.5, rel=0.2)
    assert abs(trace - eigenvalues.sum()) < 4 * error


# Torch's forward mode loads a deprecated part of torch.
forward_mode = pytest.mark.filterwarnings("ignore:`torch.jit.script` is")


@cache
def of_model(placement, **options) -> Snapshot:
    return Snapshot(perturbed_model(small_config(placement, **options)), TASK, seed=0)


def dense(shot: Snapshot) -> np.ndarray:
    named = {n: p.detach() for n, p in shot.model.named_parameters() if p.requires_grad}
    shapes = [p.shape for p in named.values()]

    def loss(flat):
        parts = flat.split([shape.numel() for shape in shapes])
        views = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        weights = dict(zip(named, views, strict=True))
        logits = torch.func.functional_call(shot.model, weights, (shot.train.tokens,))
        return F.cross_entropy(logits[:, -1], shot.train.labels)

    # Forward over reverse, where the probe goes backward twice.
    return torch.func.hessian(loss)(torch.cat([p.flatten() for p in named.values()])).numpy()


@forward_mode
@pytest.mark.parametrize("placement", ["off", "pre", "post"])
def test_a_model_against_its_dense_hessian(placement):
    shot = of_model(placement)
    found = hessian(shot, top=4, tol=1e-12, smallest=True, trace_samples=200)
    reference = dense(shot)
    assert np.abs(reference - reference.T).max() < 1e-10
    eigenvalues = np.linalg.eigvalsh(reference)
    assert found["eigenvalues"] == pytest.approx(eigenvalues[::-1][:4], rel=1e-8)
    assert found["largest"] == found["eigenvalues"][0]
    assert found["smallest"] == pytest.approx(eigenvalues[0], rel=1e-8)
    assert found["smallest"] < -1e-3  # These weights are no minimum.
    error = found["trace_standard_error"]
    assert 0 < error < abs(np.trace(reference))
    assert abs(found["trace"] - np.trace(reference)) < 4 * error


@pytest.mark.parametrize("placement", EVERY_PLACEMENT)
def test_an_eigenvalue_is_the_second_difference_of_the_loss(placement):
    shot = of_model(placement)
    named = {n: p.detach() for n, p in shot.model.named_parameters() if p.requires_grad}

    def loss(parameters):
        logits = torch.func.functional_call(shot.model, dict(parameters), (shot.train.tokens,))
        return F.cross_entropy(logits[:, -1], shot.train.labels)

    product = hessian_vector_product(loss, named)
    generator = torch.Generator().manual_seed(0)
    direction = {
        name: torch.randn(p.shape, generator=generator, dtype=torch.float64)
        for name, p in named.items()
    }
    h = 1e-5
    values = [
        loss({n: p + step * h * direction[n] for n, p in named.items()}).item()
        for step in (-1, 0, 1)
    ]
    flat = torch.cat([d.flatten() for d in direction.values()]).numpy()
    second = (values[0] - 2 * values[1] + values[2]) / h**2
    assert flat @ product(flat) == pytest.approx(second, rel=1e-3, abs=1e-4)


@forward_mode
def test_frozen_parameters_are_left_out():
    shot = Snapshot(perturbed_model(small_config("pre")), TASK, seed=0)
    everything = hessian(shot, top=1, tol=1e-12)["largest"]
    for parameter in shot.model.blocks[0].mlp.parameters():
        parameter.requires_grad_(False)
    rest = hessian(shot, top=2, tol=1e-12)
    assert rest["eigenvalues"] == pytest.approx(np.linalg.eigvalsh(dense(shot))[:-3:-1], rel=1e-8)
    # A block's eigenvalues lie within the whole's.
    assert rest["largest"] < everything * (1 - 1e-6)


def test_a_readout_of_zeros_leaves_only_the_readout_curved():
    # With W_U = 0 the softmax is uniform, and in W_U the loss is that of a linear softmax model:
    # H = (mean of x xᵀ) ⊗ (I/v - 1/v²); all else is flat, but for its products with W_U.
    shot = Snapshot(perturbed_model(small_config("off")), TASK, seed=0)
    with torch.no_grad():
        shot.model.unembed.W_U.zero_()
    x = shot.train.cache["unembed.hook_in"][:, -1]
    v = TASK.d_vocab
    readout = torch.linalg.eigvalsh(x.T @ x / len(x)) / v
    trace = readout.sum().item() * (v - 1)
    found = hessian(shot, trace_samples=400)
    assert abs(found["trace"] - trace) < 4 * found["trace_standard_error"]
    # The cross terms move the eigenvalues apart and leave their sum.
    assert found["largest"] > readout.max().item()


def test_random_weights_have_no_outlier_and_the_same_answer_each_time():
    shot = Snapshot(build_model(ModelConfig("off", d_model=16, n_heads=2), TASK, 1), TASK, seed=0)
    first, again = hessian(shot), hessian(shot)
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    other = hessian(shot, seed=1)
    assert other["trace"] != first["trace"]
    assert other["eigenvalues"] == pytest.approx(first["eigenvalues"], rel=1e-3)
    assert first["largest"] < 10 * first["eigenvalues"][-1]


def test_a_memorised_train_set_keeps_its_curvature_in_float32():
    task = ModularTask(p=5)
    models = {
        dtype: build_model(ModelConfig("off", d_model=16, n_heads=2), task, 1, dtype)
        for dtype in ("float32", "float64")
    }
    largest = {}
    for dtype, model in models.items():
        with torch.no_grad():
            # The train examples share one label, and its logit is 30 ahead.
            model.unembed.b_U[3] = 30.0
        same = [(a, b) for a in range(5) for b in range(5) if (a + b) % 5 == 3]
        shot = Snapshot(model, ModularTask(p=5, train_pairs=tuple(same)), seed=0)
        largest[dtype] = hessian(shot)["largest"]
    assert 0 < largest["float64"] < 1e-9
    assert largest["float32"] == pytest.approx(largest["float64"], rel=1e-3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"top": 0}, "top must lie between 1 and"),
        ({"top": 10**6}, "top must lie between 1 and"),
        ({"trace_samples": 1}, "trace_samples must be an integer of at least 2; got 1"),
    ],
)
def test_what_it_refuses(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        hessian(of_model("off"), **options)


def test_no_convergence_is_a_sentence(monkeypatch):
    monkeypatch.setattr(sys.modules["grokinterp.probes.hessian"], "MAX_RESTARTS", 1)
    product = quadratic(symmetric(np.linspace(0, 1, 300)))
    with pytest.raises(ValueError, match=r"eigenvalues converged to tol=1e-12 within 1 restarts"):
        largest_eigenvalues(product, 300, 5, tol=1e-12)


def test_the_model_is_left_as_it_was():
    model = perturbed_model(small_config("pre"))
    before = {name: p.clone() for name, p in model.state_dict().items()}
    hessian(Snapshot(model, TASK, seed=0), top=1, trace_samples=2)
    assert all(torch.equal(before[name], p) for name, p in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
