"""How long `--help`, `runs`, `audit` and `report` take on a store of many runs.

    python benchmarks/store.py [--runs 1000] [--rounds 3]

The store is filled with the runs that ship, each again under seeds that no experiment plans, so
that a run's files are of the size that they really have. Each command is a process of its own;
times are medians over rounds, with the start of Python.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

from grokinterp.results import shipped_runs
from grokinterp.store.store import open_store

FIRST_SEED = 10_000
PROGRAM = str(Path(sys.executable).with_name("grokinterp"))


def fill(path: Path, count: int) -> None:
    store = open_store(path, create=True)
    for i, run in enumerate(islice(cycle(shipped_runs()), count)):
        copy = store.create(replace(run.config, seed=FIRST_SEED + i))
        for name in ("status.json", "metrics.parquet", "probes.parquet"):
            if (run.path / name).exists():
                shutil.copy(run.path / name, copy.path / name)


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds on the clock, and of CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([PROGRAM, *command], check=True, capture_output=True)
    clock = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "runs"
        fill(store, arguments.runs)
        page = Path(folder) / "report.html"
        commands = {
            "help": ["--help"],
            "runs": ["runs", "--store", str(store)],
            "audit": ["audit", "--store", str(store)],
            "report": ["report", "--store", str(store), "--out", str(page)],
        }
        print(f"{arguments.runs:,} runs   seconds   CPU seconds")
        for name, command in commands.items():
            rounds = [measure(command) for _ in range(arguments.rounds)]
            clock, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(f"{name:<12}{clock:>8.1f}{cpu:>14.1f}")
        print(f"page: {page.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
