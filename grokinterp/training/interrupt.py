"""Ctrl-C and SIGTERM: what trains is saved first, and what is open is closed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Terminated(SystemExit):
    """SIGTERM came: whoever runs the process, such as a cluster's scheduler, wants it to end."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


def terminate(number: int, frame: FrameType | None) -> None:
    """A handler that ends the process by an exception, so that it is cleaned up."""
    raise Terminated


@contextmanager
def cleaned_up() -> Iterator[None]:
    """Inside, SIGTERM raises Terminated."""
    with _handled({signal.SIGTERM: terminate}):
        yield


@contextmanager
def held_back() -> Iterator[Callable[[], bool]]:
    """Hold back Ctrl-C and SIGTERM inside; what it gives says whether one came.

    It is raised at the end, so that what is inside can come to a place where it can be saved, and
    leave. A second one is not held back.
    """
    came: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            _raise(number)

    with _handled({signal.SIGINT: hold, signal.SIGTERM: hold}):
        yield lambda: bool(came)
    if came:
        _raise(came[0])


def _raise(number: int) -> None:
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


@contextmanager
def _handled(
    handlers: dict[signal.Signals, Callable[[int, FrameType | None], Any]],
) -> Iterator[None]:
    """Handle these signals inside, where nobody else does, and where Python allows it."""
    ordinary = (signal.SIG_DFL, signal.default_int_handler, terminate)
    before: dict[signal.Signals, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if (found := signal.getsignal(number)) in ordinary:
                    before[number] = found
                    signal.signal(number, handler)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
