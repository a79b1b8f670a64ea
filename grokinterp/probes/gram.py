"""Gram matrices of per-example gradients, without the gradients.

The gradient of an example's output in one weight is a sum of outer products, one for each place
where the weight is used: (what went in) ⊗ (the gradient of what came out). The inner product of
two such sums is a sum, over pairs of places, of products of inner products. So the Gram matrices
of activations and of output gradients give the kernel, weight by weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from grokinterp.model.linear import linear
from grokinterp.snapshot import NotApplicable

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer

Seen = dict[str, Tensor]
"""Activations by module name, [batch, pos, …]."""
Gradients = dict[str, Tensor]
"""Gradients of activations by module name, [batch, place, direction, …]."""

ROWS = 512  # Temporaries have this many rows of the kernel.
DIRECTIONS = 8  # The gradients of so many directions are held at once.
WEIGHTS = ("W_E", "W_pos", "W_U", "W_Q", "W_K", "W_V", "W_O", "W_in", "b_in", "W_out", "b_out")
KNOWN = {*WEIGHTS, "W_gate", "b_gate", "w", "b"}


@torch.no_grad()
def add_gram(kernel: Float[Tensor, "batch batch"], factors: Sequence[Tensor]) -> None:
    """Add Σ_{s,t} Π_f ⟨f_is, f_jt⟩, over factors f [batch, place, width] and places s, t.

    For j ≥ i only; what is below the diagonal is unspecified.

    >>> kernel, x = torch.zeros(2, 2), torch.tensor([[[1.0], [2.0]], [[0.0], [1.0]]])
    >>> add_gram(kernel, [x, x])
    >>> kernel[0, 0].item(), kernel[0, 1].item()  # 1 + 2·2² + 4², and (1·1)² + (2·1)²
    (25.0, 5.0)
    """
    used = torch.stack([factor.count_nonzero((0, 2)) > 0 for factor in factors]).all(0)
    places = used.nonzero().flatten().tolist()
    # oneDNN is a thousand times slower on rows that do not lie one after another.
    dense = [factor.transpose(0, 1).contiguous() for factor in factors]
    for start in range(0, len(kernel), ROWS):
        rows, columns = slice(start, start + ROWS), slice(start, None)
        for s in places:
            for t in places:
                first, *others = dense
                product = linear(first[s : s + 1, rows], first[t : t + 1, columns].mT)[0]
                for factor in others:
                    product *= linear(factor[s : s + 1, rows], factor[t : t + 1, columns].mT)[0]
                kernel[rows, columns] += product


@torch.inference_mode(False)  # Which switches gradients on, too.
def gradient_gram(
    model: HookedTransformer,
    tokens: Int[Tensor, "batch pos"],
    directions: Float[Tensor, "direction d_model"],
    of_class: Float[Tensor, "d_vocab d_model"],
) -> Float[Tensor, "batch batch"]:
    """Σ_u ⟨∇(u · r_i), ∇(u · r_j)⟩ over directions u, with r the readout's input at the last
    position, over all trainable parameters; and the readout's own part.

    `of_class` is the direction of each output class. It matters for a tied readout only, whose
    weights are the token embedding: there each use of a parameter meets the other.
    """
    tokens = tokens.to(model.W_E.device)
    seen = _forward(model, tokens)
    kernel = model.W_E.new_zeros(len(tokens), len(tokens))
    many = len(directions) > 1
    names = _outputs(model, many)
    # What is small is kept until all directions are in; the rest is used up chunk by chunk.
    small: dict[str, list[Tensor]] = {}
    for chunk in directions.split(DIRECTIONS):
        large = _backward(seen, names, chunk[:, None])
        if model.W_E.requires_grad:
            _add_shared_tokens(kernel, tokens, large["hook_embed"])
        for name, gradient in list(large.items()):
            if name.endswith("scores"):
                small.setdefault(name, []).append(large.pop(name))
            elif name.endswith("mlp") and _is_shared(gradient):
                small.setdefault(name, []).append(large.pop(name)[:1].clone())
                for pre in ("hook_pre", "hook_pre_linear"):
                    large.pop(f"{name}.{pre}", None)
        for factors in _uses(model, tokens, seen, large):
            add_gram(kernel, factors)
        # Before the next chunk is made, or two would be held.
        del large, gradient, factors
    whole = {name: torch.cat(parts, 2) for name, parts in small.items()}
    for factors in _uses(model, tokens, seen, whole):
        add_gram(kernel, factors)
    _add_readout(kernel, model, tokens, seen, of_class)
    return kernel.triu() + kernel.triu(1).T


def _add_shared_tokens(kernel: Tensor, tokens: Tensor, gradient: Tensor) -> None:
    """The part of W_E where one example has at position s the token that another has at t ≠ s."""
    flat = gradient.flatten(2)
    for token in tokens.unique():
        where = [(of_pos == token).nonzero().flatten() for of_pos in tokens.T]
        for s, t in combinations(range(len(where)), 2):
            i, j = where[s], where[t]
            if len(i) and len(j):
                part = flat[i, s] @ flat[j, t].T
                kernel[i[:, None], j] += part
                kernel[j[:, None], i] += part.T


def require_known(model: HookedTransformer) -> None:
    """NotApplicable if a trainable parameter is used in a way that is not counted here."""
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    unknown = sorted(name for name in trained if name.split(".")[-1] not in KNOWN)
    if unknown or not hasattr(model.unembed, "readout_scale"):
        raise NotApplicable(
            "the kernel is known for the parameters of build_model's models; this model is "
            f"another's{', with ' + ', '.join(unknown[:3]) if unknown else ''}"
        )
    if not trained:
        raise NotApplicable("the kernel is over trainable parameters, and this model has none")
    if model.cfg.use_split_qkv_input or model.cfg.use_attn_in:
        raise NotApplicable(
            "the kernel needs each norm to run once: set use_split_qkv_input and "
            "use_attn_in to False"
        )


def _forward(model: HookedTransformer, tokens: Int[Tensor, "batch pos"]) -> Seen:
    """Every module's output, in one graph that begins at the embedding."""
    seen: Seen = {}

    def see(name: str, output: Tensor) -> Tensor | None:
        if name == "hook_embed":
            # So that what follows has a gradient even if no weight before it is trained.
            output = output.detach().requires_grad_()
        seen[name] = output
        return output

    def one_query(module: Any, args: Any, inputs: dict[str, Tensor]) -> tuple[Any, Any]:
        return args, inputs | {"query_input": inputs["query_input"][:, -1:]}

    handles = [
        module.register_forward_hook(lambda m, i, output, name=name: see(name, output))
        for name, module in model.named_modules()
        if name and not isinstance(module, torch.nn.ModuleList)
    ]
    # Only the last position is read out, so the last block needs one query and one MLP row. What
    # it then says of the other positions is a copy, which nothing reads.
    last = model.blocks[-1]
    handles += [
        last.attn.register_forward_pre_hook(one_query, with_kwargs=True),
        last.mlp.register_forward_pre_hook(lambda m, inputs: inputs[0][:, -1:]),
        *(
            module.register_forward_hook(lambda m, i, out: out.expand(-1, tokens.shape[1], -1))
            for module in (last.attn, last.mlp)
        ),
    ]
    try:
        model(tokens)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _outputs(model: HookedTransformer, many: bool) -> list[str]:
    """The activations whose gradients are wanted: those that come out of a trained weight."""
    names = ["hook_embed"]
    for layer in range(model.cfg.n_layers):
        attn, mlp = f"blocks.{layer}.attn", f"blocks.{layer}.mlp"
        names += [f"{attn}.hook_{x}" for x in (("z", "attn_scores") if many else "qkv")]
        names += [attn, f"{mlp}.hook_pre", mlp]
        names += [f"{mlp}.hook_pre_linear"] * model.cfg.gated_mlp
    names += [name for name, module in model.named_modules() if _is_trained_norm(module)]
    return names


