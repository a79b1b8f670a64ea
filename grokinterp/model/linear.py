"""x W + b over a leading run axis, by the fastest exact kernel at hand.

On x86 PyTorch sends float32 products to MKL, which does not use AVX-512 on other makers'
processors; oneDNN, in the same PyTorch, does. The arithmetic is float32 in both. Wherever
oneDNN's kernel is not to be had (other dtypes and devices, other builds) this is a plain
product.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def linear(
    x: Float[Tensor, "run row k"],
    w: Float[Tensor, "run k n"],
    b: Float[Tensor, "run n"] | None = None,
    relu: bool = False,
) -> Float[Tensor, "run row n"]:
    """x W (+ b), then ReLU if asked."""
    if x.shape[0] == 1 and _has_onednn(x):
        return _OneDNNLinear.apply(x[0], w[0], None if b is None else b[0], relu)[None]
    y = x @ w if b is None else torch.baddbmm(b[:, None], x, w)
    return y.relu() if relu else y


def _has_onednn(x: Tensor) -> bool:
    return _ONEDNN is not None and x.dtype == torch.float32 and x.device.type == "cpu"


def _find_onednn() -> Any:
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


_ONEDNN = _find_onednn()


def _product(x: Tensor, w: Tensor, b: Tensor | None = None, relu: bool = False) -> Tensor:
    """x w + b for 2-D float32. oneDNN takes w as [n, k], and is slow on rows with gaps."""
    return _ONEDNN(x, w.T, b, "relu" if relu else "none", [], "")


class _OneDNNLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, relu: bool) -> Tensor:
        y = _product(x, w, b, relu)
        ctx.save_for_backward(x, w, y if relu else None)
        ctx.has_bias = b is not None
        return y

    # The kernel has no derivative of its own: a second one must fail, not come out as zero.
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, w, y = ctx.saved_tensors
        if y is not None:
            dy = torch.ops.aten.threshold_backward(dy, y, 0)
        dx = _product(dy, w.T) if ctx.needs_input_grad[0] else None
        dw = _product(x.T, dy) if ctx.needs_input_grad[1] else None
        db = dy.sum(0) if ctx.has_bias and ctx.needs_input_grad[2] else None
        return dx, dw, db, None
