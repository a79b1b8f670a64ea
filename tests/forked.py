"""Processes of their own that need not import the library again, which takes seconds."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import ForkServerContext
from typing import TypeVar

T = TypeVar("T")

IMPORTED = ["grokinterp.training.train", "grokinterp.probes", "grokinterp.circuits", "runs_cases"]


def forking() -> ForkServerContext:
    """The context of processes that fork from one that has imported the library, and knows nothing
    of what this one has defined or changed since."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


def in_a_new_process(function: Callable[..., T], *args: object) -> T:
    """What it returns there; what it raises there is raised here."""
    with ProcessPoolExecutor(1, mp_context=forking()) as pool:
        return pool.submit(function, *args).result()
