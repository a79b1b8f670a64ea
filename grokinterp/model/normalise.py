"""Layer and RMS normalisation with an eps of 0, in which a vector of zeros becomes zeros.

Such a vector has no direction to keep: its quotient by its own size is 0/0. It gets the value 0,
before gain and bias, and the derivative 0. Everything else is as torch's own functions have it,
bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Row = Float[Tensor, "*batch d_model"]
Affine = Float[Tensor, " d_model"] | None


def layer_norm(x: Row, gain: Affine, bias: Affine, eps: float) -> Row:
    """(x − mean x)/√(var x + eps) · gain + bias, over the last axis."""
    if eps:
        return F.layer_norm(x, x.shape[-1:], gain, bias, eps)
    return _LayerNorm.apply(x, gain, bias)


def rms_norm(x: Row, gain: Affine, eps: float) -> Row:
    """x/√(mean x² + eps) · gain, over the last axis."""
    if eps:
        return F.rms_norm(x, x.shape[-1:], gain, eps)
    square = x.pow(2).mean(-1, keepdim=True)
    zero = square == 0
    # Before the root as well, whose derivative at 0 is infinite.
    normal = x * torch.where(zero, 0, torch.where(zero, 1, square).rsqrt())
    return normal if gain is None else normal * gain


class _LayerNorm(torch.autograd.Function):
    """torch's fused kernels, which no operation before or after them could keep from 0/0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor | None, bias: Tensor | None) -> Tensor:
        # An eps that no sum with the variance of anything but zeros can feel.
        eps = torch.finfo(x.dtype).tiny
        out, mean, scale = torch.native_layer_norm(x, x.shape[-1:], gain, bias, eps)
        of_zeros = scale > 0.9 * eps**-0.5
        ctx.save_for_backward(x, gain, bias, mean, torch.where(of_zeros, 0, scale))
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, bias, mean, scale = ctx.saved_tensors
        return torch.ops.aten.native_layer_norm_backward(
            *gradients, x, x.shape[-1:], mean, scale, gain, bias, list(ctx.needs_input_grad)
        )
