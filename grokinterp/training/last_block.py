"""The last block at the last position, from the attention's scores to the logits: forward, and
the backward written out.

Where nearly all of an epoch's arithmetic is. Written out, a gradient goes where it is wanted, at
once: no graph is recorded, nothing is zeroed, copied or added up that need not be, and rows can be
taken a cache's worth at a time. Each step gives its value and its pullback, the function from the
gradient of its value to that of its input; the gradients of parameters are written on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from grokinterp.config import ModelConfig
from grokinterp.model.linear import linear, write_weight_gradient
from grokinterp.model.normalise import layer_norm_pullback, rms_norm_pullback
from grokinterp.placement import DEFAULT_EPS, norm_eps
from grokinterp.training.reads import Reads, gather

Parameters = Mapping[str, Float[Tensor, "run ..."]]

Gradients = Mapping[str, Float[Tensor, "run ..."]]
"""Where to write the gradient of each parameter that is trained, by its name."""

Pullback = Callable[[Tensor, Gradients], Tensor]
"""From the gradient of a step's value to that of its input, writing those of its parameters. It may
use the memory of what it is given."""


class Attended(NamedTuple):
    """What the last block's last position takes from what is before it."""

    scores: Float[Tensor, "run row head"]
    """Of its query with keys."""
    values: Float[Tensor, "run row d_model"]
    """Of all heads, side by side."""
    rows: Int[Tensor, "run batch 3"] | None
    """The row that each position of an example has, where examples share them; where it is None,
    each (example, position) has one of its own."""
    residual: Float[Tensor, "run of d_model"]
    """The stream that enters the block there; one row where it is the same for all examples."""

    def reads(self) -> Reads:
        """Which rows each example reads."""
        runs, size, heads = self.scores.shape
        rows = self.rows
        if rows is None:
            rows = torch.arange(size, device=self.scores.device).view(1, -1, 3).expand(runs, -1, -1)
        return Reads(rows, size, heads)


AttendedPullback = Callable[[Attended], dict[str, Float[Tensor, "run ..."]]]
"""From the gradient of `Attended` to those of the parameters before it."""


def last_block(
    config: ModelConfig,
    parameters: Parameters,
    attended: Attended,
    readout_scale: Float[Tensor, " run"],
    reads: Reads | None = None,
) -> tuple[
    Float[Tensor, "run batch d_vocab"],
    Float[Tensor, "run batch d_model"],
    Callable[[Tensor, Tensor | None, Gradients], Attended],
]:
    """Logits, `hook_resid_post`, and the pullback of both.

    The pullback takes the gradients of the logits and of the residual (None where there is none),
    writes those of the parameters that it has a place for, and returns those of `attended`. `reads`
    are the `attended.reads()` of the same rows, where they are kept.
    """
    block = f"blocks.{config.n_layers - 1}."
    style = config.ln.style

    def normed(name: str, x: Tensor, there: bool = True) -> tuple[Tensor, Pullback]:
        if not there:
            return x, _unchanged
        return norm(config, parameters, block + name, x, norm_eps(config.ln, name))

    z, pull_attention = _attention(attended, reads or attended.reads())
    attn_out, pull_o = _linear(parameters, block + "attn.W_O", None, z)
    attn_out, pull_ln1_post = normed("ln1_post", attn_out, style == "peri")
    mid, pull_ln1 = normed("ln1", attended.residual + attn_out, style == "post")
    mlp_in, pull_ln2 = normed("ln2", mid, config.ln.mlp)
    mlp_out, pull_mlp = _mlp(config, parameters, block + "mlp.", mlp_in)
    mlp_out, pull_ln2_post = normed("ln2_post", mlp_out, style == "peri")
    residual, pull_post = normed("ln2", mid + mlp_out, style == "post")
    logits, pull_readout = _readout(config, parameters, residual, readout_scale)

    def pullback(d_logits: Tensor, d_residual: Tensor | None, gradients: Gradients) -> Attended:
        d_out = pull_readout(d_logits, gradients)
        if d_residual is not None:
            d_out = d_out + d_residual
        d_out = pull_post(d_out, gradients)
        d_mlp_in = pull_mlp(pull_ln2_post(d_out, gradients), gradients)
        d_mid = pull_ln1(pull_ln2(d_mlp_in, gradients).add_(d_out), gradients)
        d_z = pull_o(pull_ln1_post(d_mid, gradients), gradients)
        d_scores, d_values = pull_attention(d_z)
        one = attended.residual.shape[1] == 1
        return Attended(
            d_scores, d_values, attended.rows, d_mid.sum(1, keepdim=True) if one else d_mid
        )

    return logits, residual, pullback


