"""What each probe costs at p = 113, and what recording the cheap set does to training.

    python benchmarks/probes.py [--placement mlp-pre] [--rounds 3] [--only ntk ...]

Each probe is timed on snapshots whose forward passes have been made, since probes share them; the
passes have a line of their own. Times are medians over rounds; peak memory is that of a process
of its own, less what it held before the probe. The slowdown is the time of recording `cheap` over
that of the 100 epochs of training before it, in the same process.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.model.build import build_model
from grokinterp.probes import PROBES
from grokinterp.probes.calls import expand
from grokinterp.snapshot import Snapshot
from grokinterp.store.state import RunState
from grokinterp.training.device import keep_freed_memory
from grokinterp.training.engine import Ensemble
from grokinterp.training.recorder import Recorder

CADENCE = 100


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def snapshot(placement: str, seed: int = 456, start: Snapshot | None = None) -> Snapshot:
    """A model at its start; with another as what it is compared with."""
    config = RunConfig(model=ModelConfig(placement=placement), seed=seed)
    model = build_model(config.model, config.task, seed)
    others = None if start is None else lambda which: start
    return Snapshot(model, config.task, 456, others=others)


def read_all(shot: Snapshot) -> None:
    for inputs in (shot.train, shot.test, shot.grid):
        inputs.logits  # noqa: B018


def measure_one(placement: str, name: str, rounds: int) -> dict[str, float]:
    """Seconds of a probe, and peak MiB above what was held before; in this process."""
    start = snapshot(placement, 789)
    read_all(start)
    times = []
    before = 0
    for _ in range(rounds):
        shot = snapshot(placement, start=start)
        read_all(shot)
        before = before or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        times.append(seconds(lambda shot=shot: PROBES[name](shot)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "first": times[0],
        "median": statistics.median(times),
        "mib": (peak - before) / 1024,
    }


def measure_training(placement: str, rounds: int) -> tuple[float, float]:
    """Seconds of 100 epochs, and of recording the cheap set after them."""
    train = TrainConfig(epochs=10**9, probes={"cheap": CADENCE})
    config = RunConfig(model=ModelConfig(placement=placement), train=train)
    model = build_model(config.model, config.task, config.seed)
    weights = {name: value.detach().clone() for name, value in model.named_parameters()}
    ensemble = Ensemble({0: config}, [weights], [RunState.initial(weights)])
    recorder = Recorder(config, weights)

    def train_on() -> None:
        target = ensemble.epoch + CADENCE
        while ensemble.epoch < target:
            ensemble.advance()

    def record() -> None:
        recorder.record(ensemble.epoch, ensemble.state(0).weights, ["cheap"])

    train_on()
    record()
    pairs = [(seconds(train_on), seconds(record)) for _ in range(rounds)]
    training, recording = zip(*pairs, strict=True)
    return statistics.median(training), statistics.median(recording)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--placement", default="mlp-pre")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=list(PROBES))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    if options.one:
        print(json.dumps(measure_one(options.placement, options.one, options.rounds)))
        return
    shot = snapshot(options.placement)
    print(f"{options.placement}, p = 113, {options.threads} threads, torch {torch.__version__}")
    for name in ("train", "test", "grid"):
        took = seconds(lambda name=name: getattr(shot, name).logits)
        print(f"{'forward pass, ' + name:<28}{took * 1e3:>10.0f} ms (first)")
    for name in options.only:
        command = [sys.executable, __file__, "--one", name, "--placement", options.placement]
        command += ["--rounds", str(options.rounds), "--threads", str(options.threads)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{name:<28}{'does not apply: ' + done.stderr.strip().splitlines()[-1]}")
            continue
        found = json.loads(done.stdout)
        times = f"{found['median'] * 1e3:>10.1f} ms{found['first'] * 1e3:>10.1f} ms (first)"
        print(f"{name:<28}{times}{found['mib']:>8.0f} MiB", flush=True)
    training, recording = measure_training(options.placement, max(options.rounds, 5))
    names = ", ".join(map(str, expand(["cheap"])))
    print(
        f"\n{CADENCE} epochs {training:.3f} s, the cheap set after them {recording * 1e3:.0f} ms:"
    )
    print(f"training is {recording / training:.1%} slower\n({names})")


if __name__ == "__main__":
    main()
