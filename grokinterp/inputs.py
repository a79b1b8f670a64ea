"""Examples of a model, with the passes over them that probes share."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from grokinterp.hooks.bridge import is_bridge, untrue_hooks
from grokinterp.hooks.pathway import affine
from grokinterp.model.memo import Remembered, hooks_of

if TYPE_CHECKING:
    from transformer_lens import ActivationCache, HookedTransformer


class NotApplicable(ValueError):
    """A probe needs what this model, task or training has not, whatever the weights."""


class Inputs:
    """Tokens and labels, and one pass over them each way, run when first asked for.

    A pass is run anew once the model's weights, hooks or settings have changed, so that what is
    read inside `hooks.applied(...)` is of the model with its hooks, and afterwards without.
    """

    def __init__(
        self,
        model: HookedTransformer,
        tokens: Int[Tensor, "batch pos"],
        labels: Int[Tensor, " batch"],
    ) -> None:
        self._model = model
        self._remembered = Remembered(model)
        device = model.W_E.device
        self.tokens = tokens.to(device)
        self.labels = labels.to(device)

    @property
    def _forward(self) -> tuple[Tensor, ActivationCache]:
        return self._remembered.once("forward", self._run)

    @torch.no_grad()
    def _run(self) -> tuple[Tensor, ActivationCache]:
        out, cache = self._model.run_with_cache(self.tokens, return_type="logits")
        logits = cast(Tensor, out)
        if is_bridge(self._model):
            cache = _without_untrue(self._model, cache, logits)
        return logits, cache

    @property
    def logits(self) -> Float[Tensor, "batch d_vocab"]:
        """Logits at the last position."""
        return self._forward[0][:, -1]

    @property
    def cache(self) -> ActivationCache:
        """Every activation, at every position."""
        return self._forward[1]

    def last(self, hook: str) -> Tensor:
        """A hook's activations at the last position, [batch, …].

        NotApplicable, naming close ones, if the model has no such hook or it has no positions.
        """
        cache = self.cache.cache_dict
        if hook in getattr(self.cache, "untrue", ()):
            self.cache[hook]
        if hook not in cache:
            close = get_close_matches(hook, cache, n=3) or list(cache)[:3]
            raise NotApplicable(f"the model has no hook {hook!r}; close ones: {', '.join(close)}")
        if cache[hook].shape[:2] != self.tokens.shape:
            raise NotApplicable(
                f"the activations must be [batch, pos, …]; those of {hook} are "
                f"{list(cache[hook].shape)}: choose another hook"
            )
        return cache[hook][:, -1]

    def mlp_input(self, layer: int) -> Float[Tensor, "batch d_model"]:
        """What the weights of a layer's MLP multiply, at the last position.

        A plain HookedTransformer has no hook there: it is what its norm gives out, or the residual
        stream itself.
        """
        block: Any = self._model.blocks[layer]
        normalized = f"blocks.{layer}.ln2.hook_normalized"
        if f"blocks.{layer}.mlp.hook_in" in self.cache or hasattr(block, "placement"):
            return self.last(f"blocks.{layer}.mlp.hook_in")
        if normalized in self.cache:
            with torch.no_grad():
                return affine(block.ln2, self.last(normalized))
        return self.last(f"blocks.{layer}.hook_resid_mid")

    @property
    def readout_input(self) -> Float[Tensor, "batch d_model"]:
        """The residual stream at the last position, after the final norm where there is one."""
        if "unembed.hook_in" in self.cache:
            return self.last("unembed.hook_in")
        residual = self.cache["resid_post", -1][:, -1:]
        if self._model.cfg.normalization_type is not None:  # A plain model has no hook there.
            with torch.no_grad():
                residual = self._model.ln_final(residual)
        return residual[:, 0]

    def rerun_last_mlp(self) -> Float[Tensor, "batch d_vocab"]:
        """Logits at the last position, run anew from the residual stream before the last MLP on.

        For hooks that are attached from there on, which see the last position alone: what comes
        before is as in the shared pass. Where there is no such pass of these weights, where hooks
        act or acted earlier too, or where the block can run as a whole only, all of the model is
        run.
        """
        model: Any = self._model
        block = model.blocks[-1]
        with torch.no_grad():
            made = self._forward_before_last_mlp()
            if made is None or not hasattr(block, "finish"):
                return model(self.tokens)[:, -1]
            residual = block.finish(block.hook_resid_mid(made["resid_mid", -1][:, -1:]))
            if model.cfg.normalization_type is not None:
                residual = model.ln_final(residual)
            return model.unembed(residual)[:, -1]

    def _forward_before_last_mlp(self) -> ActivationCache | None:
        """The shared pass, if it is right up to there for the model as it is now."""
        state = self._remembered.state
        if state is None or not state.holds_without_hooks(self._model):
            return None
        last = f"blocks.{self._model.cfg.n_layers - 1}"
        from_mlp = (f"{last}.mlp.", "ln_final.", "unembed.")
        from_here = (f"{last}.hook_resid_mid", *from_mlp)
        if not all(name.startswith(from_mlp) for name, _ in state.hooks):
            return None
        if not all(name.startswith(from_here) for name, _ in hooks_of(self._model)):
            return None
        made = self._remembered.get("forward")
        return None if made is None else made[1]

    @property
    def examples_mix(self) -> bool:
        """Whether hooks make the logits of one example depend on another, as a batch's mean does.

        Told by the first example's gradient in the embeddings of all.
        """
        return self._remembered.once("examples_mix", self._examples_mix)

    def _examples_mix(self) -> bool:
        if not hooks_of(self._model):
            return False
        embedded: list[Tensor] = []

        def start_here(x: Tensor, hook: Any) -> Tensor:
            embedded.append(x.detach().requires_grad_())
            return embedded[0]

        with torch.enable_grad(), self._model.hooks(fwd_hooks=[("hook_embed", start_here)]):
            first = self._model(self.tokens)[0, -1].sum()
            # What hooks put in the place of everything depends on no example.
            if not first.requires_grad:
                return False
            [gradient] = torch.autograd.grad(
                first, embedded, allow_unused=True, materialize_grads=True
            )
        return bool(gradient[1:].any())

    @property
    def gradients(self) -> dict[str, Tensor]:
        """Of the mean cross-entropy, by parameter name; zero where a parameter has no effect.

        The cross-entropy is the task's, of the model's own logits and in float64, in which a
        memorised example still has a gradient; nothing that a recipe adds to it is in here.
        """
        return self._remembered.once("gradients", self._gradients)

    def _gradients(self) -> dict[str, Tensor]:
        named = {name: p for name, p in self._model.named_parameters() if p.requires_grad}
        with torch.inference_mode(False):  # Which switches gradients on, too.
            logits = self._model(self.tokens)[:, -1]
            found = torch.autograd.grad(
                F.cross_entropy(logits.double(), self.labels),
                list(named.values()),
                allow_unused=True,
                materialize_grads=True,
            )
        return dict(zip(named, found, strict=True))


def _without_untrue(model: Any, cache: ActivationCache, logits: Tensor) -> ActivationCache:
    """The cache of a TransformerBridge, which refuses what is not what its name says."""
    from transformer_lens import ActivationCache
    from transformer_lens.utilities import get_act_name

    class TrueCache(ActivationCache):
        untrue = untrue_hooks(model, cache.cache_dict, logits)

        def __getitem__(self, key: Any) -> Tensor:
            names = (key, get_act_name(*key) if isinstance(key, tuple) else key)
            if refused := [name for name in names if name in self.untrue]:
                raise NotApplicable(
                    f"{refused[0]} of this TransformerBridge does not hold what it says (it does "
                    "not follow from the hooks beside it); load the weights into a model of "
                    "build_model, or of grokinterp.importers"
                )
            return super().__getitem__(key)

    return TrueCache(cache.cache_dict, model)
