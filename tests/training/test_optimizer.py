"""Optimisers and schedules against torch's own; ⊥Grad and the norm clamp against their formulas."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from engine_cases import SMALL, TASK, run_together, start
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, MultiStepLR

from grokinterp.config import TrainConfig
from grokinterp.model.build import build_model
from grokinterp.training.optimizer import OPTIMIZERS, orthogonal

STEPS = 50
OPTIMISERS = {
    "adamw": ({}, partial(torch.optim.AdamW, betas=(0.9, 0.98), eps=1e-8)),
    "adam": ({}, partial(torch.optim.Adam, betas=(0.9, 0.98), eps=1e-8)),
    "sgd": ({"momentum": 0.8}, partial(torch.optim.SGD, momentum=0.8)),
}
# PyTorch's epoch 0 is ours 1.
SCHEDULES = {
    "constant": lambda optimizer: LambdaLR(optimizer, lambda epoch: 1.0),
    "warmup:10": lambda optimizer: LinearLR(optimizer, start_factor=0.1, total_iters=9),
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, T_max=STEPS),
    "step:30=0.5": lambda optimizer: MultiStepLR(optimizer, milestones=[29], gamma=0.5),
    "step:20=0.1 + step:40=0": lambda optimizer: LambdaLR(
        optimizer, lambda epoch: (0.1 if epoch >= 19 else 1) * (epoch < 39)
    ),
}


@pytest.mark.parametrize("decay_schedule", ["constant", "step:25=0"])
@pytest.mark.parametrize("lr_schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMISERS)
def test_matches_torch_step_by_step(optimizer, lr_schedule, decay_schedule):
    options, of_torch = OPTIMISERS[optimizer]
    recipe = replace(
        SMALL.train,
        optimizer=optimizer,
        lr_schedule=lr_schedule,
        decay_schedule=decay_schedule,
        epochs=STEPS,
        weight_decay=0.3,
        **options,
    )
    configs = [replace(SMALL, train=replace(recipe, lr=lr)) for lr in (3e-3, 1e-2)]
    _, alone, _ = run_together(configs)
    _, together, _ = run_together(configs, width=2)
    for config, ours, beside in zip(configs, alone, together, strict=True):
        model = build_model(config.model, TASK, 1, "float64")
        reference = of_torch(model.parameters(), lr=config.lr, weight_decay=0.3)
        schedule = SCHEDULES[lr_schedule](reference)
        split = TASK.split(1)
        for epoch in range(1, STEPS + 1):
            if epoch == 25 and decay_schedule != "constant":
                reference.param_groups[0]["weight_decay"] = 0.0
            reference.zero_grad()
            F.cross_entropy(model(split.train_tokens)[:, -1], split.train_labels).backward()
            reference.step()
            schedule.step()
        for name, value in model.named_parameters():
            for found in (ours[name], beside[name]):
                torch.testing.assert_close(found, value.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMISERS)
def test_an_optimiser_equals_torch_s_from_equal_gradients(optimizer):
    """Without the model's rounding between them."""
    options, of_torch = OPTIMISERS[optimizer]
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(2, 9, generator=generator, dtype=torch.float64)
    expected = [row.clone().requires_grad_() for row in theta]
    rates = [(1e-2, 0.3), (3e-3, 1.0)]
    theirs = [
        of_torch([row], lr=lr, weight_decay=decay)
        for row, (lr, decay) in zip(expected, rates, strict=True)
    ]
    lr, decay = (
        torch.tensor(one, dtype=torch.float64)[:, None] for one in zip(*rates, strict=True)
    )
    zeros = torch.zeros_like(theta)
    ours = OPTIMIZERS[optimizer](
        TrainConfig(optimizer=optimizer, **options),
        lr,
        decay,
        zeros.clone(),
        zeros.clone(),
        zeros[:, :1].clone(),
    )
    for epoch in range(1, STEPS + 1):
        gradient = torch.randn(2, 9, generator=generator, dtype=torch.float64)
        ours.step(theta, gradient.clone(), epoch)
        for row, one, g in zip(expected, theirs, gradient, strict=True):
            row.grad = g
            one.step()
    torch.testing.assert_close(theta, torch.stack([*expected]).detach(), rtol=1e-12, atol=1e-14)


def test_orthogonal_gradients():
    """⟨θ, g⟩ = 0 of every tensor of every run, and ‖g‖ as it was."""
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(2, 3, 4, generator=generator, dtype=torch.float64), torch.zeros(2, 5)]
    given = [torch.randn(2, 3, 4, generator=generator, dtype=torch.float64), torch.ones(2, 5)]
    given[0][1] = 0
    found = [one.clone() for one in given]
    orthogonal(tensors, found)
    theta, g = tensors[0][0], given[0][0]
    rest = g - (theta * g).sum() / (theta * theta).sum() * theta
    torch.testing.assert_close(found[0][0], rest * g.norm() / rest.norm(), rtol=1e-12, atol=0)
    assert abs((theta * found[0][0]).sum().item()) < 1e-12 < abs((theta * g).sum().item())
    assert not found[0][1].any()
    # Along its tensor: rounding is all that would be left.
    for dtype in (torch.float32, torch.float64):
        theta = torch.randn(1, 50, generator=generator, dtype=dtype)
        gradient = 0.37 * theta
        orthogonal([theta], [gradient])
        assert not gradient.any()
    assert torch.equal(found[1], given[1])  # A tensor of zeros has no direction.


def test_an_orthogonal_gradient_is_the_optimiser_s_alone():
    recipe = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 1e-6, "epochs": 1}
    plain, turned = (
        replace(SMALL, train=replace(SMALL.train, orthogonal_gradient=on, **recipe))
        for on in (False, True)
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


def norm_of(weights):
    return torch.cat([one.flatten() for one in weights.values()]).norm().item()


def test_the_norm_clamp_bounds_the_norm():
    free = replace(SMALL, train=replace(SMALL.train, weight_decay=0.0, lr=1e-2, eval_every=1))
    bound = 0.9 * norm_of(start(free))
    clamped = replace(free, train=replace(free.train, max_norm=bound))
    [rows], [weights], _ = run_together([clamped])
    # The first row is of the weights before the first step.
    assert [row["weight_norm"] for row in rows[1:]] == pytest.approx([bound] * (len(rows) - 1))
    assert torch.cat([one.flatten() for one in weights.values()]).norm().item() == pytest.approx(
        bound
    )
    [unbound], _, _ = run_together([free])
    assert min(row["weight_norm"] for row in unbound) > bound
    loose = replace(free, train=replace(free.train, max_norm=1e6))
    assert run_together([loose])[0] == [unbound]
