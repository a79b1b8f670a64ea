"""The effective rank and its gradient, at full rank and at any lower one."""

import pytest
import torch
from runs_cases import with_model, with_recipe

import grokinterp as gi
from grokinterp.loss import effective_rank


def of_rank(rank: int, rows: int = 9, columns: int = 6, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(1, rows, rank, generator=generator, dtype=torch.float64)
    return left @ torch.randn(1, rank, columns, generator=generator, dtype=torch.float64)


def equal_eigenvalues(rank: int) -> torch.Tensor:
    """Orthonormal rows, times 2: eigenvalues 4 and 0, each several times."""
    rotation = torch.linalg.qr(of_rank(6, 6, 6))[0]
    return 2 * rotation[:, :rank]


INPUTS = {
    "full": of_rank(6),
    "rank 3": of_rank(3),
    "rank 1": of_rank(1),
    "fewer rows than columns": of_rank(4, rows=4),
    "a zero column": of_rank(6) * torch.tensor([1.0, 1, 0, 1, 1, 1]),
    "all equal": equal_eigenvalues(6),
    "three equal and three zero": equal_eigenvalues(3),
    "small": 1e-8 * of_rank(3),
}


def by_singular_values(x: torch.Tensor) -> float:
    share = torch.linalg.svdvals(x[0]).square()
    share = share[share > 1e-12 * share.sum()] / share.sum()
    return (-(share * share.log()).sum()).exp().item()


@pytest.mark.parametrize("case", INPUTS)
def test_the_gradient_of_the_effective_rank_is_its_derivative(case):
    x = INPUTS[case].clone().requires_grad_()
    assert effective_rank(x).item() == pytest.approx(by_singular_values(x.detach()), rel=1e-9)
    # Unit scale for the finite differences; the gradient is that of scale 1, divided by the scale.
    unit = (x.detach() / x.detach().abs().max()).requires_grad_()
    assert torch.autograd.gradcheck(effective_rank, unit, eps=1e-5, atol=1e-6)
    [gradient] = torch.autograd.grad(effective_rank(x).sum(), x)
    [at_unit] = torch.autograd.grad(effective_rank(unit).sum(), unit)
    torch.testing.assert_close(gradient * x.detach().abs().max(), at_unit, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", INPUTS)
def test_a_float32_gradient_is_that_of_float64(case):
    single = INPUTS[case].float().requires_grad_()
    double = single.detach().double().requires_grad_()
    values, gradients = [], []
    for x in (single, double):
        values.append(effective_rank(x))
        gradients += torch.autograd.grad(values[-1].sum(), x)
    assert gradients[0].dtype == torch.float32
    assert values[0].item() == pytest.approx(values[1].item(), rel=1e-6)
    torch.testing.assert_close(gradients[0].double(), gradients[1], rtol=1e-5, atol=1e-12)


def test_nothing_has_rank_one_and_no_gradient():
    x = torch.zeros(2, 5, 4, requires_grad=True)
    rank = effective_rank(x)
    assert rank.tolist() == [1, 1]
    [gradient] = torch.autograd.grad(rank.sum(), x)
    assert not gradient.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_of_low_rank_trains_under_the_penalty(tmp_path, dtype):
    config = with_recipe(
        with_model(placement="off"), effective_rank_penalty=0.1, dtype=dtype, epochs=20
    )
    model = gi.build_model(config.model, config.task, 1, dtype)
    with torch.no_grad():
        for name in ("embed.W_E", "pos_embed.W_pos", "blocks.0.attn.W_O", "blocks.0.mlp.W_out"):
            model.get_parameter(name)[..., 3:] = 0
    [run] = gi.train([config], store=tmp_path, init=model)
    assert run.status == "finished"
