"""Gradient filters against their formulas, and where they stand in a step."""

from dataclasses import dataclass, replace

import pytest
import torch
from engine_cases import SMALL, run_together, start

from grokinterp.gradient_filter import GradientFilter, Grokfast, Orthogonal
from grokinterp.store.state import RunState
from grokinterp.training.layout import Layout
from grokinterp.training.update import Update


def test_orthogonal_gradients():
    """⟨θ, g⟩ = 0 of every run, and ‖g‖ as it was."""
    generator = torch.Generator().manual_seed(0)
    tensor, given = torch.randn(2, 2, 3, 4, generator=generator, dtype=torch.float64)
    given[1] = 0
    found = Orthogonal().filtered(tensor, given, {})
    theta, g = tensor[0], given[0]
    rest = g - (theta * g).sum() / (theta * theta).sum() * theta
    torch.testing.assert_close(found[0], rest * g.norm() / rest.norm(), rtol=1e-12, atol=0)
    assert abs((theta * found[0]).sum().item()) < 1e-12 < abs((theta * g).sum().item())
    assert not found[1].any()
    # Along its tensor: rounding is all that would be left.
    for dtype in (torch.float32, torch.float64):
        theta = torch.randn(1, 50, generator=generator, dtype=dtype)
        assert not Orthogonal().filtered(theta, 0.37 * theta, {}).any()
    ones = torch.ones(2, 5)  # A tensor of zeros has no direction.
    assert torch.equal(Orthogonal().filtered(torch.zeros(2, 5), ones, {}), ones)


def test_an_orthogonal_gradient_is_the_optimiser_s_alone():
    recipe = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 1e-6, "epochs": 1}
    plain, turned = (
        replace(SMALL, train=replace(SMALL.train, gradient_filters=filters, **recipe))
        for filters in ((), "orthogonal")
    )
    [[row]], [weights], _ = run_together([plain])
    [[of_turned]], [of_turned_weights], _ = run_together([turned])
    assert of_turned["grad_norm"] == row["grad_norm"]
    assert of_turned["update_norm"] == pytest.approx(row["update_norm"])
    begun = start(plain)
    for name, value in begun.items():
        moved = of_turned_weights[name] - value
        along = (moved * value).sum().item() / (1e-300 + moved.norm() * value.norm()).item()
        assert abs(along) < 1e-6, name
    other = weights["unembed.W_U"] - begun["unembed.W_U"]
    assert abs((other * begun["unembed.W_U"]).sum() / other.norm()) > 1e-3


def stepped(filters, gradients, lr=1.0):
    """The weights after plain steps along these gradients, of one run, from 0."""
    layout = Layout({"w": torch.Size([3])}, torch.device("cpu"), torch.float64)
    recipe = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": lr}
    config = replace(SMALL, train=replace(SMALL.train, gradient_filters=filters, **recipe))
    update = Update([config], layout, [RunState.initial({"w": torch.zeros(3)})])
    theta = layout.zeros(1)
    for epoch, gradient in enumerate(gradients, start=1):
        update.step(theta, gradient.clone()[None], epoch)
    return theta[0], update.kept(0)[0]


def test_grokfast_adds_the_average_of_the_gradients():
    """h_t = (1 − α) Σ α^(t−s) g_s, written as a sum."""
    gradients = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theta, kept = stepped("grokfast:alpha=0.9,weight=3", gradients)
    averages = [sum(0.1 * 0.9 ** (t - s) * gradients[s] for s in range(t + 1)) for t in range(20)]
    expected = -sum(g + 3 * h for g, h in zip(gradients, averages, strict=True))
    torch.testing.assert_close(theta, expected, rtol=1e-12, atol=1e-14)
    [(slot, by_name)] = [item for item in kept.items() if "average" in item[0]]
    torch.testing.assert_close(by_name["w"], averages[-1], rtol=1e-12, atol=1e-14)
    assert slot == "filter 0 average"
    without, _ = stepped((), gradients)
    assert torch.equal(stepped(Grokfast(weight=0.0), gradients)[0], without)
    assert not torch.allclose(theta, without)


def test_filters_act_in_their_order():
    gradients = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    one, other = (
        stepped(filters, gradients)[0]
        for filters in (("orthogonal", "grokfast"), ("grokfast", "orthogonal"))
    )
    assert not torch.allclose(one, other)


@dataclass(frozen=True)
class _Clipped(GradientFilter):
    """Underscored, so that it is not listed."""

    most: float = 0.5

    def filtered(self, tensor, gradient, memory):
        return gradient.clamp(-self.most, self.most)


def test_a_filter_of_a_user_s_own():
    gradients = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    theta, _ = stepped((_Clipped(0.1),), gradients)
    torch.testing.assert_close(theta, -gradients.clamp(-0.1, 0.1).sum(0))
    config = replace(SMALL, train=replace(SMALL.train, gradient_filters=(_Clipped(0.1),)))
    other = replace(SMALL, train=replace(SMALL.train, gradient_filters=(_Clipped(0.2),)))
    assert len({config.id, other.id, SMALL.id}) == 3
