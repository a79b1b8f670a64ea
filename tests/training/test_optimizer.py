"""Optimisers and schedules against torch's own; the norm clamp against its formula."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from engine_cases import SMALL, TASK, run_together, start
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, MultiStepLR

from grokinterp.config import RunConfig, TrainConfig
from grokinterp.model.build import build_model
from grokinterp.optimizer_path import OURS
from grokinterp.store.state import RunState
from grokinterp.training.layout import Layout
from grokinterp.training.optimizer import OPTIMIZERS, orthogonalised
from grokinterp.training.update import Update

STEPS = 50


class TorchMuon:
    """torch's own Muon for the matrices of a model, the heads of each side by side, and torch's
    AdamW for the rest."""

    def __init__(self, parameters, lr, weight_decay):
        self.every = [*parameters]
        matrices = [one for one in self.every if one.ndim == 3]
        # W_E, W_pos and W_U come before and after the blocks' own.
        inside = [one for one in self.every if one.ndim == 2 and one.shape in MLP_SHAPES]
        self.pairs = []
        for one in [*matrices, *inside]:
            is_w_o = one.ndim == 3 and one.shape[1] < one.shape[2]
            flat = stack(one.detach(), is_w_o).clone().requires_grad_()
            self.pairs.append((one, flat, is_w_o))
        taken = {id(one) for one, _, _ in self.pairs}
        rest = [one for one in self.every if id(one) not in taken]
        options = {"lr": lr, "weight_decay": weight_decay}
        self.muon = torch.optim.Muon(
            [flat for _, flat, _ in self.pairs], adjust_lr_fn="match_rms_adamw", **options
        )
        self.adamw = torch.optim.AdamW(rest, betas=(0.9, 0.98), eps=1e-8, **options)
        self.param_groups = self.muon.param_groups + self.adamw.param_groups

    def zero_grad(self):
        for one in self.every:
            one.grad = None

    def step(self):
        for one, flat, is_w_o in self.pairs:
            flat.grad = stack(one.grad, is_w_o)
        self.muon.step()
        self.adamw.step()
        with torch.no_grad():
            for one, flat, is_w_o in self.pairs:
                if one.ndim == 2 or is_w_o:
                    one.copy_(flat.view_as(one))
                else:
                    one.copy_(flat.unflatten(1, (one.shape[0], one.shape[2])).transpose(0, 1))


MLP_SHAPES = {(16, 64), (64, 16)}


def stack(tensor, is_w_o):
    if tensor.ndim == 2:
        return tensor
    return tensor.flatten(0, 1) if is_w_o else tensor.transpose(0, 1).flatten(1)


OPTIMISERS = {
    "adamw": ({}, partial(torch.optim.AdamW, betas=(0.9, 0.98), eps=1e-8)),
    "adam": ({}, partial(torch.optim.Adam, betas=(0.9, 0.98), eps=1e-8)),
    "sgd": ({"momentum": 0.8}, partial(torch.optim.SGD, momentum=0.8)),
    "muon": ({}, TorchMuon),
    "torch.optim.NAdam:momentum_decay=0.01,decoupled_weight_decay=True": (
        {},
        partial(torch.optim.NAdam, momentum_decay=0.01, decoupled_weight_decay=True),
    ),
    "torch.optim.Adagrad": ({}, torch.optim.Adagrad),
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


@pytest.fixture(autouse=True)
def without_bfloat16(monkeypatch):
    """torch's Muon, but without its rounding, which ours has not."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())


