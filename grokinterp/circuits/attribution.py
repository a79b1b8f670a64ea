"""Direct logit attribution: which part of the model writes the correct logit."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from grokinterp.hooks.pathway import divided
from grokinterp.model.parts import is_rms
from grokinterp.probes.fourier import cyclic_order
from grokinterp.probes.frequencies import CLUSTERED, neuron_frequencies
from grokinterp.probes.qk_ov import READOUT
from grokinterp.snapshot import Snapshot

ON_THE_WAY = (
    *("hook_resid_pre", "hook_result", "hook_attn_out", "hook_mlp_out", "hook_normalized"),
    *READOUT,
)

Direction = Float[Tensor, "batch d_model"]


def direct_logit_attribution(snapshot: Snapshot) -> dict[str, float | np.ndarray]:
    """How much each part of the model adds to the correct logit, mean over all inputs.

    The logit is taken less its mean over the answers (`=` is none), because softmax ignores what
    all share. `direct`: the embedding of `=` and its position. `heads` [layer, head].
    `neurons` [layer, d_mlp]. `clusters` [layer, freq]: the neurons of each frequency k = 1..n//2,
    by `neuron_frequencies`, with more than 0.85 of their variation there; `cluster_sizes` likewise;
    no frequency where the task works in no cyclic group.
    `unclustered` [layer]: the other neurons. `biases`: of the MLP, of norms, of any other part.
    `correct_logit`: the model's own; `direct`, `heads`, `neurons` and `biases` sum to it.

    A norm on the way (final, post, peri) passes each part on with its scale frozen to that of the
    input at hand (Elhage et al. 2021, "A mathematical framework for transformer circuits"): the
    sum stays exact, and what a part does by changing a scale, or through a later part that reads
    it, does not count as its own.

    A part that is the same for every input adds nothing where every answer is equally frequent, as
    in a + b: `direct`, and the biases of a model without norms on the way, are zero up to rounding.

    Hooks between what a part writes and the logits are refused: the parts would not sum to them.
    """
    snapshot.require_unhooked("direct_logit_attribution", *ON_THE_WAY)
    with torch.no_grad():
        readout = _Readout(snapshot)
        direction = readout.behind("ln_final", readout.direction)
        heads: list[Tensor] = []
        neurons: list[Tensor] = []
        for layer in reversed(range(snapshot.model.cfg.n_layers)):
            of_heads, of_neurons, direction = _layer(snapshot, readout, layer, direction)
            heads.insert(0, of_heads)
            neurons.insert(0, of_neurons)
        cache = snapshot.grid.cache
        embedded = cache["hook_embed"][:, -1] + cache["hook_pos_embed"][:, -1]
        direct = (embedded.double() * direction).sum(1).mean().item()
    per_neuron = torch.stack(neurons).cpu().numpy()
    return {
        "correct_logit": readout.correct_logit,
        "direct": direct,
        "heads": torch.stack(heads).cpu().numpy(),
        "neurons": per_neuron,
        "biases": readout.biases,
        **_clusters(snapshot, per_neuron),
    }


class _Readout:
    """What reads the correct logit, and the biases met on the way down from it."""

    def __init__(self, snapshot: Snapshot) -> None:
        model, labels = snapshot.model, snapshot.grid.labels
        answers = slice(0, snapshot.task.equals_token)
        rows = torch.arange(len(labels))
        self._snapshot = snapshot

        def less_mean(values: Tensor) -> Tensor:
            values = values.double()
            chosen = values[..., labels.to(values.device)]
            return chosen - values[..., answers].mean(-1, keepdim=True)

        logits = snapshot.grid.logits.double()
        correct = logits[rows, labels.to(logits.device)] - logits[:, answers].mean(1)
        self.correct_logit = correct.mean().item()
        self.direction: Direction = less_mean(model.W_U).T
        self.biases = less_mean(model.b_U).mean().item()

    def behind(self, name: str, direction: Direction) -> Direction:
        """The direction in front of a norm that does this to `direction` behind it, if there."""
        try:
            norm: nn.Module = self._snapshot.model.get_submodule(name)
        except AttributeError:
            return direction
        if isinstance(norm, nn.Identity):
            return direction
        self.add(getattr(norm, "b", None), direction)
        scale = self._snapshot.grid.cache[f"{name}.hook_scale"][:, -1].double()
        direction = divided(direction * getattr(norm, "w", torch.ones(())).double(), scale)
        if not is_rms(norm):
            direction = direction - direction.mean(-1, keepdim=True)
        return direction

    def add(self, bias: Float[Tensor, " d_model"] | None, direction: Direction) -> None:
        if bias is not None:
            self.biases += (direction @ bias.double()).mean().item()


def _layer(
    snapshot: Snapshot, readout: _Readout, layer: int, direction: Direction
) -> tuple[Float[Tensor, " head"], Float[Tensor, " d_mlp"], Direction]:
    """What a layer's heads and neurons add, and the direction in front of it."""
    cache, model = snapshot.grid.cache, snapshot.model
    name = f"blocks.{layer}"
    post = getattr(getattr(model.blocks[layer], "placement", None), "style", None) == "post"
    if post:
        direction = readout.behind(f"{name}.ln2", direction)
    written = readout.behind(f"{name}.ln2_post", direction)
    readout.add(model.b_out[layer], written)
    active = cache["post", layer][:, -1].double()
    neurons = (active * (written @ model.W_out[layer].double().T)).mean(0)
    if post:
        direction = readout.behind(f"{name}.ln1", direction)
    written = readout.behind(f"{name}.ln1_post", direction)
    readout.add(model.b_O[layer], written)
    z = cache["z", layer][:, -1].double()
    heads = torch.einsum("bhd,hdm,bm->bh", z, model.W_O[layer].double(), written).mean(0)
    return heads, neurons, direction


def _clusters(
    snapshot: Snapshot, neurons: Float[np.ndarray, "layer d_mlp"]
) -> dict[str, float | np.ndarray]:
    """The neurons' parts summed by frequency; there is none where the task has no cyclic group."""
    order = cyclic_order(snapshot.task)
    frequencies = 0 if order is None else len(order) // 2
    by_frequency = np.zeros((len(neurons), frequencies))
    sizes = np.zeros((len(neurons), frequencies), dtype=int)
    for layer, parts in enumerate(neurons if frequencies else ()):
        fve = np.asarray(snapshot.once(neuron_frequencies, layer)["fve"])
        clustered = fve.max(1) > CLUSTERED
        index = fve.argmax(1)[clustered]
        by_frequency[layer] = np.bincount(index, parts[clustered], minlength=frequencies)
        sizes[layer] = np.bincount(index, minlength=frequencies)
    return {
        "clusters": by_frequency,
        "cluster_sizes": sizes,
        "unclustered": neurons.sum(1) - by_frequency.sum(1),
    }
