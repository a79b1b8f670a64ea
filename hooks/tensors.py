"""Activations that an intervention carries: for analysis, never in a run's identity."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Held:
    """A tensor that compares and hashes by its shape, dtype and values.

    So a frozen intervention that holds one stays comparable; but it is not plain data, and
    `Intervention.to_dict` refuses it.
    """

    def __init__(self, tensor: Tensor) -> None:
        if tensor.is_inference():  # It could not be used where gradients are taken.
            import torch

            with torch.inference_mode(False):
                tensor = tensor.clone()
        self.tensor = tensor

    @cached_property
    def fingerprint(self) -> str:
        data = self.tensor.detach().cpu().contiguous()
        digest = hashlib.sha256(f"{data.dtype}{list(data.shape)}".encode())
        digest.update(data.numpy().tobytes())
        return digest.hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"Held({[*self.tensor.shape]}, {self.fingerprint})"


def is_tensor(value: object) -> bool:
    """Whether this is a torch tensor; asked without importing torch."""
    return type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach")
