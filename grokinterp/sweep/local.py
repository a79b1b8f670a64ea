"""Workers that are processes of this machine.

What each of them is to call comes from outside: to train a run, from train_over.py.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from grokinterp.failure import failure_of
from grokinterp.sweep.executor import (
    Executor,
    Function,
    Outcome,
    WorkerDied,
    cores,
    threads,
    use_threads,
)

SECONDS_TO_END = 5.0
IMPORTED = ["grokinterp.training.train"]
"""What the workers' server has imported before it forks them: its imports take seconds."""


class LocalExecutor(Executor):
    """Processes that import the function anew, so that nothing of this one leaks into them.

    On Linux they fork from a server that has imported the library once, and nothing else.
    """

    def __init__(
        self, function: Function, address: str, workers: int | None, accelerator: bool
    ) -> None:
        if address:
            raise ValueError(f"the executor local has no address; got 'local:{address}'")
        # Runs on one accelerator share it best as one ensemble.
        self._workers = workers or (1 if accelerator else cores())
        self._function = function
        self._threads = threads(self._workers)
        self._idle: list[_Worker] = []
        self._busy: dict[int, _Worker] = {}

    @property
    def capacity(self) -> int:
        return self._workers

    def submit(self, index: int, item: Any) -> None:
        worker = self._idle.pop() if self._idle else _Worker(self._function, self._threads)
        self._busy[index] = worker
        worker.give(item)

    def wait(self, seconds: float) -> list[tuple[int, Outcome]]:
        ready = wait([worker.connection for worker in self._busy.values()], seconds)
        ended = []
        for index, worker in list(self._busy.items()):
            if worker.connection in ready and (outcome := worker.answer()) is not None:
                del self._busy[index]
                if worker.process.is_alive():
                    self._idle.append(worker)
                ended.append((index, outcome))
        return ended

    def close(self) -> None:
        workers = [*self._idle, *self._busy.values()]
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.end()


class _Worker:
    """One process, and the pipe to it."""

    def __init__(self, function: Function, threads: int) -> None:
        context = _context()
        self.connection, theirs = context.Pipe()
        # The server has the environment that it began with.
        given = (function, threads, theirs, dict(os.environ))
        self.process: BaseProcess = context.Process(target=_serve, args=given, daemon=True)
        self._started = False
        with _without_interrupts():
            self.process.start()
        # So that the pipe ends when the process does.
        theirs.close()

    def give(self, item: Any) -> None:
        # It may have died while idle, which `answer` will find.
        with suppress(BrokenPipeError):
            self.connection.send(item)

    def answer(self) -> Outcome | None:
        """What came through the pipe; None if only the news that it has started."""
        try:
            outcome = self.connection.recv()
        except (EOFError, OSError):
            return self._death()
        if outcome is None:
            self._started = True
        return outcome

    def end(self) -> None:
        self.process.join(SECONDS_TO_END)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()

    def _death(self) -> Outcome:
        self.end()
        code = self.process.exitcode or 0
        if code < 0:
            return None, WorkerDied(f"killed by {signal.Signals(-code).name}")
        if self._started:
            return None, WorkerDied(f"exit code {code}")
        return None, ChildProcessError(
            f"a worker could not start (exit code {code}; its error is above): the function must "
            "be importable, and a script must call it under if __name__ == '__main__':"
        )


def _context() -> Any:  # Of BaseContext, typeshed knows no Process.
    # Elsewhere a fork is not there, or not safe once libraries are loaded.
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


def _serve(
    function: Function, threads: int, connection: Connection, environment: Mapping[str, str]
) -> None:
    """A worker's life: take an item, answer with its outcome."""
    os.environ.clear()
    os.environ.update(environment)
    # Ctrl-C reaches the whole terminal; the parent stops its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    use_threads(threads)
    connection.send(None)
    while True:
        outcome: Outcome
        try:
            outcome = function(connection.recv()), None
        except EOFError:
            return
        except Exception as error:
            outcome = None, _portable(error)
        connection.send(outcome)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """The exception, or its words if pickle cannot carry it; with a bug's traceback as a note."""
    told = failure_of(error).traceback
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    if told:
        error.add_note(f"In the worker:\n{told}")
    return error


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process started here never gets SIGINT, not even while it imports."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
