import pytest
import torch
from torch import Tensor

import grokinterp.model.linear
from grokinterp.model.linear import linear, write_weight_gradient

KERNEL = grokinterp.model.linear._find_onednn()
needs_onednn = pytest.mark.skipif(KERNEL is None, reason="this PyTorch has no oneDNN kernel")
FORMS = [(bias, relu) for bias in (False, True) for relu in (False, True)]
every_form = pytest.mark.parametrize(("bias", "relu"), FORMS)


def inputs(runs: int, bias: bool, dtype: torch.dtype, transposed: bool = False) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    w = draw(runs, 4, 7).mT if transposed else draw(runs, 7, 4)
    tensors = [draw(runs, 10, 7), w, *([draw(runs, 4)] if bias else [])]
    return [tensor.requires_grad_() for tensor in tensors]


def dense(tensors: list[Tensor], relu: bool) -> Tensor:
    """The reference, run by run and in float64."""
    x, w, *b = (tensor.double() for tensor in tensors)
    y = torch.stack([x[run] @ w[run] + (b[0][run] if b else 0) for run in range(len(x))])
    return y * (y > 0) if relu else y


def apply(tensors: list[Tensor], relu: bool) -> Tensor:
    x, w, *b = tensors
    return linear(x, w, b[0] if b else None, relu=relu)


@pytest.fixture(autouse=True)
def onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor of another maker than Intel, whichever this is."""
    monkeypatch.setattr(grokinterp.model.linear, "_ONEDNN", KERNEL)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """The calls that reach oneDNN's kernel."""
    made: list[tuple] = []

    def recorded(*arguments):
        made.append(arguments)
        return KERNEL(*arguments)

    monkeypatch.setattr(grokinterp.model.linear, "_ONEDNN", recorded)
    return made


@pytest.mark.parametrize("transposed", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("runs", [1, 3])
@every_form
def test_float32_against_the_dense_float64(
    runs: int, bias: bool, relu: bool, transposed: bool
) -> None:
    tensors = inputs(runs, bias, torch.float32, transposed)
    actual, expected = apply(tensors, relu), dense(tensors, relu)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)
    assert (actual == 0).any() == relu  # Both sides of the kink are met.
    weights = torch.linspace(-1, 1, expected.numel()).view_as(expected)
    gradients = torch.autograd.grad((actual * weights).sum(), tensors)
    references = torch.autograd.grad((expected * weights).sum(), tensors)
    for gradient, reference in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("runs", [1, 2])
@every_form
def test_gradients_in_float64(runs: int, bias: bool, relu: bool) -> None:
    tensors = inputs(runs, bias, torch.float64)
    assert torch.autograd.gradcheck(lambda *given: apply(list(given), relu), tensors)


@every_form
def test_float64_equals_the_dense_product(bias: bool, relu: bool) -> None:
    tensors = inputs(2, bias, torch.float64)
    torch.testing.assert_close(apply(tensors, relu), dense(tensors, relu), rtol=1e-13, atol=1e-13)


@needs_onednn
@every_form
def test_onednn_serves_one_float32_run_forward_and_backward(
    calls: list, bias: bool, relu: bool
) -> None:
    tensors = inputs(1, bias, torch.float32)
    y = apply(tensors, relu)
    assert len(calls) == 1
    y.sum().backward()
    assert len(calls) == 3  # And the products for x and for w.


@pytest.mark.parametrize("kernel", ["onednn", "plain"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("runs", [1, 3])
def test_the_weight_s_gradient_is_written_in_place(monkeypatch, kernel, dtype, runs) -> None:
    if kernel == "plain":
        monkeypatch.setattr(grokinterp.model.linear, "_ONEDNN", None)
    generator = torch.Generator().manual_seed(0)
    x, dy = (torch.randn(runs, 10, k, generator=generator, dtype=dtype) for k in (7, 4))
    expected = torch.einsum("rnk,rnm->rkm", x.double(), dy.double()).to(dtype)
    # A part of a larger vector, and the transpose of one, as of a tied unembedding.
    flat = torch.full((runs, 40), torch.nan, dtype=dtype)
    write_weight_gradient(x, dy, flat[:, 5:33].unflatten(1, (7, 4)))
    torch.testing.assert_close(flat[:, 5:33].unflatten(1, (7, 4)), expected)
    assert flat[:, :5].isnan().all()
    assert flat[:, 33:].isnan().all()
    turned = torch.full((runs, 4, 7), torch.nan, dtype=dtype)
    write_weight_gradient(x, dy, turned.mT)
    torch.testing.assert_close(turned.mT, expected)


@needs_onednn
def test_onednn_computes_no_gradient_that_is_not_asked_for(calls: list) -> None:
    x, w = inputs(1, False, torch.float32)
    linear(x.detach(), w).sum().backward()
    assert len(calls) == 2


@needs_onednn
@pytest.mark.parametrize(("runs", "dtype"), [(1, torch.float64), (2, torch.float32)])
def test_the_rest_takes_the_plain_product(calls: list, runs: int, dtype: torch.dtype) -> None:
    apply(inputs(runs, True, dtype), relu=True).sum().backward()
    assert calls == []


@every_form
def test_without_onednn_the_plain_product_serves(
    monkeypatch: pytest.MonkeyPatch, bias: bool, relu: bool
) -> None:
    monkeypatch.setattr(grokinterp.model.linear, "_ONEDNN", None)
    tensors = inputs(1, bias, torch.float32)
    actual = apply(tensors, relu)
    torch.testing.assert_close(actual.double(), dense(tensors, relu), rtol=1e-5, atol=1e-5)
    assert all(gradient.any() for gradient in torch.autograd.grad(actual.sum(), tensors))


@needs_onednn
def test_a_second_derivative_is_refused_rather_than_wrong() -> None:
    x, w = inputs(1, False, torch.float32)
    (first,) = torch.autograd.grad(linear(x, w).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.square().sum().backward()