def _is_trained_norm(module: Any) -> bool:
    return hasattr(module, "hook_normalized") and any(
        p.requires_grad for p in module.parameters(recurse=False)
    )


def _backward(
    seen: Seen,
    names: Sequence[str],
    directions: Float[Tensor, "direction #batch d_model"],  # noqa: F821
) -> Gradients:
    """Of u · r at the last position, for each direction u."""
    readout = seen["unembed.hook_in"]
    gradients: Gradients = {}
    for index, u in enumerate(directions):
        start = torch.zeros_like(readout)
        start[:, -1] = u
        found = torch.autograd.grad(
            readout,
            [seen[name] for name in names],
            start,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        for name, value in zip(names, found, strict=True):
            if name.endswith("scores"):
                value = value.transpose(1, 2)
            if name not in gradients:
                shape = (*value.shape[:2], len(directions), *value.shape[2:])
                gradients[name] = value.new_empty(shape)
            gradients[name][:, :, index] = value
    return gradients


@torch.no_grad()
def _uses(
    model: HookedTransformer, tokens: Int[Tensor, "batch pos"], seen: Seen, gradients: Gradients
) -> Iterator[list[Tensor]]:
    """The factors of each use of a trained weight whose output has its gradient here."""
    for name, gradient in gradients.items():
        module: Any = model.get_submodule(name)
        places = gradient.shape[1]
        flat = gradient.flatten(2)
        parent: Any = model.get_submodule(name.rpartition(".")[0])
        leaf = name.split(".")[-1]
        if leaf == "hook_embed":
            # One position at a time: two positions share no row of W_pos, and seldom a token.
            one_hot = F.one_hot(tokens, model.cfg.d_vocab).to(flat)
            for x, g in zip(one_hot.split(1, 1), flat.split(1, 1), strict=True):
                yield [_inputs((x, model.W_E), (torch.ones_like(x[..., :1]), model.W_pos)), g]
        elif _is_trained_norm(module):
            x = seen[f"{name}.hook_normalized"]
            if module.w.requires_grad:
                yield [torch.einsum("npkd,npd->nkd", gradient, x).flatten(1)[:, None]]
            if hasattr(module, "b") and module.b.requires_grad:
                yield [gradient.sum(1, keepdim=True).flatten(2)]
        elif leaf == "attn":
            yield [_inputs((seen[f"{name}.hook_z"].flatten(2)[:, -places:], module.W_O)), flat]
        elif leaf in ("hook_q", "hook_k", "hook_v"):
            weight = getattr(parent, f"W_{leaf[-1].upper()}")
            yield [_inputs((seen[f"{name}_in"][:, -places:], weight)), flat]
        elif leaf == "hook_z":
            yield from _value_uses(parent, name.removesuffix(".hook_z"), seen, gradient)
        elif leaf == "hook_attn_scores":
            yield from _score_uses(parent, name.removesuffix(".hook_attn_scores"), seen, gradient)
        elif leaf in ("hook_pre", "hook_pre_linear"):
            x = seen[f"{name.rpartition('.')[0]}.hook_in"][:, -places:]
            gate = _is_gated(parent) and leaf == "hook_pre"
            weights = (parent.W_gate, parent.b_gate) if gate else (parent.W_in, parent.b_in)
            yield [_affine(x, *weights), flat]
        elif leaf == "mlp":
            yield from _mlp_uses(module, name, seen, gradient)


def _is_shared(gradient: Tensor) -> bool:
    """Whether all examples have one gradient, at one place."""
    return gradient.shape[1] == 1 and bool((gradient == gradient[:1]).all())


def _is_gated(mlp: Any) -> bool:
    return hasattr(mlp, "W_gate")


def _value_uses(attn: Any, name: str, seen: Seen, gradient: Tensor) -> Iterator[list[Tensor]]:
    """W_V of a head makes z = (Σ_p A_p x_p) W_V: one use for each query, not for each key."""
    pattern = seen[f"{name}.hook_pattern"][:, :, -gradient.shape[1] :]
    for head in range(attn.cfg.n_heads):
        mixed = pattern[:, head] @ seen[f"{name}.hook_v_in"]
        yield [_inputs((mixed, attn.W_V)), gradient[..., head, :].flatten(2)]


def _score_uses(attn: Any, name: str, seen: Seen, gradient: Tensor) -> Iterator[list[Tensor]]:
    """A score is (x_q W_Q) · (x_k W_K)/scale, so a score's gradient is a factor of its own.

    Gradients of a softmax's scores sum to zero over keys, so each key counts less the last one,
    and the last not at all.
    """
    queries, keys = gradient.shape[1], gradient.shape[-1] - 1

    def of_queries(x: Tensor) -> Tensor:
        return x[:, -queries:, None].expand(-1, -1, keys, -1).flatten(1, 2)

    def of_keys(x: Tensor) -> Tensor:
        x = x[:, :-1] - x[:, -1:]
        return x[:, None].expand(-1, queries, -1, -1).flatten(1, 2)

    q_in, k_in = (seen[f"{name}.hook_{x}_in"] for x in "qk")
    for head in range(attn.cfg.n_heads):
        of_score = gradient[..., head, :-1].transpose(2, 3).flatten(1, 2) / attn.attn_scale
        q, k = (seen[f"{name}.hook_{x}"][:, :, head] for x in "qk")
        yield [of_score, of_queries(_inputs((q_in, attn.W_Q))), of_keys(k)]
        yield [of_score, of_queries(q), of_keys(_inputs((k_in, attn.W_K)))]


def _mlp_uses(mlp: Any, name: str, seen: Seen, gradient: Tensor) -> Iterator[list[Tensor]]:
    """W_out; and the weights before it if all examples have one gradient g at the output.

    Then the gradient at a pre-activation m is φ'_m (W_out g)_m, which depends on the example
    through φ' alone, and the sum over directions g is a weight ‖(W_out g)_m‖² on φ'_im φ'_jm.
    """
    places = gradient.shape[1]
    post = seen[f"{name}.hook_post"]
    out = _affine(post[:, -places:], mlp.W_out, mlp.b_out)
    if gradient.shape[:2] != (1, 1):
        yield [out, gradient.flatten(2)]
        return
    yield [out * gradient.norm()]
    size = (gradient[0, 0] @ mlp.W_out.T).norm(dim=0)
    x = seen[f"{name}.hook_in"][:, -1:]
    gated = _is_gated(mlp)
    names = [f"{name}.hook_pre", f"{name}.hook_pre_linear"][: 1 + gated]
    slopes = torch.autograd.grad(
        post, [seen[n] for n in names], torch.ones_like(post), retain_graph=True
    )
    weights = [(mlp.W_gate, mlp.b_gate)] if gated else []
    weights.append((mlp.W_in, mlp.b_in))
    for slope, (weight, bias) in zip(slopes, weights, strict=True):
        yield [_affine(x, weight, bias), slope[:, -1:] * size]


def _add_readout(
    kernel: Tensor, model: HookedTransformer, tokens: Tensor, seen: Seen, of_class: Tensor
) -> None:
    """z_c = α r · W_U[:, c]: the gradient in W_U is α r, in the column of each class."""
    unembed: Any = model.unembed
    tied = unembed.tied_to is not None
    if not (model.W_E if tied else unembed.W_U).requires_grad:
        return
    r = unembed.readout_scale * seen["unembed.hook_in"][:, -1:].detach()
    add_gram(kernel, [r * model.cfg.d_vocab_out**0.5])
    if tied:
        # Row v of W_E reads out class v, if it is one, and embeds the token v wherever it stands.
        no_class = (0, 0, 0, model.cfg.d_vocab - model.cfg.d_vocab_out)
        of_token = F.pad(of_class, no_class)[tokens].transpose(0, 1)
        at_embed = _backward(seen, ["hook_embed"], of_token)["hook_embed"]
        met = torch.einsum("nppd->nd", at_embed)
        kernel += r[:, 0] @ met.T + met @ r[:, 0].T


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return _inputs((x, weight), (torch.ones_like(x[..., :1]), bias))


def _inputs(*pairs: tuple[Tensor, Tensor]) -> Tensor:
    """What the trained ones of these parameters multiply, side by side; none of it if frozen."""
    return torch.cat([x if p.requires_grad else x[..., :0] for x, p in pairs], dim=-1)
