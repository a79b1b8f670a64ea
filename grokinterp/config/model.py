"""The architecture and its initialisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grokinterp.checks import check_flag, check_one_of, integer, positive
from grokinterp.placement import LNPlacement, resolve_placement


@dataclass(frozen=True)
class ModelConfig:
    """The architecture and its initialisation. Defaults are the paper's.

    Args:
        placement: Where the norms sit: off, attn-pre, pre, mlp-pre, attn-pre-qk, attn-pre-v, pre-v,
            post, peri, a paper name (M, A*, …), or inputs joined by + (q+mlp).
        norm: LayerNorm (gain and bias) or RMSNorm (gain only).
        n_layers: Number of blocks.
        d_model: Width of the residual stream.
        n_heads: Attention heads of a block; they share d_model equally.
        d_mlp: Width of the MLP; 4 · d_model when not given.
        causal: A position attends to itself and those before it, and not to all.
        answers: How many classes there are: p+1, one for each token, or p, none for `=`.
        final_norm: Norm before the unembedding; center-only keeps a gain of 1 and a bias of 0.
        tied_unembedding: Use the transposed embedding as the unembedding.
        gated_mlp: SiLU-gated MLP, all three projections with bias.
        freeze_ln: Keep every norm's gain and bias at their initial values.
        freeze_mlp_biases: Keep the MLP's biases at their initial values, the zeros of every seed.
        readout_scale: α: multiplies the logits.
        init: W_O and MLP weights: truncated normal of std 1/√fan_in, or normal of std √(2/fan_in).
            lecun-icdf is lecun's distribution, with the numbers that PyTorch 2.11 draws from a
            seed.
        weight_init_scale: Multiplies every parameter after initialisation.

    Raises:
        ValueError: A value is not one that it may have; the message says which it may.
    """

    placement: str = "mlp-pre"
    norm: Literal["layer", "rms"] = "layer"
    n_layers: int = 1
    d_model: int = 128
    n_heads: int = 4
    d_mlp: int | None = None
    causal: bool = False
    answers: Literal["p+1", "p"] = "p+1"
    final_norm: Literal["none", "learned", "center-only"] = "none"
    tied_unembedding: bool = False
    gated_mlp: bool = False
    freeze_ln: bool = False
    freeze_mlp_biases: bool = False
    readout_scale: float = 1.0
    init: Literal["lecun", "lecun-icdf", "kaiming"] = "lecun"
    weight_init_scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "placement", resolve_placement(self.placement).name)
        check_one_of("norm", self.norm, ("layer", "rms"))
        check_one_of("final_norm", self.final_norm, ("none", "learned", "center-only"))
        check_one_of("answers", self.answers, ("p+1", "p"))
        check_one_of("init", self.init, ("lecun", "lecun-icdf", "kaiming"))
        for name in ("n_layers", "d_model", "n_heads"):
            object.__setattr__(self, name, integer(name, getattr(self, name), 1))
        if self.d_model % self.n_heads:
            raise ValueError(
                f"n_heads must divide d_model; got n_heads={self.n_heads}, d_model={self.d_model}"
            )
        if self.d_mlp is None:
            object.__setattr__(self, "d_mlp", 4 * self.d_model)
        object.__setattr__(self, "d_mlp", integer("d_mlp", self.d_mlp, 1))
        for name in (
            "causal",
            "tied_unembedding",
            "gated_mlp",
            "freeze_ln",
            "freeze_mlp_biases",
        ):
            check_flag(name, getattr(self, name))
        for name in ("readout_scale", "weight_init_scale"):
            object.__setattr__(self, name, positive(name, getattr(self, name)))

    @property
    def ln(self) -> LNPlacement:
        """The placement, resolved."""
        return resolve_placement(self.placement)

    @property
    def d_head(self) -> int:
        """Width of a head: d_model/n_heads."""
        return self.d_model // self.n_heads
