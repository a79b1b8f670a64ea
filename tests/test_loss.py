"""Cross-entropy and its gradient in every form; and those of the effective rank, at any rank."""

from dataclasses import dataclass
from decimal import Decimal, localcontext

import pytest
import torch
from runs_cases import with_model, with_recipe

import grokinterp as gi
from grokinterp.loss import correct, effective_rank, losses_and_gradient, losses_of_examples


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


def test_of_equal_logits_the_first_counts():
    logits = torch.tensor([[[0.0, 2.0, 2.0], [0.0, 2.0, 2.0], [1.0, 1.0, 1.0]]])
    assert correct(logits, torch.tensor([[1, 2, 0]])).tolist() == [[True, False, True]]


def examples(scale: float, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of two runs, with labels that are the largest, and not, and equal to it."""
    generator = torch.Generator().manual_seed(3)
    logits = scale * torch.randn(2, 40, 7, generator=generator, dtype=torch.float64)
    labels = logits.argmax(-1)
    labels[:, ::2] = torch.randint(7, (2, 20), generator=generator)
    logits[:, 0] = 1.0
    return logits.to(dtype), labels


def in_float64(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """log Σ exp(z_c − z_y) and its gradient, from its definition, at 40 digits."""
    losses, gradients = [], []
    with localcontext() as context:
        context.prec = 40
        for row, label in zip(
            logits.flatten(0, 1).tolist(), labels.flatten().tolist(), strict=True
        ):
            z = [Decimal(one) for one in row]
            others = [
                (one - z[label]).exp() if c != label else Decimal(0) for c, one in enumerate(z)
            ]
            rest = sum(others)
            gradients.append([float(one / (1 + rest)) for one in others])
            gradients[-1][label] = -float(rest / (1 + rest))
            losses.append(float((1 + rest).ln()))
    found = (torch.tensor(one, dtype=torch.float64) for one in (losses, gradients))
    return tuple(one.view(like.shape) for one, like in zip(found, (labels, logits), strict=True))


@pytest.mark.parametrize("form", ["log-softmax", "margins"])
@pytest.mark.parametrize("scale", [0.1, 3.0, 10.0])
def test_either_form_is_cross_entropy_and_its_gradient(form, scale):
    config = gi.TrainConfig(loss_form=form, loss_logit_scale=1.5)
    logits, labels = examples(scale)
    losses, gradient = losses_and_gradient(config, logits, labels, weight=0.25)
    expected, of_seen = in_float64(1.5 * logits, labels)
    torch.testing.assert_close(losses, expected, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(gradient, 0.25 * 1.5 * of_seen, rtol=1e-13, atol=1e-15)
    # What is evaluated, and what autograd differentiates, are the same function.
    leaf = logits.clone().requires_grad_()
    seen = losses_of_examples(config, leaf, labels)
    assert torch.equal(seen, losses)
    [by_autograd] = torch.autograd.grad(0.25 * seen.sum(), leaf)
    # Of equal logits autograd takes one as the largest; the sum of all of them is the same.
    torch.testing.assert_close(by_autograd[:, 1:], gradient[:, 1:], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("margin", [12.0, 17.5, 40.0, 80.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_by_margins_a_confident_example_has_a_gradient_with_all_its_digits(margin, dtype):
    logits = torch.tensor([[[margin, 0.0, -1.0]]], dtype=getattr(torch, dtype))
    labels = torch.tensor([[0]])
    [[expected]], [[of_seen]] = in_float64(logits, labels)
    found = {}
    for form in ("log-softmax", "margins"):
        config = gi.TrainConfig(loss_dtype=dtype, loss_form=form)
        [[loss]], [[gradient]] = losses_and_gradient(config, logits, labels)
        found[form] = (loss.item(), gradient[0].item())
    digits = 1e-5 if dtype == "float32" else 1e-12
    assert found["margins"] == pytest.approx((expected.item(), of_seen[0].item()), rel=digits)
    # From log-softmax nothing is left of what is under half of the precision's eps.
    assert bool(found["log-softmax"][1]) is (margin < (17 if dtype == "float32" else 37))


def test_margins_of_a_confident_error_do_not_overflow():
    logits = torch.tensor([[[0.0, 300.0, 299.0]]])
    config = gi.TrainConfig(loss_dtype="float32", loss_form="margins")
    [[loss]], [[gradient]] = losses_and_gradient(config, logits, torch.tensor([[0]]))
    assert loss.item() == pytest.approx(300.3133, rel=1e-6)
    assert gradient.tolist() == pytest.approx([-1.0, 0.7310586, 0.2689414], rel=1e-6)


def stablemax(z: torch.Tensor, label: int) -> torch.Tensor:
    s = torch.where(z >= 0, z + 1, 1 / (1 - z))
    return -(s[label] / s.sum()).log()


def mean_square(z: torch.Tensor, label: int) -> torch.Tensor:
    return (z - torch.nn.functional.one_hot(torch.tensor(label), len(z))).square().mean()


@pytest.mark.parametrize(("name", "formula"), [("stablemax", stablemax), ("mse", mean_square)])
@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_other_losses_are_their_formulas_and_their_gradients(name, formula, scale):
    config = gi.TrainConfig(loss=name, loss_logit_scale=1.5)
    logits, labels = examples(scale)
    losses, gradient = losses_and_gradient(config, logits, labels, weight=0.25)
    leaf = logits.clone().requires_grad_()
    pairs = zip(leaf.flatten(0, 1), labels.flatten().tolist(), strict=True)
    expected = torch.stack([formula(1.5 * z, label) for z, label in pairs]).view(labels.shape)
    [by_autograd] = torch.autograd.grad(0.25 * expected.sum(), leaf)
    torch.testing.assert_close(losses, expected.detach(), rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(gradient, by_autograd, rtol=1e-12, atol=1e-15)
    assert torch.autograd.gradcheck(
        lambda z: losses_of_examples(config, z, labels[:, :5]),
        leaf[:, :5].detach().requires_grad_(),
    )
    torch.testing.assert_close(losses_of_examples(config, logits, labels), losses)
    # The negative control: it is not cross-entropy.
    usual = losses_of_examples(gi.TrainConfig(loss_logit_scale=1.5), logits, labels)
    assert (losses - usual).abs().max() > 0.01


@dataclass(frozen=True)
class _Focal(gi.Loss):
    """Underscored, so that it is not listed."""

    gamma: float = 2.0

    def losses(self, logits, labels):
        log_share = logits.log_softmax(-1).gather(-1, labels[..., None])[..., 0]
        return -((1 - log_share.exp()) ** self.gamma) * log_share


def test_a_loss_of_a_user_s_own():
    logits, labels = examples(3.0)
    for gamma in (0.0, 2.0):
        config = gi.TrainConfig(loss=_Focal(gamma), loss_logit_scale=1.5)
        losses, gradient = losses_and_gradient(config, logits, labels, weight=0.25)
        usual, of_usual = losses_and_gradient(
            gi.TrainConfig(loss_logit_scale=1.5), logits, labels, weight=0.25
        )
        same = gamma == 0
        assert torch.allclose(losses, usual, rtol=1e-12) == same
        assert torch.allclose(gradient, of_usual, rtol=1e-10, atol=1e-15) == same
        assert not losses.requires_grad
        assert torch.autograd.gradcheck(
            lambda z, config=config: losses_of_examples(config, z, labels[:, :5]),
            logits[:, :5].clone().requires_grad_(),
        )


@dataclass(frozen=True)
class _Mean(gi.Loss):
    def losses(self, logits, labels):
        return logits.mean()


def test_a_loss_that_is_not_one_of_each_example_is_refused():
    logits, labels = examples(1.0)
    sentence = r"_Mean.losses must give a loss for each example, of shape .*; it gave \(\)"
    with pytest.raises(ValueError, match=sentence):
        losses_of_examples(gi.TrainConfig(loss=_Mean()), logits, labels)


def test_stablemax_of_a_confident_example_still_pulls():
    """By softmax in float32 its gradient is exactly 0."""
    logits = torch.tensor([[[30.0, 0.0, -5.0]]])
    pulls = {}
    for name in ("cross-entropy", "stablemax"):
        config = gi.TrainConfig(loss=name, loss_dtype="float32")
        pulls[name] = losses_and_gradient(config, logits, torch.tensor([[0]]))[1][0, 0, 0].item()
    assert pulls["cross-entropy"] == 0
    total = 31 + 1 + 1 / 6
    assert pulls["stablemax"] == pytest.approx(1 / total - 1 / 31, rel=1e-5)
