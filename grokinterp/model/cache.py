"""TransformerLens' ActivationCache, which knows the norm of each pathway."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformer_lens import ActivationCache
from transformer_lens.utilities import Slice

from grokinterp.hooks.pathway import divided
from grokinterp.model.parts import is_rms
from grokinterp.model.processing import is_folded


class PlacedCache(ActivationCache):
    """The cache of a model of ours.

    Where TransformerLens' own would leave out a norm, apply one that is not there, or take the
    residual stream for a sum that it is not, this one is right, or says why it cannot be.
    """

    model: Any  # A PlacedTransformer.

    def apply_slice_to_batch_dim(self, batch_slice: Any) -> PlacedCache:
        """The cache of some examples."""
        sliced = super().apply_slice_to_batch_dim(batch_slice)
        return PlacedCache(sliced.cache_dict, self.model, has_batch_dim=sliced.has_batch_dim)

    def apply_ln_to_stack(
        self,
        residual_stack: Float[Tensor, "component ... d_model"],
        layer: int | None = None,
        mlp_input: bool = False,
        pos_slice: Any = None,
        batch_slice: Any = None,
        has_batch_dim: bool = True,
        recompute_ln: bool = False,
    ) -> Float[Tensor, "component ... d_model"]:
        """Parts of the residual stream as a pathway reads them: through its norm, if it has one.

        The norm's scale is that of the input at hand. Its gain and bias must be folded, so that
        the parts sum to what the weights multiply.

        Args:
            residual_stack: The parts.
            layer: Whose input; the readout's when not given, -1 or n_layers.
            mlp_input: The MLP's and not the attention's.
            pos_slice: The positions that the parts are at.
            batch_slice: Examples to choose.
            has_batch_dim: Whether the parts have a batch.
            recompute_ln: At the readout: the norm of each part by itself (the logit lens).

        Raises:
            ValueError: A norm is not folded, or q, k and v read different things.
        """
        pos_slice, batch_slice = Slice.unwrap(pos_slice), Slice.unwrap(batch_slice)
        if has_batch_dim:
            residual_stack = batch_slice.apply(residual_stack, dim=1)
        n_layers = self.model.cfg.n_layers
        name = self._norm_of(n_layers if layer in (None, -1) else layer, mlp_input)
        if name is None:
            return residual_stack
        norm: Any = self.model.get_submodule(name)
        if recompute_ln and name == "ln_final":
            return norm(residual_stack)
        if not is_folded(norm):
            raise ValueError(
                f"the parts do not sum to what the weights read while {name} has a gain and a "
                "bias: fold them first, by model.process_weights_(center_writing_weights=False, "
                "center_unembed=False), and run the cache anew; or use "
                "grokinterp.circuits.direct_logit_attribution"
            )
        if not is_rms(norm):
            residual_stack = residual_stack - residual_stack.mean(-1, keepdim=True)
        scale = self[f"{name}.hook_scale"]
        if scale.ndim != 2 + self.has_batch_dim:
            raise ValueError(
                f"{name} must run once for all heads where apply_ln is asked for; it runs for each "
                "head's own input: call model.set_use_split_qkv_input(False) and "
                "model.set_use_attn_in(False) first, and run the cache anew"
            )
        scale = pos_slice.apply(scale, dim=-2)
        if self.has_batch_dim:
            scale = batch_slice.apply(scale)
        return divided(residual_stack, scale)

    def _norm_of(self, layer: int | Any, mlp_input: bool) -> str | None:
        """The name of the norm between the residual stream and what reads it; None if it is bare.

        In post the stream itself is normalised, and what reads it does so as it is.
        """
        cfg = self.model.cfg
        if layer == cfg.n_layers:
            return None if cfg.normalization_type is None else "ln_final"
        placement = cfg.placement
        reads = [placement.mlp] if mlp_input else [placement.q, placement.k, placement.v]
        if len(set(reads)) > 1:
            named = ", ".join(
                f"{name} reads {'ln1' if read else 'the stream'}"
                for name, read in zip("qkv", reads, strict=True)
            )
            raise ValueError(
                f"apply_ln must be False in {placement.name}, whose attention has no one input "
                f"({named}); cache['q_in', layer], cache['k_in', layer] and cache['v_in', layer] "
                "are what they read"
            )
        return f"blocks.{layer}.ln{2 if mlp_input else 1}" if reads[0] else None

    def logit_attrs(
        self,
        residual_stack: Float[Tensor, "component ... d_model"],
        tokens: Any,
        incorrect_tokens: Any = None,
        pos_slice: Any = None,
        batch_slice: Any = None,
        has_batch_dim: bool = True,
    ) -> Float[Tensor, "component ..."]:
        """What each part adds to a logit, or to a difference of two; as TransformerLens has it.

        Args:
            residual_stack: The parts.
            tokens: The answer of each example, of each of its positions, or one of all.
            incorrect_tokens: Whose logit is taken off, likewise.
            pos_slice: The positions that the parts are at.
            batch_slice: Examples to choose.
            has_batch_dim: Whether the parts have a batch.

        Raises:
            ValueError: A final norm is not folded.
        """

        def at_positions(answers: Any) -> Any:
            # TransformerLens takes one answer an example for one a position where the numbers of
            # both are equal.
            one_each = isinstance(answers, Tensor) and answers.ndim == 1 and len(answers) > 1
            if one_each and has_batch_dim and residual_stack.ndim == 4:
                return answers[:, None].expand(-1, residual_stack.shape[2])
            return answers

        return super().logit_attrs(
            residual_stack,
            at_positions(tokens),
            at_positions(incorrect_tokens),
            pos_slice,
            batch_slice,
            has_batch_dim,
        )

    def decompose_resid(self, *args: Any, **options: Any) -> Any:
        """The parts that sum to the residual stream; as TransformerLens has it.

        Raises:
            ValueError: There are none (post).
        """
        self.model.require_plain_sum("decompose_resid", heads=False)
        return super().decompose_resid(*args, **options)

    def compute_head_results(self) -> None:
        """What each head writes, into the cache; as TransformerLens has it.

        Raises:
            ValueError: A norm is behind the heads (post, peri).
        """
        self.model.require_plain_sum("compute_head_results")
        super().compute_head_results()

    def stack_head_results(self, *args: Any, **options: Any) -> Any:
        """What each head writes; as TransformerLens has it.

        Raises:
            ValueError: A norm is behind the heads (post, peri).
        """
        self.model.require_plain_sum("stack_head_results")
        return super().stack_head_results(*args, **options)

    def get_neuron_results(self, *args: Any, **options: Any) -> Any:
        """What each neuron of a layer writes; as TransformerLens has it.

        Raises:
            ValueError: A norm is behind the MLP (post, peri).
        """
        self.model.require_plain_sum("get_neuron_results")
        return super().get_neuron_results(*args, **options)

    def stack_neuron_results(
        self,
        layer: int,
        pos_slice: Any = None,
        neuron_slice: Any = None,
        return_labels: bool = False,
        incl_remainder: bool = False,
        apply_ln: bool = False,
        project_output_onto: Tensor | None = None,
        **options: Any,
    ) -> Any:
        """What each neuron writes; as TransformerLens has it.

        Raises:
            ValueError: A norm is behind the MLP (post, peri).
        """
        self.model.require_plain_sum("stack_neuron_results")
        # TransformerLens' short cut for both at once does not ask `apply_ln_to_stack`.
        afterwards = project_output_onto if apply_ln else None
        found = super().stack_neuron_results(
            layer,
            pos_slice,
            neuron_slice,
            return_labels,
            incl_remainder,
            apply_ln,
            None if apply_ln else project_output_onto,
            **options,
        )
        return _projected(found, afterwards)

    def get_full_resid_decomposition(
        self,
        layer: int | None = None,
        mlp_input: bool = False,
        expand_neurons: bool = True,
        apply_ln: bool = False,
        pos_slice: Any = None,
        return_labels: bool = False,
        project_output_onto: Tensor | None = None,
        **options: Any,
    ) -> Any:
        """Heads, neurons, embeddings and biases; as TransformerLens has it.

        Raises:
            ValueError: The stream is not their sum (post, peri).
        """
        self.model.require_plain_sum("get_full_resid_decomposition")
        afterwards = project_output_onto if apply_ln else None
        found = super().get_full_resid_decomposition(
            layer,
            mlp_input,
            expand_neurons,
            apply_ln,
            pos_slice,
            return_labels,
            None if apply_ln else project_output_onto,
            **options,
        )
        return _projected(found, afterwards)


def _projected(found: Any, onto: Tensor | None) -> Any:
    if onto is None:
        return found
    if isinstance(found, tuple):
        return found[0] @ onto, found[1]
    return found @ onto
