"""The model: TransformerLens' hooks, cache and weights around the parts of this package.

The only room that knows which release of TransformerLens is there. Up to 3.x the model is a
HookedTransformer; 4 has none, and there it is a HookedRootModule with the same hooks, parameters,
weights and cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens import FactoredMatrix
from transformer_lens.hook_points import HookPoint
from transformer_lens.HookedRootModule import HookedRootModule

from grokinterp.model.cache import PlacedCache
from grokinterp.model.parts import Block, Embed, PosEmbed, Unembed, norm
from grokinterp.model.processing import is_folded, process_weights
from grokinterp.model.shape import ModelShape
from grokinterp.placement import DEFAULT_EPS

try:
    from transformer_lens import HookedTransformer
except ImportError:  # TransformerLens 4
    HookedTransformer = HookedRootModule  # type: ignore[misc, assignment]

T = TypeVar("T", bound="PlacedTransformer")
Hooks = Sequence[tuple[str | Callable[[str], bool], Callable[..., Any]]]


class PlacedTransformer(HookedTransformer):
    """A HookedTransformer whose norms sit where the placement says.

    `W_U` and `b_U` are what multiplies and what is added, the readout scale α included; the
    parameter `unembed.W_U` is without α. The cache knows each pathway's norm. What of
    TransformerLens would be wrong here is refused, with what to use in its place: see
    docs/transformer-lens.md.

    Args:
        cfg: Its sizes, flags and placement.
        readout_scale: α: multiplies the logits.
    """

    cfg: ModelShape  # type: ignore[assignment]
    # Of ModuleLists and submodules, a type checker knows no attributes.
    embed: Any
    pos_embed: Any
    blocks: Any
    ln_final: Any
    unembed: Any
    is_processed: bool = False
    """Whether `process_weights_` was called."""

    def __init__(self, cfg: ModelShape, readout_scale: float = 1.0) -> None:
        # Not HookedTransformer's own, which would build TransformerLens' parts.
        HookedRootModule.__init__(self)
        self.cfg = cfg
        self.tokenizer = None
        self.dataset = None
        self.embed = Embed(cfg)
        self.hook_embed = HookPoint()  # [batch, pos, d_model]
        self.pos_embed = PosEmbed(cfg)
        self.hook_pos_embed = HookPoint()  # [batch, pos, d_model]
        self.blocks = nn.ModuleList([Block(cfg) for _ in range(cfg.n_layers)])
        if cfg.normalization_type is not None:
            self.ln_final = norm(cfg, DEFAULT_EPS)
        self.unembed = Unembed(cfg, readout_scale, self.embed if cfg.tie_word_embeddings else None)
        self.setup()

    def forward(  # type: ignore[override]
        self,
        input: Tensor,
        return_type: str | None = "logits",
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
        **others: Any,
    ) -> Tensor | None:
        """Logits at every position, [batch, pos, d_vocab_out].

        Args:
            input: Tokens, [batch, pos]; with start_at_layer, the residual stream there.
            return_type: None: nothing is returned, for what hooks see.
            start_at_layer: Begin with the residual stream in front of this layer; -1 is the last.
            stop_at_layer: Return the residual stream in front of this layer.
            **others: TransformerLens' other arguments, for language models: refused.

        Raises:
            ValueError: Something else is asked for.
        """
        if return_type not in ("logits", None):
            raise ValueError(
                f"return_type must be 'logits' or None; got {return_type!r}: TransformerLens' loss "
                "is of the next token, which a and = are not. Use snapshot.train, or "
                "torch.nn.functional.cross_entropy(model(tokens)[:, -1], labels)"
            )
        given = [name for name, v in others.items() if v is not None and v is not False]
        if given:
            raise ValueError(
                f"{', '.join(given)} must not be given: a model of [a, b, =] has no padding, no "
                "text and no cache of keys"
            )
        if start_at_layer is None:
            tokens = input[None] if input.ndim == 1 else input
            residual = self.hook_embed(self.embed(tokens))
            residual = residual + self.hook_pos_embed(self.pos_embed(tokens))
        else:
            residual = input
        for block in self.blocks[start_at_layer:stop_at_layer]:
            residual = block(residual)
        if stop_at_layer is not None:
            return residual
        if self.cfg.normalization_type is not None:
            residual = self.ln_final(residual)
        logits = self.unembed(residual)
        return None if return_type is None else logits

    def run_with_cache(  # type: ignore[override]
        self,
        *model_args: Any,
        return_cache_object: bool = True,
        remove_batch_dim: bool = False,
        **options: Any,
    ) -> tuple[Any, Any]:
        """What the model returns, and every activation; as TransformerLens has it.

        Args:
            *model_args: Tokens, and forward's other arguments.
            return_cache_object: False: a dict in place of the cache.
            remove_batch_dim: Leave the batch out, which must be of one.
            **options: Those of HookedRootModule's.
        """
        out, found = HookedRootModule.run_with_cache(
            self, *model_args, remove_batch_dim=remove_batch_dim, **options
        )
        if not return_cache_object:
            return out, found
        return out, PlacedCache(found, self, has_batch_dim=not remove_batch_dim)

    @contextmanager
    def hooks(
        self,
        fwd_hooks: Hooks = (),
        bwd_hooks: Hooks = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
    ) -> Iterator[PlacedTransformer]:
        """The model with hooks, which leave with the context; as TransformerLens has it.

        Args:
            fwd_hooks: Pairs of a hook point's name and a function.
            bwd_hooks: Likewise, of gradients.
            reset_hooks_end: False: they stay.
            clear_contexts: Forget what hooks keep at the hook points.

        Raises:
            ValueError: A hook is one of TransformerLens' that would be wrong here.
        """
        for name, hook in fwd_hooks:
            _refuse_direct_paths(self, name, hook)
        with super().hooks([*fwd_hooks], [*bwd_hooks], reset_hooks_end, clear_contexts):
            yield self

    def to(self: T, *args: Any, print_details: bool = False, **options: Any) -> T:  # type: ignore[override]
        """Move it, or change its precision, as any module; `cfg` says so.

        Args:
            *args: A device, a dtype, or both.
            print_details: Nothing is printed; it is here because TransformerLens has it.
            **options: `device` and `dtype` by name.
        """
        return nn.Module.to(self, *(one for one in args if not isinstance(one, bool)), **options)

    def _apply(self: T, *args: Any, **options: Any) -> T:
        """What `to`, `float`, `cuda` and the like do."""
        super()._apply(*args, **options)
        self.cfg.dtype, self.cfg.device = self.W_E.dtype, str(self.W_E.device)
        return self

    def process_weights_(
        self,
        fold_ln: bool = True,
        center_writing_weights: bool = True,
        center_unembed: bool = True,
        refactor_factored_attn_matrices: bool = False,
    ) -> None:
        """Simplify the weights in place, where that leaves what the model computes as it is.

        Afterwards it is no longer a model to train: folded biases are in buffers.

        Args:
            fold_ln: Fold each norm's gain and bias into the weights that read it, which are
                centred; the norm is left with a gain of 1 and a bias of 0.
            center_writing_weights: Take the mean off what is written to the residual stream.
            center_unembed: Take W_U's mean over the classes off: the logits change by what all
                have in common.
            refactor_factored_attn_matrices: Refused.

        Raises:
            ValueError: It would compute something else; the message says what to leave out.
        """
        if refactor_factored_attn_matrices:
            raise ValueError(
                "refactor_factored_attn_matrices must be False: use model.QK and model.OV, whose "
                "svd() is the factored form"
            )
        process_weights(self, fold_ln, center_writing_weights, center_unembed)

    def load_and_process_state_dict(self, *args: Any, **options: Any) -> NoReturn:
        """Refused: TransformerLens' processing does not know where the norms are.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "TransformerLens' processing of a state dict does not know where the norms are; use "
            "model.load_state_dict(state_dict) and model.process_weights_(...)"
        )

    fold_layer_norm = center_writing_weights = center_unembed = load_and_process_state_dict
    fold_value_biases = refactor_factored_attn_matrices = load_and_process_state_dict

    def generate(self, *args: Any, **options: Any) -> NoReturn:
        """Refused, as all that is for language models: a model of [a, b, =] says one token.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "this is for language models: a model of [a, b, =] answers once, at its last position, "
            "and its loss is of the answer. Use model(tokens)[:, -1], and snapshot.train for the "
            "examples"
        )

    generate_stream = loss_fn = input_to_embed = get_residual = generate
    init_weights = sample_datapoint = load_sample_training_dataset = generate

    # TransformerLens' switches of what else has a hook that fires.

    def set_use_attn_result(self, use_attn_result: bool) -> None:
        """Whether attn.hook_result, what each head writes, fires."""
        self.cfg.use_attn_result = use_attn_result

    def set_use_split_qkv_input(self, use_split_qkv_input: bool) -> None:
        """Whether hook_q_input, hook_k_input and hook_v_input, in front of the norm, fire."""
        self.cfg.use_split_qkv_input = use_split_qkv_input

    def set_use_attn_in(self, use_attn_in: bool) -> None:
        """Whether hook_attn_in, each head's input in front of the norm, fires."""
        self.cfg.use_attn_in = use_attn_in

    def set_use_hook_mlp_in(self, use_hook_mlp_in: bool) -> None:
        """Whether hook_mlp_in, the MLP's input in front of the norm, fires."""
        self.cfg.use_hook_mlp_in = use_hook_mlp_in

    def tl_parameters(self) -> dict[str, Tensor]:
        """What TransformerLens' SVDInterpreter reads: the weights, with W_U as it multiplies, and
        `ln2.w` where that norm is in front of the MLP alone."""
        named = dict(self.named_parameters())
        for layer, block in enumerate(self.blocks):
            if not block.placement.mlp:
                named.pop(f"blocks.{layer}.ln2.w", None)
        return named | {"unembed.W_U": self.W_U}

    # The weights, as HookedTransformer has them.

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:
        """The token embedding."""
        return self.embed.W_E

    @property
    def W_pos(self) -> Float[Tensor, "n_ctx d_model"]:
        """The position embedding."""
        return self.pos_embed.W_pos

    @property
    def W_E_pos(self) -> Float[Tensor, "rows d_model"]:
        """Both, one below the other."""
        return torch.cat([self.W_E, self.W_pos])

    @property
    def W_U(self) -> Float[Tensor, "d_model d_vocab_out"]:
        """What multiplies the readout's input: α times the unembedding."""
        return self._scaled(self.unembed.W_U)

    @property
    def b_U(self) -> Float[Tensor, " d_vocab_out"]:
        """What is added to the logits: α times the unembedding's bias."""
        return self._scaled(self.unembed.b_U)

    def _scaled(self, weight: Tensor) -> Tensor:
        scale = self.unembed.readout_scale
        return weight if scale == 1 else scale * weight

    def _stacked(self, part: str, name: str) -> Tensor:
        return torch.stack([getattr(getattr(block, part), name) for block in self.blocks])

    @property
    def W_Q(self) -> Float[Tensor, "layer head d_model d_head"]:
        """Of every layer."""
        return self._stacked("attn", "W_Q")

    @property
    def W_K(self) -> Float[Tensor, "layer head d_model d_head"]:
        """Of every layer."""
        return self._stacked("attn", "W_K")

    @property
    def W_V(self) -> Float[Tensor, "layer head d_model d_head"]:
        """Of every layer."""
        return self._stacked("attn", "W_V")

    @property
    def W_O(self) -> Float[Tensor, "layer head d_head d_model"]:
        """Of every layer."""
        return self._stacked("attn", "W_O")

    @property
    def b_Q(self) -> Float[Tensor, "layer head d_head"]:
        """Of every layer; zero, but where a norm's bias is folded into it."""
        return self._stacked("attn", "b_Q")

    @property
    def b_K(self) -> Float[Tensor, "layer head d_head"]:
        """Of every layer; zero, but where a norm's bias is folded into it."""
        return self._stacked("attn", "b_K")

    @property
    def b_V(self) -> Float[Tensor, "layer head d_head"]:
        """Of every layer; zero, but where a norm's bias is folded into it."""
        return self._stacked("attn", "b_V")

    @property
    def b_O(self) -> Float[Tensor, "layer d_model"]:
        """Of every layer; zero."""
        return self._stacked("attn", "b_O")

    @property
    def W_in(self) -> Float[Tensor, "layer d_model d_mlp"]:
        """Of every layer."""
        return self._stacked("mlp", "W_in")

    @property
    def W_gate(self) -> Float[Tensor, "layer d_model d_mlp"] | None:
        """Of every layer; None of an MLP without a gate."""
        return self._stacked("mlp", "W_gate") if self.cfg.gated_mlp else None

    @property
    def b_in(self) -> Float[Tensor, "layer d_mlp"]:
        """Of every layer."""
        return self._stacked("mlp", "b_in")

    @property
    def W_out(self) -> Float[Tensor, "layer d_mlp d_model"]:
        """Of every layer."""
        return self._stacked("mlp", "W_out")

    @property
    def b_out(self) -> Float[Tensor, "layer d_model"]:
        """Of every layer."""
        return self._stacked("mlp", "b_out")

    @property
    def QK(self) -> FactoredMatrix:
        """W_Q W_Kᵀ of every layer and head."""
        return FactoredMatrix(self.W_Q, self.W_K.mT)

    @property
    def OV(self) -> FactoredMatrix:
        """W_V W_O of every layer and head; in peri, in front of the norm of what they write."""
        return FactoredMatrix(self.W_V, self.W_O)

    def tokens_to_residual_directions(  # type: ignore[override]
        self, tokens: int | Int[Tensor, "*pos"]
    ) -> Float[Tensor, "*pos d_model"]:
        """The columns of W_U: what the readout's input is multiplied with to give these logits.

        Args:
            tokens: Answers.
        """
        if isinstance(tokens, str):
            raise ValueError(f"give the answer as a number, as there is no text; got {tokens!r}")
        chosen = torch.as_tensor(tokens, device=self.W_U.device)
        return self.W_U.T[chosen.squeeze() if chosen.numel() == 1 else chosen]

    def accumulated_bias(
        self, layer: int, mlp_input: bool = False, include_mlp_biases: bool = True
    ) -> Float[Tensor, " d_model"]:
        """The sum of what the biases write to the residual stream in front of a layer.

        Args:
            layer: 0: none; n_layers: all.
            mlp_input: In front of its MLP.
            include_mlp_biases: False: b_O alone.

        Raises:
            ValueError: The model has norms in or before the residual stream (post, peri).
        """
        self.require_plain_sum("accumulated_bias")
        blocks = self.blocks[: layer + mlp_input]
        total = torch.zeros_like(blocks[0].attn.b_O if len(blocks) else self.W_E[0])
        for index, block in enumerate(blocks):
            total = total + block.attn.b_O
            if include_mlp_biases and index < layer:
                total = total + block.mlp.b_out
        return total

    def require_plain_sum(self, what: str, heads: bool = True) -> None:
        """Refuse a placement in which the residual stream is no sum of what the parts write.

        Args:
            what: The feature's name, for the message.
            heads: It is of heads, neurons or biases, in front of peri's output norms.

        Raises:
            ValueError: It is one.
        """
        style = self.cfg.placement.style
        if style == "post" or (style == "peri" and heads):
            where = "in the residual stream" if style == "post" else "on what each part writes"
            raise ValueError(
                f"{what} must not be used in {style}, which has norms {where}: the parts do not "
                "sum to the stream; use grokinterp.circuits.direct_logit_attribution, whose parts "
                "sum to the logit"
            )


