"""At most one process trains a run."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from filelock import FileLock, Timeout

from grokinterp.store.files import StoreError, read_json, write_json


class RunLock:
    """The lock of a run's folder. The system frees the lock of a process that died."""

    def __init__(self, folder: Path) -> None:
        self._owner = folder / "owner.json"
        self._lock = FileLock(folder / "lock")

    def acquire(self, wait: bool) -> bool:
        """Take the lock; False if another process has it and `wait` is False."""
        try:
            self._lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            return False
        try:
            write_json(self._owner, {"pid": os.getpid(), "host": socket.gethostname()})
        except StoreError:
            self._lock.release()
            raise
        return True

    def release(self) -> None:
        self._owner.unlink(missing_ok=True)
        self._lock.release()

    @property
    def is_held(self) -> bool:
        """Whether a process has it; False where that cannot be known, as in a store that can only
        be read."""
        if not Path(self._lock.lock_file).exists():
            return False
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return True
        except OSError:
            return False
        self._lock.release()
        return False

    @property
    def owner(self) -> str:
        """Who has it, for people."""
        try:
            owner = read_json(self._owner)
            return f"process {owner['pid']} on {owner['host']}"
        except (KeyError, StoreError):  # Its process is just taking the lock, or giving it back.
            return "another process"
