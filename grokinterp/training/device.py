"""The device that computes: whether it can be trusted, and how its memory is kept."""

from __future__ import annotations

import ctypes
import mmap
import sys

import torch


def check_device(device: str) -> None:
    """Refuse a device that is not there, or that computes something else than the CPU does."""
    if device.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count <= (torch.device(device).index or 0):
            raise ValueError(f"device {device!r} needs a CUDA GPU; this machine has {count}")
    if device == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError("device 'mps' needs an Apple GPU that PyTorch can use; use 'cpu'")
        x = torch.linspace(-1, 1, 96 * 64).view(1, 96, 64)
        expected = (x @ x.mT).softmax(-1) @ x
        got = ((x.to("mps") @ x.to("mps").mT).softmax(-1) @ x.to("mps")).cpu()
        if not torch.allclose(expected, got, atol=1e-4):
            raise ValueError("device 'mps' computes wrong products in this PyTorch; use 'cpu'")


def keep_freed_memory() -> None:
    """Ask glibc to keep freed activations mapped.

    By default it returns each to the system and faults every page in again on the next epoch,
    which can cost as much as the products. Elsewhere this does nothing.
    """
    if (libc := _libc()) is None:
        return
    trim_threshold, mmap_threshold = -1, -3
    libc.mallopt(mmap_threshold, 32 * 2**20)
    libc.mallopt(trim_threshold, 2**31 - 1)


def use_huge_pages() -> None:
    """Ask Linux to back what this thread allocates next by pages of 2 MiB, after the above.

    Of 4 KiB pages a block's activations take thousands, more than a core remembers the addresses
    of, and a virtual machine's take long to look up: an epoch can take half as long again.
    """
    if (libc := _libc()) is None or not sys.platform.startswith("linux"):
        return
    # Freed, it stays the allocator's, who gives from it first.
    memory = torch.empty(31 * 2**20, dtype=torch.uint8)
    page, advice = 2 * 2**20, mmap.MADV_HUGEPAGE
    start = -(-memory.data_ptr() // page) * page
    end = (memory.data_ptr() + len(memory)) // page * page
    libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), advice)


def _libc() -> ctypes.CDLL | None:
    """glibc, where it is the C library."""
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "madvise") else None