def _refuse_direct_paths(
    model: PlacedTransformer, name: str | Callable[[str], bool], hook: Callable[..., Any]
) -> None:
    """ValueError for the hook of get_act_patch_direct_path where it would be wrong.

    It divides by the scale of ln1 whatever the pathway reads, multiplies by the bare weight, and
    takes what a head writes from in front of an output norm.
    """
    if "_make_direct_path_hook" not in getattr(hook, "__qualname__", ""):
        return
    if str(name).endswith("_input"):  # TransformerLens 4
        raise ValueError(
            "get_act_patch_direct_path must not be used here: it is of TransformerLens' own "
            "blocks. Use grokinterp.hooks.Patch at attn.hook_q_in, hook_k_in or hook_v_in"
        )
    pathway, layer = str(name)[-1], int(str(name).split(".")[1])
    placement, block = model.cfg.placement, model.blocks[layer]
    reason = None
    if placement.style != "pre":
        reason = f"{placement.style} has norms behind the attention"
    elif not getattr(placement, pathway):
        reason = f"{pathway} reads the residual stream itself here, and no norm of it"
    elif not is_folded(block.ln1):
        reason = "ln1's gain and bias are not folded: call model.process_weights_ first"
    if reason is not None:
        raise ValueError(
            f"get_act_patch_direct_path must not be used here: {reason}. Use "
            f"grokinterp.hooks.Patch at attn.hook_{pathway}_in"
        )
