"""Workers of a Ray cluster: one that is there, or one of this machine started for the sweep."""

from __future__ import annotations

import os
import socket
from typing import Any

from grokinterp.sweep.executor import (
    Executor,
    Function,
    Outcome,
    WorkerDied,
    cores,
    threads,
    use_threads,
)

SECONDS_TO_CONNECT = 5.0


class RayExecutor(Executor):
    """Ray tasks, a core (or a GPU) each. A cluster that was there stays."""

    def __init__(
        self, function: Function, address: str, workers: int | None, accelerator: bool
    ) -> None:
        # Before Ray is imported: a library does not report its user to anybody.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise ValueError(
                "the executor ray needs the package ray; install it with "
                "pip install 'grokinterp[ray]'"
            ) from error
        self._ray = ray
        self._refs: dict[Any, int] = {}
        self._workers = workers
        self._resource = "GPU" if accelerator else "CPU"
        self._function = function
        self._threads = 1
        self._connected_here = not ray.is_initialized()
        if self._connected_here:
            quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
            if address:
                _connect(ray, address, quiet)
            else:
                count = workers or cores()
                self._threads = threads(count)
                ray.init(num_cpus=count, include_dashboard=False, **quiet)
        if accelerator and not ray.cluster_resources().get("GPU"):
            self.close()
            raise ValueError(
                "these runs need a GPU, and no node of the Ray cluster has one; "
                "add a node that has, or use --device cpu"
            )
        # Retries are map_over's, the same for every executor.
        self._task = ray.remote(max_retries=0, num_cpus=1, num_gpus=int(accelerator))(_call)

    @property
    def capacity(self) -> int:
        """Asked anew each time, because nodes come and go."""
        if self._workers is not None:
            return self._workers
        return max(1, int(self._ray.cluster_resources().get(self._resource, 1)))

    def submit(self, index: int, item: Any) -> None:
        self._refs[self._task.remote(self._function, item, self._threads)] = index

    def wait(self, seconds: float) -> list[tuple[int, Outcome]]:
        ready, _ = self._ray.wait(list(self._refs), timeout=seconds)
        return [(self._refs.pop(ref), self._outcome(ref)) for ref in ready]

    def _outcome(self, ref: Any) -> Outcome:
        try:
            return self._ray.get(ref), None
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, self._ray.exceptions.RaySystemError):
                first = str(error.cause).partition("\n")[0]
                return None, ValueError(
                    f"a worker of the Ray cluster cannot read what it is sent ({first}); every "
                    "node needs the same packages, and the same files at the same paths"
                )
            return None, error.cause if isinstance(error.cause, Exception) else error
        except self._ray.exceptions.RayError as error:
            return None, WorkerDied(str(error).partition("\n")[0])

    def close(self) -> None:
        for ref in self._refs:
            self._ray.cancel(ref, force=True)
        if self._connected_here:
            self._ray.shutdown()


def _call(function: Function, item: Any, threads: int) -> Any:
    use_threads(threads)
    return function(item)


def _connect(ray: Any, address: str, quiet: dict[str, Any]) -> None:
    """Join the cluster at an address; ConnectionError if none answers there."""
    where = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    if where != "auto":
        _check_answers(where)
    try:
        ray.init(address=address, **quiet)
    except (Exception, SystemExit) as error:  # Ray ends the program when its head goes silent.
        raise ConnectionError(
            f"no Ray cluster can be joined at {where!r} ({' '.join(str(error).split())}); start "
            "one with ray start --head, or use --executor ray, which starts one here"
        ) from error


def _check_answers(address: str) -> None:
    """Ask at the address itself: Ray would try for minutes, and then end the program."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"a Ray address reads like ray:HOST:PORT or ray:auto; got {address!r}")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_CONNECT) as there:
            # Ray's head speaks first, except under TLS. Its dashboard would wait to be asked.
            if os.environ.get("RAY_USE_TLS") != "1" and not there.recv(1):
                raise OSError("it hangs up")
    except (OSError, OverflowError) as error:
        raise ConnectionError(
            f"no Ray cluster answers at {address} ({error}); start one with ray start --head, or "
            "correct the address"
        ) from error