@pytest.mark.parametrize(
    ("optimizer", "lr_schedule", "decay_schedule"),
    [
        *(("adamw", lr, "constant") for lr in SCHEDULES),
        *(pytest.param("sgd", lr, "constant", marks=pytest.mark.slow) for lr in SCHEDULES),
        *((one, "warmup:10", "step:25=0") for one in OPTIMISERS),
    ],
)
@pytest.mark.usefixtures("unchecked")  # A model is asked thousands of times.
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
        groups = reference.param_groups
        factor = torch.optim.SGD([torch.ones(1)], lr=1.0)
        schedule = SCHEDULES[lr_schedule](factor)
        split = TASK.split(1)
        for epoch in range(1, STEPS + 1):
            for group in groups:
                group["lr"] = config.lr * factor.param_groups[0]["lr"]
                if epoch == 25 and decay_schedule != "constant":
                    group["weight_decay"] = 0.0
            reference.zero_grad()
            F.cross_entropy(model(split.train_tokens)[:, -1], split.train_labels).backward()
            reference.step()
            factor.step()
            schedule.step()
        for name, value in model.named_parameters():
            for found in (ours[name], beside[name]):
                torch.testing.assert_close(found, value.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("optimizer", "lr_schedule"),
    [*((one, "constant") for one in OPTIMISERS), *(("adamw", one) for one in SCHEDULES)],
)
def test_an_optimiser_equals_torch_s_from_equal_gradients(optimizer, lr_schedule):
    """Without the model's rounding between them."""
    options, of_torch = OPTIMISERS[optimizer]
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "embed.W_E": (5, 16),
        "blocks.0.attn.W_Q": (2, 16, 8),
        "blocks.0.attn.W_O": (2, 8, 16),
        "blocks.0.mlp.W_in": (16, 64),
        "blocks.0.mlp.b_in": (64,),
    }
    sizes = {name: torch.Size(shape) for name, shape in shapes.items()}
    layout = Layout(sizes, torch.device("cpu"), torch.float64)
    weights = [
        {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in
         shapes.items()} for _ in range(2)
    ]  # fmt: skip
    theta = layout.flatten(weights)
    recipe = TrainConfig(
        epochs=STEPS,
        optimizer=optimizer,
        lr_schedule=lr_schedule,
        decay_schedule="step:25=0.5",
        **options,
    )
    configs = [
        RunConfig(train=replace(recipe, lr=lr, weight_decay=decay))
        for lr, decay in ((1e-2, 0.3), (3e-3, 1.0))
    ]
    ours = Update(configs, layout, [RunState.initial(one) for one in weights])
    theirs = []
    factor = torch.optim.SGD([torch.ones(1)], lr=1.0)
    schedule = SCHEDULES[lr_schedule](factor)
    for config, one in zip(configs, weights, strict=True):
        for value in one.values():
            value.requires_grad_()
        theirs.append(of_torch(one.values(), lr=config.lr, weight_decay=config.weight_decay))
    for epoch in range(1, STEPS + 1):
        gradient = torch.randn(theta.shape, generator=generator, dtype=torch.float64)
        for row, (one, reference) in enumerate(zip(weights, theirs, strict=True)):
            for group in reference.param_groups:
                group["lr"] = configs[row].lr * factor.param_groups[0]["lr"]
                group["weight_decay"] = configs[row].train.weight_decay * (
                    0.5 if epoch >= 25 else 1
                )
            for name, g in layout.of_run(gradient, row).items():
                one[name].grad = g
            reference.step()
        factor.step()
        schedule.step()
        ours.step(theta, gradient.clone(), epoch)
    expected = layout.flatten([{n: v.detach() for n, v in one.items()} for one in weights])
    torch.testing.assert_close(theta, expected, rtol=1e-12, atol=1e-12)


def test_every_optimiser_of_ours_is_held_against_torch_s():
    assert {*OURS} == {*OPTIMIZERS} <= {*OPTIMISERS}


def test_a_step_of_muon_is_orthogonal_and_has_no_size_of_the_gradient():
    """Singular values near 1, whatever they were; the singular vectors are those of the matrix."""
    generator = torch.Generator().manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(1, 12, 12, generator=generator, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(1, 30, 30, generator=generator, dtype=torch.float64))
    values = torch.logspace(-1, 0, 12, dtype=torch.float64)
    matrix = u @ torch.diag(values)[None] @ v[:, :12]
    for tall, scale in ((False, 1.0), (True, 1e-5)):
        given = scale * (matrix.mT if tall else matrix)
        found = orthogonalised(given)
        inside = u.mT @ (found.mT if tall else found) @ v[:, :12].mT
        new = inside[0].diagonal()
        assert 0.6 < new.min() < new.max() < 1.3
        torch.testing.assert_close(inside[0], torch.diag(new), rtol=0, atol=1e-9)
    assert values.max() / values.min() > 9  # Which it was before.


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
