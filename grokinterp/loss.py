"""What training minimises, and how predictions are scored."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from grokinterp.config import TrainConfig


def cross_entropy(
    config: TrainConfig,
    logits: Float[Tensor, "run batch d_vocab"],
    labels: Int[Tensor, "run batch"],
    initial_logits: Float[Tensor, "run batch d_vocab"] | None = None,
) -> Float[Tensor, " run"]:
    """Mean cross-entropy of each run, in nats, of the logits that the recipe's loss sees."""
    logits = loss_logits(config, logits, initial_logits)
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return losses.view(labels.shape).mean(1)


def loss_logits(
    config: TrainConfig,
    logits: Float[Tensor, "*run batch d_vocab"],
    initial_logits: Float[Tensor, "*run batch d_vocab"] | None = None,
) -> Float[Tensor, "*run batch d_vocab"]:
    """What the loss sees: less the initial logits, times its temperature, in its precision."""
    if initial_logits is not None:
        logits = logits - initial_logits
    if config.loss_logit_scale != 1.0:
        logits = logits * config.loss_logit_scale
    if config.loss_dtype is not None:
        logits = logits.to(getattr(torch, config.loss_dtype))
    return logits


def correct(
    logits: Float[Tensor, "run batch d_vocab"], labels: Int[Tensor, "run batch"]
) -> Bool[Tensor, "run batch"]:
    """Whether the largest logit is the label's (the first of equal ones counts)."""
    return logits.argmax(-1) == labels


def effective_rank(residual: Float[Tensor, "run batch d_model"]) -> Float[Tensor, " run"]:
    """exp of the entropy of the normalised eigenvalues of XᵀX (uncentred): 1 to d_model."""
    eigenvalues = torch.linalg.eigvalsh(residual.mT @ residual).clamp_min(0)
    share = eigenvalues / eigenvalues.sum(-1, keepdim=True)
    return torch.special.entr(share).sum(-1).exp()
