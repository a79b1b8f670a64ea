"""A function over many items, in workers: processes of this machine, or a Ray cluster.

It knows nothing of runs: grokinterp.sweep.train_over trains with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from typing import Any

from grokinterp.sweep.executor import Died, Done, Executor, Failed, Function
from grokinterp.sweep.local import LocalExecutor
from grokinterp.sweep.on_ray import RayExecutor

EXECUTORS: dict[str, Callable[[Function, str, int | None, bool], Executor]] = {
    "local": LocalExecutor,
    "ray": RayExecutor,
}

SECONDS_BETWEEN_TICKS = 1.0


def map_over(
    function: Function,
    items: Iterable[Any],
    executor: str = "local",
    workers: int | None = None,
    *,
    accelerator: bool = False,
    retries: int = 3,
    died: Callable[[Any, str], None] | None = None,
    tick: Callable[[], None] | None = None,
) -> Generator[tuple[int, Any], None, None]:
    """Yield (index, function(item)) for each item, as they come.

    An item whose worker dies is given to another; the function should go on from what it saved.
    An item is taken from `items` when a worker is free for it.

    Args:
        function: Importable by name, or a `functools.partial` of such.
        items: What pickle takes.
        executor: local, ray (a cluster of this machine, started for the sweep), ray:auto (the
            cluster that this machine belongs to), or ray:HOST:PORT.
        workers: How many at once; by default one a core, or one a GPU of the Ray cluster.
        accelerator: The function uses a GPU: Ray gives each worker one of its own.
        retries: How many workers an item may kill before it is given up.
        died: Told of an item, and of why its worker died, before the item is tried again.
        tick: Called about once a second.

    Raises:
        ValueError: There is no such executor, or it lacks its package or a GPU.
        ConnectionError: No Ray cluster answers at the address.
        ChildProcessError: An item's workers died more often than `retries` allows.
        Exception: The function's own, not retried. All other workers are stopped.
    """
    kind, _, address = executor.partition(":")
    if kind not in EXECUTORS:
        raise ValueError(
            f"unknown executor {executor!r}; choose local, ray, ray:auto or ray:HOST:PORT"
        )
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}")

    def start() -> Executor:
        return EXECUTORS[kind](function, address, workers, accelerator)

    return _map(start, items, retries, died or (lambda item, reason: None), tick or (lambda: None))


def _map(
    start: Callable[[], Executor],
    items: Iterable[Any],
    retries: int,
    died: Callable[[Any, str], None],
    tick: Callable[[], None],
) -> Generator[tuple[int, Any], None, None]:
    waiting = enumerate(items)
    running: dict[int, Any] = {}
    deaths: Counter[int] = Counter()
    executor = start()
    try:
        while True:
            while len(running) < executor.capacity and (following := next(waiting, None)):
                running.update([following])
                executor.submit(*following)
            if not running:
                return
            for index, outcome in executor.wait(SECONDS_BETWEEN_TICKS):
                match outcome:
                    case Done(result):
                        del running[index]
                        yield index, result
                    case Failed(error):
                        raise error
                    case Died(reason):
                        deaths[index] += 1
                        if deaths[index] > retries:
                            raise ChildProcessError(
                                f"{deaths[index]} workers died one after another on the same work, "
                                f"the last with: {reason}; look for what ends them (often memory: "
                                "try fewer workers), and run the same command again"
                            )
                        died(running[index], reason)
                        executor.submit(index, running[index])
            tick()
    finally:
        executor.close()