def _attention(
    attended: Attended, reads: Reads
) -> tuple[Float[Tensor, "run batch d_model"], Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """The heads' weighted values, side by side."""
    scores, values = attended.scores, attended.values
    pattern = gather(scores, reads.index).softmax(2)
    weights = pattern.mT.contiguous()
    z = reads.weighted_sums(values, weights)

    def pullback(d_z: Tensor) -> tuple[Tensor, Tensor]:
        d_pattern = reads.gradient_by_weights(values, d_z).mT
        by_position = torch._softmax_backward_data(d_pattern, pattern, 2, pattern.dtype)
        d_scores = torch.zeros_like(scores)
        d_scores.flatten(0, 1).index_add_(0, reads.index.flatten(), by_position.flatten(0, 2))
        return d_scores, reads.gradient_by_rows(weights, d_z)

    return z, pullback


def _mlp(
    config: ModelConfig, parameters: Parameters, mlp: str, x: Tensor
) -> tuple[Float[Tensor, "run batch d_model"], Pullback]:
    pre, pull_in = _linear(parameters, mlp + "W_in", mlp + "b_in", x, relu=not config.gated_mlp)
    if not config.gated_mlp:
        out, pull_out = _linear(parameters, mlp + "W_out", mlp + "b_out", pre)
        return out, lambda d_out, gradients: pull_in(pull_out(d_out, gradients), gradients)
    gate, pull_gate = _linear(parameters, mlp + "W_gate", mlp + "b_gate", x)
    opening = F.silu(gate)
    out, pull_out = _linear(parameters, mlp + "W_out", mlp + "b_out", pre * opening)

    def pullback(d_out: Tensor, gradients: Gradients) -> Tensor:
        d_hidden = pull_out(d_out, gradients)
        d_gate = torch.ops.aten.silu_backward(d_hidden * pre, gate)
        return pull_in(d_hidden * opening, gradients) + pull_gate(d_gate, gradients)

    return out, pullback


def _readout(
    config: ModelConfig,
    parameters: Parameters,
    residual: Float[Tensor, "run batch d_model"],
    scale: Float[Tensor, " run"],
) -> tuple[Float[Tensor, "run batch d_vocab"], Pullback]:
    """α · norm(residual) W_U."""
    normal: Tensor = residual
    pull_norm: Pullback = _unchanged
    if config.final_norm != "none":
        normal, pull_norm = norm(config, parameters, "ln_final", residual, DEFAULT_EPS)

    def of(tensors: Mapping[str, Tensor]) -> Tensor | None:
        if not config.tied_unembedding:
            return tensors.get("unembed.W_U")
        w_e = tensors.get("embed.W_E")
        if w_e is None:
            return None
        return (w_e[:, :-1] if config.answers == "p" else w_e).mT  # `=` is the last token.

    w_u = of(parameters)
    assert w_u is not None
    # Of the two factors that α can multiply, the small one.
    w_u = w_u * scale[:, None, None]

    def pullback(d_logits: Tensor, gradients: Gradients) -> Tensor:
        if (out := of(gradients)) is not None:
            write_weight_gradient(normal, d_logits, out)
            out *= scale[:, None, None]
        return pull_norm(linear(d_logits, w_u.mT), gradients)

    return linear(normal, w_u), pullback


def _linear(
    parameters: Parameters, weight: str, bias: str | None, x: Tensor, relu: bool = False
) -> tuple[Tensor, Pullback]:
    """x W (+ b), then ReLU if asked. Heads of a weight count as one axis."""
    w = parameters[weight].flatten(1, -2)
    y = linear(x, w, None if bias is None else parameters[bias], relu)

    def pullback(dy: Tensor, gradients: Gradients) -> Tensor:
        if relu:
            torch.ops.aten.threshold_backward.grad_input(dy, y, 0, grad_input=dy)
        if weight in gradients:
            write_weight_gradient(x, dy, gradients[weight].flatten(1, -2))
        if bias is not None and bias in gradients:
            torch.sum(dy, 1, out=gradients[bias])
        return linear(dy, w.mT)

    return y, pullback


def norm(
    config: ModelConfig, parameters: Parameters, name: str, x: Tensor, eps: float
) -> tuple[Tensor, Pullback]:
    """LayerNorm or RMSNorm with each run's own gain and bias."""
    gain, bias = parameters.get(f"{name}.w"), parameters.get(f"{name}.b")
    # The fused affine form takes one gain, so one run.
    one = x.shape[0] == 1
    w = gain[0] if one and gain is not None else None
    if config.norm == "rms":
        normal, pull_normal = rms_norm_pullback(x, w, eps)
    else:
        b = bias[0] if one and bias is not None else None
        normal, pull_normal = layer_norm_pullback(x, w, b, eps)
    y = normal
    if not one:
        y = normal if gain is None else normal * gain[:, None]
        y = y if bias is None else y + bias[:, None]

    def pullback(dy: Tensor, gradients: Gradients) -> Tensor:
        d_normal = dy if one or gain is None else dy * gain[:, None]
        dx, d_gain, d_bias = pull_normal(d_normal)
        if not one:
            d_gain, d_bias = (dy * normal).sum(1), dy.sum(1)
        for suffix, gradient in (("w", d_gain), ("b", d_bias)):
            if gradient is not None and f"{name}.{suffix}" in gradients:
                gradients[f"{name}.{suffix}"].copy_(gradient)
        return dx

    return y, pullback


def _unchanged(gradient: Tensor, gradients: Gradients) -> Tensor:
    return gradient
