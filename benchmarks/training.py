"""Epochs per second of training `mlp-pre` at p = 113: a naive loop against the engine.

    python benchmarks/training.py [--seconds 20] [--threads 2]

One process measures, in turn: (a) a naive PyTorch model and loop, which evaluates every epoch;
(b) the HookedTransformer in the same loop; the engine's fast path (c) evaluating every epoch,
(d) at the default cadence, (e) with five seeds together. Rounds alternate, so a machine whose
speed drifts treats all alike; each figure is a median over rounds.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn as nn
import torch.nn.functional as F

from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.model.build import build_model
from grokinterp.model.linear import linear
from grokinterp.store.state import RunState
from grokinterp.training.engine import Ensemble

CONFIG = RunConfig(model=ModelConfig(placement="mlp-pre"), train=TrainConfig(epochs=10**9))
D_MODEL, N_HEADS, D_MLP = 128, 4, 512


class NaiveTransformer(nn.Module):
    """The model as one writes it first: every position, nn.MultiheadAttention."""

    def __init__(self, d_vocab: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(d_vocab, D_MODEL)
        self.position = nn.Parameter(torch.randn(3, D_MODEL) * 0.02)
        self.attention = nn.MultiheadAttention(D_MODEL, N_HEADS, bias=False, batch_first=True)
        self.norm = nn.LayerNorm(D_MODEL, eps=0.0)
        self.mlp = nn.Sequential(nn.Linear(D_MODEL, D_MLP), nn.ReLU(), nn.Linear(D_MLP, D_MODEL))
        self.unembed = nn.Linear(D_MODEL, d_vocab, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens) + self.position
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = x + self.mlp(self.norm(x))
        return self.unembed(x)


def plain_loop(model: nn.Module) -> Callable[[], int]:
    """One epoch of train step and test evaluation, as a script would write it."""
    split = CONFIG.task.split(CONFIG.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1.0)

    def epoch() -> int:
        optimizer.zero_grad()
        F.cross_entropy(model(split.train_tokens)[:, -1], split.train_labels).backward()
        optimizer.step()
        with torch.no_grad():
            logits = model(split.test_tokens)[:, -1]
            F.cross_entropy(logits, split.test_labels)
            (logits.argmax(-1) == split.test_labels).float().mean()
        return 1

    return epoch


def engine(eval_every: int, seeds: int = 1) -> Callable[[], int]:
    """The engine from one evaluation to the next, each run on its own as it does on a CPU."""
    config = replace(CONFIG, train=replace(CONFIG.train, eval_every=eval_every))
    ensembles = []
    for seed in range(seeds):
        one = replace(config, seed=seed)
        model = build_model(one.model, one.task, seed)
        weights = {name: value.detach().clone() for name, value in model.named_parameters()}
        ensembles.append(Ensemble({seed: one}, [weights], [RunState.initial(weights)]))

    def advance() -> int:
        before = ensembles[0].epoch
        for ensemble in ensembles:
            ensemble.advance()
        return (ensembles[0].epoch - before) * seeds

    return advance


def flops_per_epoch(eval_every: int) -> float:
    """Multiply-adds that the fast path needs, times 2: a forward of each evaluated test example,
    and three forwards' worth (forward, two gradients) of each train example."""
    d_vocab = CONFIG.task.d_vocab
    row = 2 * (D_MODEL * D_MODEL + 2 * D_MODEL * D_MLP + D_MODEL * d_vocab)
    return row * (3 * CONFIG.task.n_train + CONFIG.task.n_test / eval_every)


def product_rate() -> float:
    """FLOP/s of a large float32 product by the same kernel."""
    n = 2048
    x, w = torch.randn(1, n, n), torch.randn(1, n, n)
    linear(x, w)
    start = time.perf_counter()
    for _ in range(5):
        linear(x, w)
    return 5 * 2 * n**3 / (time.perf_counter() - start)


def measure(
    contestants: dict[str, Callable[[], int]], seconds: float, rounds: int = 5
) -> tuple[dict[str, list[float]], list[float]]:
    """Epochs per second of each contestant, and the product rate, in each round."""
    for advance in contestants.values():
        advance()
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    products = []
    for _ in range(rounds):
        products.append(product_rate())
        for name, advance in contestants.items():
            start, epochs = time.perf_counter(), 0
            while time.perf_counter() - start < seconds / rounds:
                epochs += advance()
            rates[name].append(epochs / (time.perf_counter() - start))
    return rates, products


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="for each contestant")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    contestants = {
        "a naive loop, evaluating every epoch": plain_loop(NaiveTransformer(CONFIG.task.d_vocab)),
        "b hooked model, the same loop": plain_loop(build_model(CONFIG.model, CONFIG.task, 456)),
        "c fast path, evaluating every epoch": engine(eval_every=1),
        "d fast path, evaluating every 10": engine(eval_every=10),
        "e five seeds together, every 10": engine(eval_every=10, seeds=5),
    }
    rates, products = measure(contestants, options.seconds)
    naive = rates["a naive loop, evaluating every epoch"]
    print(f"{options.threads} threads, torch {torch.__version__}")
    print(f"float32 product rate: {statistics.median(products) / 1e9:.0f} GFLOP/s\n")
    print(f"{'':38}{'epochs/s':>9}{'ms/epoch':>10}{'ratio to a':>12}{'of product rate':>17}")
    for name, found in rates.items():
        ratio = statistics.median(f / n for f, n in zip(found, naive, strict=True))
        rate = statistics.median(found)
        share = ""
        if name[0] in "cde":
            flops = flops_per_epoch(1 if name[0] == "c" else 10)
            share = f"{rate * flops / statistics.median(products):.0%}"
        print(f"{name:38}{rate:9.1f}{1000 / rate:10.1f}{ratio:11.1f}×{share:>17}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\nepochs of (e) are counted over all five runs; peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
