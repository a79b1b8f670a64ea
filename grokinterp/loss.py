"""What training minimises, and how predictions are scored."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from grokinterp.config import TrainConfig
from grokinterp.custom_loss import Loss


def losses_of_examples(
    config: TrainConfig,
    logits: Float[Tensor, "run batch d_vocab"],
    labels: Int[Tensor, "run batch"],
    initial_logits: Float[Tensor, "run batch d_vocab"] | None = None,
) -> Float[Tensor, "run batch"]:
    """The recipe's loss of each example: cross-entropy, in nats, but for another `loss`."""
    logits = loss_logits(config, logits, initial_logits)
    label = labels[..., None]
    if isinstance(config.loss, Loss):
        return _custom(config.loss, logits, labels)
    if config.loss == "stablemax":
        of_class = _stable(logits)
        return (of_class.sum(-1).log() - of_class.gather(-1, label)[..., 0].log()).view(
            labels.shape
        )
    if config.loss == "mse":
        off = logits.scatter_add(-1, label, -torch.ones_like(label, dtype=logits.dtype))
        return off.square().mean(-1)
    if config.loss_form == "margins":
        return by_margins(logits, labels)[0]
    return _exponentials(logits, label)[0]


@torch.no_grad()
def losses_and_gradient(
    config: TrainConfig,
    logits: Float[Tensor, "run batch d_vocab"],
    labels: Int[Tensor, "run batch"],
    initial_logits: Float[Tensor, "run batch d_vocab"] | None = None,
    weight: float = 1.0,
) -> tuple[Float[Tensor, "run batch"], Float[Tensor, "run batch d_vocab"]]:
    """`losses_of_examples`, and the gradient of `weight` times their sum by the logits."""
    seen = loss_logits(config, logits, initial_logits)
    label = labels[..., None]
    if isinstance(config.loss, Loss):
        with torch.enable_grad():
            leaf = seen.detach().requires_grad_()
            losses = _custom(config.loss, leaf, labels)
            [gradient] = torch.autograd.grad(losses.sum(), leaf)
        losses = losses.detach()
    elif config.loss == "stablemax":
        of_class = _stable(seen)
        total, own = of_class.sum(-1, keepdim=True), of_class.gather(-1, label)
        losses = (total.log() - own.log())[..., 0]
        # s′ is 1 from 0 up, and s² below.
        slope = torch.where(seen >= 0, 1, of_class.square())
        gradient = slope / total
        gradient.scatter_add_(-1, label, -slope.gather(-1, label) / own)
    elif config.loss == "mse":
        gradient = seen.scatter_add(-1, label, -torch.ones_like(label, dtype=seen.dtype))
        losses = gradient.square().mean(-1)
        gradient *= 2 / seen.shape[-1]
    elif config.loss_form == "margins":
        losses, gradient, others = by_margins(seen, labels)
        gradient.scatter_(-1, label, -others)
    else:
        losses, gradient = _by_shares(seen, labels, weight * config.loss_logit_scale)
        return losses, gradient.to(logits.dtype)
    return losses, gradient.mul_(weight * config.loss_logit_scale).to(logits.dtype)


def _custom(
    loss: Loss, logits: Float[Tensor, "run batch d_vocab"], labels: Int[Tensor, "run batch"]
) -> Float[Tensor, "run batch"]:
    found = loss.losses(logits, labels)
    if not isinstance(found, Tensor) or found.shape != labels.shape:
        came = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"{type(loss).__name__}.losses must give a loss for each example, of shape "
            f"{tuple(labels.shape)}; it gave {came}"
        )
    return found


def _stable(logits: Float[Tensor, "*run batch d_vocab"]) -> Float[Tensor, "*run batch d_vocab"]:
    """StableMax's s: z + 1 from 0 up, and 1/(1 − z) below."""
    return torch.where(logits >= 0, logits + 1, 1 / (1 - logits.clamp(max=0)))


