"""The commutator defect against closed forms, dense Hessians and the steps themselves."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import TASK, perturbed_model, small_config

import grokinterp as gi
from grokinterp.probes.commutator import commutator_defect, limit_defect, stepped_defect
from grokinterp.snapshot import NotApplicable, Snapshot

SIZE = 7


def symmetric(seed) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64)
    return noise + noise.T


def quadratic(matrix, minimiser):
    """½(w - m)ᵀA(w - m) over two named tensors."""

    def loss(named):
        w = torch.cat([named["a"].flatten(), named["b"]]) - minimiser
        return 0.5 * w @ matrix @ w

    return loss


WEIGHTS = {"a": torch.ones(2, 2).double(), "b": 2 * torch.ones(SIZE - 4).double()}
POINT = torch.cat([WEIGHTS["a"].flatten(), WEIGHTS["b"]])
MINIMISER = torch.linspace(-1, 1, SIZE, dtype=torch.float64)


def of_quadratics(a, m_a, b, m_b) -> float:
    g_a, g_b = a @ (POINT - m_a), b @ (POINT - m_b)
    return ((b @ g_a - a @ g_b).norm() / (g_a.norm() * g_b.norm())).item()


@pytest.mark.parametrize("step_size", [1e-3, 1e-1, 10.0])
def test_two_quadratics_have_their_closed_form_at_every_step_size(step_size):
    a, b, m_b = symmetric(0), symmetric(1), MINIMISER.flip(0) ** 2
    expected = of_quadratics(a, MINIMISER, b, m_b)
    pair = (quadratic(a, MINIMISER), quadratic(b, m_b))
    assert expected > 0.1
    assert limit_defect(*pair, WEIGHTS) == pytest.approx(expected, rel=1e-12)
    assert stepped_defect(*pair, WEIGHTS, step_size) == pytest.approx(expected, rel=1e-9)


def test_steps_that_commute_have_none():
    a, b = symmetric(0), symmetric(1)
    same = quadratic(a, MINIMISER)
    assert limit_defect(same, same, WEIGHTS) == 0
    # The same Hessian, and minimisers that it does not tell apart.
    flat = torch.linalg.eigh(a)[1][:, 0]
    without = a @ (torch.eye(SIZE) - torch.outer(flat, flat))
    pair = (quadratic(without, MINIMISER), quadratic(without, MINIMISER + 3 * flat))
    assert limit_defect(*pair, WEIGHTS) == pytest.approx(0, abs=1e-14)
    # Another Hessian that commutes with it, and the same minimiser.
    pair = (same, quadratic(a @ a + 2 * a, MINIMISER))
    assert limit_defect(*pair, WEIGHTS) == pytest.approx(0, abs=1e-13)
    assert stepped_defect(*pair, WEIGHTS, 0.1) == pytest.approx(0, abs=1e-13)
    # And what does not: the same Hessian with other minimisers, another Hessian.
    assert limit_defect(same, quadratic(a, -MINIMISER), WEIGHTS) > 0.1
    assert limit_defect(same, quadratic(b, MINIMISER), WEIGHTS) > 0.1


def test_without_curvature_steps_commute_and_without_a_gradient_there_is_no_defect():
    slope = torch.arange(SIZE).double()

    def linear(named):
        return slope[:4] @ named["a"].flatten() + slope[4:] @ named["b"]

    assert limit_defect(linear, lambda named: 3 * linear(named) + 1, WEIGHTS) == 0
    flat = quadratic(symmetric(0), POINT)
    assert np.isnan(limit_defect(flat, linear, WEIGHTS))


def test_both_are_the_two_steps_taken_one_after_the_other():
    a, b = symmetric(0), symmetric(1)

    def smooth(matrix):
        def loss(named):
            w = torch.cat([named["a"].flatten(), named["b"]])
            return torch.sin(matrix @ w).sum()

        return loss

    def step(loss, weights, size):
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
        found = torch.autograd.grad(loss(leaves), list(leaves.values()))
        moved = zip(weights.items(), found, strict=True)
        return {name: tensor - size * g for (name, tensor), g in moved}

    def distance(one, other):
        parts = [(one[name] - other[name]).flatten() for name in one]
        return torch.cat(parts).norm().item()

    size, losses = 1e-2, (smooth(a), smooth(b))
    once = [step(loss, WEIGHTS, size) for loss in losses]
    twice = [step(losses[1], once[0], size), step(losses[0], once[1], size)]
    scale = distance(once[0], WEIGHTS) * distance(once[1], WEIGHTS)
    expected = distance(*twice) / scale
    assert stepped_defect(*losses, WEIGHTS, size) == pytest.approx(expected, rel=1e-9)
    limit = limit_defect(*losses, WEIGHTS)
    errors = [abs(stepped_defect(*losses, WEIGHTS, h) - limit) / limit for h in (1e-4, 1e-5)]
    assert errors[1] < 1e-3
    # Of first order in the step.
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.1)


def dense(shot, halves):
    """By dense Hessians of the two halves."""
    named = {n: p.detach() for n, p in shot.model.named_parameters() if p.requires_grad}
    shapes = [p.shape for p in named.values()]

    def loss(flat, rows):
        parts = flat.split([shape.numel() for shape in shapes])
        weights = {n: x.view(s) for n, x, s in zip(named, parts, shapes, strict=True)}
        logits = torch.func.functional_call(shot.model, weights, (shot.train.tokens[rows],))
        return F.cross_entropy(logits[:, -1], shot.train.labels[rows])

    at = torch.cat([p.flatten() for p in named.values()])
    (g_a, h_a), (g_b, h_b) = (
        (torch.func.grad(loss)(at, rows), torch.func.hessian(loss)(at, rows)) for rows in halves
    )
    return ((h_b @ g_a - h_a @ g_b).norm() / (g_a.norm() * g_b.norm())).item()


# Torch's forward mode loads a deprecated part of torch.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is")
@pytest.mark.parametrize("placement", ["off", "pre"])
def test_a_model_against_its_dense_hessians(placement):
    shot = Snapshot(perturbed_model(small_config(placement)), TASK, seed=0)
    found = commutator_defect(shot, draws=2, seed=3)
    rng, n = np.random.default_rng(3), len(shot.train.labels)
    orders = [torch.from_numpy(rng.permutation(n)) for _ in range(2)]
    expected = [dense(shot, (o[: n // 2], o[n // 2 : n // 2 * 2])) for o in orders]
    assert found["defects"] == pytest.approx(expected, rel=1e-9)
    assert found["value"] == pytest.approx(np.mean(expected), rel=1e-9)
    # Below the distance to the next kink of a ReLU.
    small = commutator_defect(shot, "paper", draws=2, seed=3, step_size=1e-7)
    assert small["defects"] == pytest.approx(expected, rel=1e-5)


def test_it_is_the_same_each_time_and_another_by_another_seed():
    shot = Snapshot(perturbed_model(small_config("mlp-pre")), TASK, seed=0)
    first, again = (commutator_defect(shot, draws=3) for _ in range(2))
    assert np.array_equal(first["defects"], again["defects"])
    assert first["value"] == sorted(first["defects"])[1]
    other = commutator_defect(shot, draws=3, seed=1)["defects"]
    assert not np.isclose(first["defects"], other).any()


def test_frozen_parameters_are_left_out():
    shot = Snapshot(perturbed_model(small_config("off")), TASK, seed=0)
    everything = commutator_defect(shot, draws=1)["value"]
    for name, parameter in shot.model.named_parameters():
        parameter.requires_grad_(name == "unembed.W_U")
    assert commutator_defect(shot, draws=1)["value"] != pytest.approx(everything, rel=0.01)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"draws": 0}, "draws must be an integer of at least 1; got 0"),
        ({"step_size": 0.0}, "step_size must be"),
        ({"convention": "papers"}, "unknown convention 'papers'; choose one of limit, paper"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_it_refuses(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        commutator_defect(Snapshot(perturbed_model(small_config("off")), TASK, seed=0), **options)


def test_hooks_that_mix_examples_are_refused():
    shot = Snapshot(perturbed_model(small_config("off")), TASK, seed=0)
    with (
        gi.hooks.applied(shot.model, [gi.hooks.AblateHead(0, "mean")]),
        pytest.raises(NotApplicable, match="mix the examples"),
    ):
        commutator_defect(shot)
