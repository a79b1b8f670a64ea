"""The device that computes: whether it can be trusted, and how its memory is kept."""

from __future__ import annotations

import ctypes

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
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, mmap_threshold = -1, -3
    mallopt(mmap_threshold, 32 * 2**20)
    mallopt(trim_threshold, 2**31 - 1)
