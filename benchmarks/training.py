"""What an epoch of the recipe costs: the engine beside a naive loop, and beside the machine.

    python benchmarks/training.py [--seconds 10] [--placement mlp-pre] [--device cuda]

`mlp-pre` at p = 113 as `TrainConfig()` trains it, the loss in float64: a naive PyTorch model and
loop, which evaluates every epoch; the HookedTransformer in the same loop; the engine evaluating
every epoch and every 10; with its loss in float32, by log-softmax and by margins; with the probes
of the paper's recipe; on one core, and a run on each core at once. Contestants take turns in five
rounds, so that a machine whose speed drifts treats all alike; each figure is a median over them.

The floor is the time of an epoch's matrix products alone, of the shapes and by the kernels that
the engine uses, timed between the contestants: no arrangement of the rest is faster than that.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.model.build import build_model
from grokinterp.model.linear import linear, write_weight_gradient
from grokinterp.model.parameters import initial_weights
from grokinterp.reproduction.recipe import PAPER_RECIPE
from grokinterp.store.state import Report, RunState
from grokinterp.training.engine import Ensemble, ensembles, side_by_side
from grokinterp.training.recorder import Recorder
from grokinterp.training.row_blocks import Workers, blocks_of, on_one_core

D_MODEL, N_HEADS, D_MLP = 128, 4, 512
ENDLESS = 10**9
ROUNDS = 5
TOGETHER = (1, 5, 20, 50, 100)


@dataclass
class Contestant:
    name: str
    advance: Callable[[], int]
    """Trains on a little; how many epochs that were, of all its runs together."""
    eval_every: int | None = None
    """Of the engine; None for a loop that is not ours."""


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


def plain_loop(config: RunConfig, model: nn.Module) -> Callable[[], int]:
    """One epoch of train step and test evaluation, as a script would write it."""
    device = config.train.device
    model.to(device)
    split = config.task.split(config.seed)
    tokens, labels, test_tokens, test_labels = (part.to(device) for part in split)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1.0)

    def epoch() -> int:
        optimizer.zero_grad()
        F.cross_entropy(model(tokens)[:, -1].double(), labels).backward()
        optimizer.step()
        with torch.no_grad():
            logits = model(test_tokens)[:, -1]
            F.cross_entropy(logits.double(), test_labels).item()
            (logits.argmax(-1) == test_labels).float().mean().item()
        return 1

    return epoch


def engine(
    config: RunConfig, runs: int = 1, width: int | None = None, cores: int | None = None
) -> Callable[[], int]:
    """Runs of the engine, from one report to the next, with their probes."""
    configs = [replace(config, seed=seed) for seed in range(runs)]
    starts = [initial_weights(one.model, one.task, one.seed) for one in configs]
    states = [RunState.initial(weights) for weights in starts]
    recorders = [
        Recorder(one, weights) if one.train.probes else None
        for one, weights in zip(configs, starts, strict=True)
    ]
    trained: Iterator[tuple[Ensemble, list[Report]]] = side_by_side(
        ensembles(configs, starts, states, width)
    )
    reached = dict.fromkeys(range(runs), 0)
    before = torch.get_num_threads()
    torch.set_num_threads(cores or before)
    next(trained)  # Takes note of how many cores there are.
    torch.set_num_threads(before)

    def advance() -> int:
        ensemble, reports = next(trained)
        epochs = 0
        for report in reports:
            epochs += report.epoch - reached[report.run]
            reached[report.run] = report.epoch
            recorder = recorders[report.run]
            due = config.train.due_probes(report.epoch)
            if recorder is not None and due:
                with on_one_core():  # As train does, whose other runs have the other cores.
                    recorder.record(report.epoch, ensemble.state(report.run).weights, due)
        return epochs

    return advance


def products(config: RunConfig, eval_every: int) -> tuple[Callable[[], int], float]:
    """An epoch's matrix products alone, on all cores, and how many FLOP they are."""
    workers = Workers(torch.get_num_threads())
    split = config.task.split(config.seed)
    train, test = (blocks_of(labels[None]) for labels in (split.train_labels, split.test_labels))
    sizes = ((D_MODEL, D_MODEL), (D_MODEL, D_MLP), (D_MLP, D_MODEL), (D_MODEL, config.task.d_vocab))
    weights = [torch.randn(1, *size) * 0.05 for size in sizes]
    rows = max(rows.stop - rows.start for rows in (*train, *test))
    inputs = {width: torch.randn(1, rows, width) for size in sizes for width in size}

    def forward(block: slice) -> None:
        for w in weights:
            linear(inputs[w.shape[1]][:, : block.stop - block.start], w)

    def both(block: slice) -> None:
        forward(block)
        for w in reversed(weights):
            x, dy = (inputs[width][:, : block.stop - block.start] for width in w.shape[1:])
            write_weight_gradient(x, dy, torch.empty_like(w))
            linear(dy, w.mT)

    def epochs() -> int:
        with on_one_core(), torch.no_grad():
            for _ in range(eval_every):
                workers.map(both, train)
            workers.map(forward, test)
        return eval_every

    of_row = 2 * sum(a * b for a, b in sizes)
    n_train, n_test = len(split.train_labels), len(split.test_labels)
    return epochs, of_row * (3 * n_train + n_test / eval_every)


