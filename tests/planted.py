"""A planted clock: a transformer whose logits are exactly Σ_k cos ω_k(a + b − c)."""

import math

import torch

from grokinterp.config import ModelConfig
from grokinterp.model.build import build_model
from grokinterp.model.transformer import PlacedTransformer
from grokinterp.snapshot import Snapshot
from grokinterp.task import ModularTask

P = 11
KEYS = (1, 3)
TASK = ModularTask(p=P)


def waves(keys=KEYS, p=P):
    """cos ω_k t and sin ω_k t for t = 0..p-1, [p, 2 · keys]."""
    t = torch.arange(p, dtype=torch.float64)
    columns = []
    for k in keys:
        angle = 2 * math.pi * k * t / p
        columns += [angle.cos(), angle.sin()]
    return torch.stack(columns, dim=1)


def clock(keys=KEYS, p=P) -> PlacedTransformer:
    """Head 0 copies a, head 1 copies b, a neuron fires at each pair, and writes its waves of a+b.

    The embedding is a rotation-like mix of the keys' waves in every dimension.
    """
    d_model, n = 8 * len(keys) + 8, 2 * len(keys)
    config = ModelConfig("off", d_model=d_model, n_heads=2, d_mlp=p * p)
    model = build_model(config, ModularTask(p=p), 0, "float64")
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(
        torch.randn(d_model, d_model, generator=generator, dtype=torch.float64)
    )[0]
    # Directions of the residual stream: the embedding's waves, the positions, what the two
    # heads copy (cos and sin at the first key), and the answer's waves.
    embedded, position = basis[:n], basis[n : n + 3]
    copied, answer = basis[n + 3 : n + 7], basis[n + 7 : 2 * n + 7]
    w = waves(keys, p)
    phases = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.embed.W_E[:p] = w @ phases @ embedded
        model.pos_embed.W_pos.copy_(position)
        attn, mlp = model.blocks[0].attn, model.blocks[0].mlp
        for head in (0, 1):
            # Scores of 1e4 against 0: the softmax is exactly one-hot.
            attn.W_Q[head, :, 0] = 1e4 * attn.W_Q.shape[2] ** 0.5 * position[2]
            attn.W_K[head, :, 0] = position[head]
            attn.W_V[head, :, :2] = embedded.T @ phases.T[:, :2]
            attn.W_O[head, :2] = copied[2 * head : 2 * head + 2]
        first = waves(keys[:1], p)
        a, b = torch.arange(p).repeat_interleave(p), torch.arange(p).repeat(p)
        # cos ω(a - a₀) + cos ω(b - b₀) is 2 at the pair, and at most 1 + cos ω elsewhere.
        margin = (1 - math.cos(2 * math.pi / p)) / 2
        mlp.W_in.copy_(copied.T @ torch.cat([first[a], first[b]], dim=1).T)
        mlp.b_in.fill_(margin - 2)
        mlp.W_out.copy_(w[(a + b) % p] @ answer / margin)
        model.unembed.W_U[:, :p] = answer.T @ w.T
    return model


def planted(keys=KEYS, p=P, **options) -> Snapshot:
    return Snapshot(clock(keys, p), ModularTask(p=p), seed=1, **options)


def lookup(task, logits) -> PlacedTransformer:
    """A transformer with exactly these logits, [pair, class]: a neuron for each pair writes them.

    The class `=` has 0.
    """
    n = task.n_elements
    logits = torch.as_tensor(logits, dtype=torch.float64)
    d_model = 2 * (4 * n + 3)
    config = ModelConfig("off", d_model=d_model, n_heads=2, d_mlp=n * n)
    model = build_model(config, task, 0, "float64")
    basis = torch.eye(d_model, dtype=torch.float64)
    embedded, position, answer = basis[:n], basis[n : n + 3], basis[n + 3 : 2 * n + 3]
    copied = basis[2 * n + 3 : 4 * n + 3].view(2, n, d_model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.embed.W_E[:n] = embedded
        model.pos_embed.W_pos.copy_(position)
        attn, mlp = model.blocks[0].attn, model.blocks[0].mlp
        for head in (0, 1):
            # Scores of 1e4 against 0: the softmax is exactly one-hot.
            attn.W_Q[head, :, 0] = 1e4 * attn.W_Q.shape[2] ** 0.5 * position[2]
            attn.W_K[head, :, 0] = position[head]
            attn.W_V[head, :, :n] = embedded.T
            attn.W_O[head, :n] = copied[head]
        a, b = torch.arange(n).repeat_interleave(n), torch.arange(n).repeat(n)
        # 2 at the pair, and at most 1 elsewhere.
        mlp.W_in.copy_((copied[0][a] + copied[1][b]).T)
        mlp.b_in.fill_(-1)
        mlp.W_out.copy_(logits @ answer)
        model.unembed.W_U[:, :n] = answer.T
    return model
