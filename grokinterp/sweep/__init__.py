"""A function over many items, in workers: processes of this machine, or a Ray cluster.

It knows nothing of runs: grokinterp.sweep.train_over trains with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from typing import Any

from grokinterp.sweep.executor import Executor, Function, WorkerDied
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
    died: Callable[[Any, str], None] = lambda item, reason: None,
    tick: Callable[[], None] = lambda: None,
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
        tick: Called about once a second, and when something has ended.

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
    waiting = enumerate(items)
    running: dict[int, Any] = {}
    deaths: Counter[int] = Counter()
    pool = EXECUTORS[kind](function, address, workers, accelerator)
    try:
        while True:
            while len(running) < pool.capacity and (following := next(waiting, None)):
                running.update([following])
                pool.submit(*following)
            if not running:
                return
            for index, (result, error) in pool.wait(SECONDS_BETWEEN_TICKS):
                if error is None:
                    del running[index]
                    yield index, result
                elif not isinstance(error, WorkerDied):
                    raise error
                elif deaths[index] == retries:
                    raise ChildProcessError(
                        f"{retries + 1} workers died one after another on the same work, the last "
                        f"with: {error}; look for what ends them (often memory: try fewer "
                        "workers), and run the same command again"
                    )
                else:
                    deaths[index] += 1
                    died(running[index], str(error))
                    pool.submit(index, running[index])
            tick()
    finally:
        pool.close()