def measure(contestants: list[Contestant], seconds: float) -> dict[str, list[float]]:
    """Seconds of an epoch of each contestant, in each round."""
    for one in contestants:
        one.advance()
    found: dict[str, list[float]] = {one.name: [] for one in contestants}
    for _ in range(ROUNDS):
        for one in contestants:
            start, epochs = time.perf_counter(), 0
            while time.perf_counter() - start < seconds / ROUNDS:
                epochs += one.advance()
            found[one.name].append((time.perf_counter() - start) / max(epochs, 1))
    return found


def on_cpu(config: RunConfig) -> tuple[list[Contestant], dict[int, float]]:
    def recipe(**changes: object) -> RunConfig:
        return replace(config, train=replace(config.train, **changes))  # type: ignore[arg-type]

    probed = replace(
        config,
        train=replace(PAPER_RECIPE, epochs=ENDLESS, checkpoint_every=None, checkpoint_ratio=None),
    )
    cores = torch.get_num_threads()
    floors = {every: products(config, every) for every in (1, 10)}
    contestants = [
        Contestant("naive loop", plain_loop(config, NaiveTransformer(config.task.d_vocab))),
        Contestant(
            "hooked model, same loop", plain_loop(config, build_model(config.model, config.task))
        ),
        Contestant("products alone, every epoch", floors[1][0]),
        Contestant("products alone, every 10", floors[10][0]),
        Contestant("evaluated every epoch", engine(recipe(eval_every=1)), 1),
        Contestant("evaluated every 10", engine(config), 10),
        Contestant("  loss in float32", engine(recipe(loss_dtype="float32")), 10),
        Contestant(
            "  float32 by margins", engine(recipe(loss_dtype="float32", loss_form="margins")), 10
        ),
        Contestant("  with probes", engine(probed), 10),
        Contestant("on one core", engine(config, cores=1), 10),
        Contestant("  with probes, on one core", engine(probed, cores=1), 10),
        Contestant(f"{cores} runs, one a core", engine(config, runs=cores), 10),
        Contestant(f"  with probes, {cores} runs", engine(probed, runs=cores), 10),
    ]
    return contestants, {every: flops for every, (_, flops) in floors.items()}


def on_accelerator(config: RunConfig) -> list[Contestant]:
    return [
        Contestant("naive loop", plain_loop(config, NaiveTransformer(config.task.d_vocab))),
        *(
            Contestant(f"{runs} runs together", engine(config, runs, width=runs), 10)
            for runs in TOGETHER
        ),
    ]


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = next((line for line in lines if line.startswith("model name")), "")
    name = named.partition(":")[2].strip() or platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10, help="for each contestant")
    parser.add_argument("--placement", default="mlp-pre")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = RunConfig(
        model=ModelConfig(options.placement),
        train=TrainConfig(epochs=ENDLESS, checkpoint_every=None, device=options.device),
    )
    flops: dict[int, float] = {}
    if options.device == "cpu":
        contestants, flops = on_cpu(config)
        print(f"{processor()}; {options.threads} threads; torch {torch.__version__}")
    else:
        contestants = on_accelerator(config)
        print(f"{torch.cuda.get_device_name(options.device)}; torch {torch.__version__}")
    found = measure(contestants, options.seconds)
    naive = found["naive loop"]
    print(f"\n{options.placement}, p = 113, float64 loss")
    print(f"{'':32}{'ms/epoch':>10}{'× naive':>10}{'of products':>13}{'GFLOP/s':>9}")
    for one in contestants:
        times = found[one.name]
        median = statistics.median(times)
        ratio = statistics.median(a / b for a, b in zip(naive, times, strict=True))
        line = f"{one.name:32}{median * 1e3:10.1f}{ratio:9.1f}×"
        if one.eval_every in flops:
            floor = found[
                "products alone, every epoch" if one.eval_every == 1 else "products alone, every 10"
            ]
            share = statistics.median(f / t for f, t in zip(floor, times, strict=True))
            line += f"{share:12.0%} {flops[one.eval_every] / median / 1e9:8.0f}"
        print(line)
    if options.device == "cpu":
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"\nepochs of several runs are counted over all of them; peak memory {peak:.2f} GiB")
    else:
        peak = torch.cuda.max_memory_allocated(options.device) / 2**30
        print(f"\nepochs of several runs are counted over all of them; peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
