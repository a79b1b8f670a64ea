"""Layer and RMS normalisation with an eps of 0, in which a vector of zeros becomes zeros.

Such a vector has no direction to keep: its quotient by its own size is 0/0. It gets the value 0,
before gain and bias, and the derivative 0. Everything else is as torch's own functions have it,
bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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


Gradients = tuple[Tensor, Tensor | None, Tensor | None]
"""Of the input, of the gain and of the bias, where there are such."""


def layer_norm_pullback(
    x: Row, gain: Affine, bias: Affine, eps: float
) -> tuple[Row, Callable[[Row], Gradients]]:
    """`layer_norm`, and the function from the gradient of its value to its `Gradients`."""
    out, mean, scale = _layer_norm(x, gain, bias, eps)
    return out, partial(_layer_norm_gradients, x, gain, bias, mean, scale)


def _layer_norm_gradients(
    x: Row, gain: Affine, bias: Affine, mean: Tensor, scale: Tensor, dy: Row
) -> Gradients:
    wanted = [True, gain is not None, bias is not None]
    return torch.ops.aten.native_layer_norm_backward(  # type: ignore[no-any-return]
        dy, x, x.shape[-1:], mean, scale, gain, bias, wanted
    )


def rms_norm_pullback(x: Row, gain: Affine, eps: float) -> tuple[Row, Callable[[Row], Gradients]]:
    """`rms_norm`, and the function from the gradient of its value to its `Gradients`."""
    square = x.pow(2).mean(-1, keepdim=True)
    scale = (square + eps).rsqrt()
    if not eps:
        scale.masked_fill_(square == 0, 0)
    normal = x * scale
    pullback = partial(_rms_norm_gradients, normal, scale, gain)
    return normal if gain is None else normal * gain, pullback


def _rms_norm_gradients(normal: Row, scale: Tensor, gain: Affine, dy: Row) -> Gradients:
    d_gain = None if gain is None else (dy * normal).flatten(0, -2).sum(0)
    d_normal = dy if gain is None else dy * gain
    dx = scale * (d_normal - normal * (d_normal * normal).mean(-1, keepdim=True))
    return dx, d_gain, None


def _layer_norm(x: Row, gain: Affine, bias: Affine, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """The value, and each row's mean and 1/√(var + eps), as the backward kernel takes them."""
    # An eps that no sum with the variance of anything but zeros can feel.
    tiny = torch.finfo(x.dtype).tiny
    out, mean, scale = torch.native_layer_norm(x, x.shape[-1:], gain, bias, eps or tiny)
    if not eps:
        scale = torch.where(scale > 0.9 * tiny**-0.5, 0, scale)  # Of zeros.
    return out, mean, scale


class _LayerNorm(torch.autograd.Function):
    """torch's fused kernels, which no operation before or after them could keep from 0/0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor | None, bias: Tensor | None) -> Tensor:
        out, mean, scale = _layer_norm(x, gain, bias, 0.0)
        ctx.save_for_backward(x, gain, bias, mean, scale)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, bias, mean, scale = ctx.saved_tensors
        return torch.ops.aten.native_layer_norm_backward(
            *gradients, x, x.shape[-1:], mean, scale, gain, bias, list(ctx.needs_input_grad)
        )
