"""x W + b over a leading run axis, by the fastest exact kernel at hand.

On x86 PyTorch sends float32 products to MKL, which does not use AVX-512 on other makers'
processors than Intel's; oneDNN, in the same PyTorch, does. The arithmetic is float32 in both.
On an Intel Xeon MKL was the faster one, of these shapes up to twice. Wherever oneDNN's kernel is
not wanted or not to be had (other dtypes and devices, other builds) this is a plain product.
"""

from __future__ import annotations

import platform
from pathlib import Path
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
    if x.shape[0] == 1:
        y = (x[0] @ w[0])[None]
        if b is not None:  # addmm would write b into every row first: a pass more over memory.
            y += b[0]
    else:
        y = x @ w if b is None else torch.baddbmm(b[:, None], x, w)
    return y.relu_() if relu else y


def write_weight_gradient(
    x: Float[Tensor, "run row k"], dy: Float[Tensor, "run row n"], out: Float[Tensor, "run k n"]
) -> None:
    """xᵀ dy, in place: the gradient of W where dy is that of x W."""
    if x.shape[0] > 1:
        torch.bmm(x.mT, dy, out=out)
    elif _has_onednn(x):
        out.copy_(_product(x[0].T, dy[0])[None])
    else:
        torch.mm(x[0].T, dy[0], out=out[0])


def _has_onednn(x: Tensor) -> bool:
    return _ONEDNN is not None and x.dtype == torch.float32 and x.device.type == "cpu"


def _find_onednn() -> Any:
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def _maker() -> str:
    """The processor's maker as it calls itself, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    found = next((line for line in lines if line.startswith("vendor_id")), "")
    return found.partition(":")[2].strip() or platform.processor().rpartition(" ")[2]


_ONEDNN: Any = None if _maker() == "GenuineIntel" else _find_onednn()


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