def by_margins(
    logits: Float[Tensor, "*run batch d_vocab"], labels: Int[Tensor, "*run batch"]
) -> tuple[
    Float[Tensor, "*run batch"], Float[Tensor, "*run batch d_vocab"], Float[Tensor, "*run batch 1"]
]:
    """log(1 + S) with S = Σ_{c≠y} exp(z_c − z_y); each class's probability (the label's is 0), and
    all but the label's, S/(1 + S).

    Nothing near 1 is ever subtracted from 1, so that a small loss and a small gradient have all
    the digits of their precision; log-softmax in float32 gives neither below 6e-8.
    """
    label = labels[..., None]
    margins = logits - logits.gather(-1, label)
    # 0 where the label's logit is the largest; elsewhere the shift that keeps exp finite.
    top = margins.amax(-1, keepdim=True)
    share = (margins - top).exp().scatter(-1, label, 0)
    others = share.sum(-1, keepdim=True)
    total = others + (-top).exp()
    losses = torch.where(top > 0, top + total.log(), others.log1p())
    return losses[..., 0], share / total, others / total


def _by_shares(
    logits: Float[Tensor, "run batch d_vocab"], labels: Int[Tensor, "run batch"], weight: float
) -> tuple[Float[Tensor, "run batch"], Float[Tensor, "run batch d_vocab"]]:
    """Cross-entropy, and the gradient of `weight` times its sum, by the same exponentials."""
    label = labels[..., None]
    losses, own, share, total = _exponentials(logits, label)
    share.scatter_(-1, label, own.exp_() - total)
    return losses, share.mul_(weight / total)


def _exponentials(
    logits: Float[Tensor, "run batch d_vocab"], label: Int[Tensor, "run batch 1"]
) -> tuple[
    Float[Tensor, "run batch"],
    Float[Tensor, "run batch 1"],
    Float[Tensor, "run batch d_vocab"],
    Float[Tensor, "run batch 1"],
]:
    """Cross-entropy log T − m with T = Σ_c exp(z_c − max z) and m = z_y − max z; m; each class's
    exponential; and T."""
    top = logits.amax(-1, keepdim=True)
    own = logits.gather(-1, label) - top
    share = (logits - top).exp_()
    total = share.sum(-1, keepdim=True)
    return (total.log() - own)[..., 0], own, share, total


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
    return logits.to(getattr(torch, config.loss_dtype))


def correct(
    logits: Float[Tensor, "run batch d_vocab"], labels: Int[Tensor, "run batch"]
) -> Bool[Tensor, "run batch"]:
    """Whether the largest logit is the label's (the first of equal ones counts)."""
    # Twice as fast as argmax on a CPU.
    return logits.max(-1).indices == labels


def effective_rank(residual: Float[Tensor, "run batch d_model"]) -> Float[Tensor, " run"]:
    """exp of the entropy of the normalised eigenvalues of XᵀX (uncentred): 1 to d_model.

    1 for X = 0, which has none, and NaN for an X that is not finite. In float64, because XᵀX
    squares the singular values, and of those that are 0 float32 leaves noise.
    """
    x = residual.double()
    gram = x.mT @ x
    finite = gram.isfinite().all(-1).all(-1)
    # The eigenvalues of such a matrix are an error, which would be that of all runs.
    gram = torch.where(finite[..., None, None], gram, 0)
    eigenvalues = torch.linalg.eigvalsh(gram)
    # Along a singular value σ that is 0 the entropy is flat, because the derivative of σ² ln σ² is
    # 0 there; but that of λ ln λ, with λ = σ², is infinite.
    positive = eigenvalues > 0
    kept = torch.where(positive, eigenvalues, 0)
    total = kept.sum(-1, keepdim=True)
    share = kept / torch.where(total > 0, total, 1)
    entropy = -(share * torch.where(positive, share, 1).log()).sum(-1)
    return torch.where(finite, entropy.exp(), torch.nan).to(residual)
