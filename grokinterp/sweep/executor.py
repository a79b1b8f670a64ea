"""What an executor is: a few workers that each take an item at a time, and may die."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

Function = Callable[[Any], Any]

Outcome = tuple[Any, Exception | None]
"""What the function returned, or what it raised."""


class WorkerDied(Exception):
    """The worker ended before the function did."""


class Executor(ABC):
    """Carries out one function on items, in workers of its own."""

    @property
    @abstractmethod
    def capacity(self) -> int:
        """How many items it works on at once."""

    @abstractmethod
    def submit(self, index: int, item: Any) -> None:
        """Begin with an item; no more than `capacity` at once."""

    @abstractmethod
    def wait(self, seconds: float) -> list[tuple[int, Outcome]]:
        """What ended, by index; empty if nothing did for so long."""

    @abstractmethod
    def close(self) -> None:
        """Stop every worker at once, whatever it is doing."""


def cores() -> int:
    """The cores that this process may use, which a cluster's scheduler can limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads(workers: int) -> int:
    """How many threads each of so many workers of this machine gets: what OMP_NUM_THREADS asks
    for, or its share of the cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else max(1, cores() // workers)


def use_threads(count: int) -> None:
    """Let PyTorch use so many threads in this process."""
    import torch

    torch.set_num_threads(count)
