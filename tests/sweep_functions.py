"""What the workers of test_sweep.py do; it imports nothing heavy."""

import os
import signal
import time
from pathlib import Path


def square(x: int) -> int:
    return x * x


def read_environment(name: str) -> str:
    return os.environ[name]


def die_so_often(folder: Path, times: int) -> int:
    """Be killed so many times, then say how often it was tried."""
    tries = len(list(folder.iterdir())) + 1
    (folder / str(tries)).touch()
    if tries <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return tries


def fail(folder: Path, x: int) -> None:
    (folder / f"{x}-{time.monotonic_ns()}").touch()
    raise ValueError(f"{x} is not a number that this test likes")


def sleep(folder: Path, x: int) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(600)


def not_for_pickle(x: int) -> None:
    class Local(Exception):
        pass

    raise Local(f"about {x}")
