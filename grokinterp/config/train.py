"""The recipe."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

from grokinterp.checks import (
    at_least_zero,
    below_one,
    check_flag,
    check_one_of,
    integer,
    optional,
    positive,
)
from grokinterp.component import Component
from grokinterp.config.stop_rule import StopRule
from grokinterp.custom_loss import Loss
from grokinterp.gradient_filter import GradientFilter
from grokinterp.hooks.intervention import Intervention, intervention_from_dict
from grokinterp.optimizer_path import canonical_optimizer
from grokinterp.schedule import canonical_schedule

if TYPE_CHECKING:
    AnyLoss = str | Loss
    Filters = tuple[GradientFilter, ...]
else:  # The command line gives the text.
    AnyLoss, Filters = str, tuple[str, ...]

LOSSES = ("cross-entropy", "stablemax", "mse")

MOMENTUM = {"sgd": 0.9, "muon": 0.95}
"""Of the optimisers that have one, when it is not given."""


@dataclass(frozen=True)
class TrainConfig:
    """The recipe: the whole batch at every step, an epoch a step. Defaults are the paper's.

    Args:
        epochs: How many epochs to train.
        optimizer: adamw; adam, whose decay is part of the gradient (L2); sgd, with momentum and
            such a decay; muon, for the matrices of attention and MLP, with adamw for the rest; or
            the import path of a class, such as torch.optim.NAdam, with its options, as in
            torch.optim.NAdam:momentum_decay=0.01.
        lr: Learning rate.
        weight_decay: On every parameter, biases and norms included; adamw's and muon's is
            decoupled.
        betas: The two decay rates of adamw, of adam and, beside its matrices, of muon.
        adam_eps: 0: what never had a gradient only decays (the limit of 0/(0 + eps)).
        momentum: SGD's, 0.9 when not given; Muon's, 0.95. `dataclasses.replace` carries it over to
            another optimizer, so give it momentum=None too.
        lr_schedule: What multiplies lr at each epoch: constant, warmup:EPOCHS, cosine,
            step:EPOCH=FACTOR, or several of them joined by +.
        decay_schedule: What multiplies weight_decay, likewise: step:3000=0 takes it away there.
        batch_size: Examples of a step; an epoch is then one pass over the train set, in an order
            of its own, and train_loss, train_accuracy and grad_norm are of the whole set before
            it. The whole set when not given, so that an epoch is one step.
        gradient_filters: What changes the gradient on its way to the optimiser, in this order:
            orthogonal (⊥Grad, arXiv:2501.04697), grokfast:alpha=0.98,weight=2 (arXiv:2405.20233),
            or a GradientFilter of your own.
        max_norm: After each step the trained parameters are scaled back to this norm, if theirs is
            larger; no bound when not given.
        couple_lr_to_readout: Divide lr by the squared readout scale (lr/α²).
        couple_decay_to_lr: Multiply weight_decay by reference_lr/lr, so that lr · decay stays what
            it is there.
        reference_lr: The learning rate that couple_decay_to_lr refers to.
        loss: What is minimised: cross-entropy; stablemax, the same of s(z)/Σ s(z), with
            s(z) = z + 1 from 0 up and 1/(1 − z) below (arXiv:2501.04697); or mse, the mean square
            of the logits less one-hot labels, over classes. Or a Loss of your own.
        subtract_initial_prediction: The loss sees the logits less those of the initial network;
            predictions see the raw ones.
        loss_logit_scale: Softmax temperature: the loss sees this multiple of the logits,
            predictions the raw ones.
        effective_rank_penalty: Times the effective rank of the train examples' last-position
            residual, added to the loss.
        eval_every: Epochs between evaluations, each a row of the metrics; the first and the last
            are evaluated too.
        checkpoint_every: Epochs between checkpoints; none but the first, the last and the explicit
            ones when None.
        checkpoint_epochs: More epochs to checkpoint.
        checkpoint_ratio: Geometric spacing: also checkpoint at epochs 1, r, r², …
        keep_optimizer: Keep the optimiser's state (Adam's moments, SGD's buffer) in every
            checkpoint, so that a fork goes on exactly as its parent did, but for its schedules and
            the orders of its minibatches, which begin anew.
        stop_when: Stop early, for example 'test_accuracy >= 0.995 for 200' (epochs that it must
            hold).
        dtype: Precision of weights and activations.
        loss_dtype: Compute the loss in this precision. The paper's authors take float64, on CUDA.
            It matters: by log-softmax in float32 no loss lies between 0 and 6e-8, and without LN
            before the MLP a memorised model comes down to that.
        loss_form: How cross-entropy is evaluated: from log-softmax, or by margins, as
            log(1 + Σ exp(z_c − z_y)), which loses no digits to cancellation in either precision.
        device: cpu, cuda, cuda:N or mps.
        probes: Probes to record while training, and how many epochs apart, as in {"cheap": 100}.
            They see the model as it trains, under its interventions.
        interventions: Hooks that act while training, in the span of epochs that each names.

    Raises:
        ValueError: A value is not one that it may have; the message says which it may.
    """

    epochs: int = 10_000
    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1.0
    betas: tuple[float, float] = (0.9, 0.98)
    adam_eps: float = 1e-8
    momentum: float | None = None
    lr_schedule: str = "constant"
    decay_schedule: str = "constant"
    batch_size: int | None = None
    gradient_filters: Filters = ()
    max_norm: float | None = None
    couple_lr_to_readout: bool = False
    couple_decay_to_lr: bool = False
    reference_lr: float = 1e-3
    loss: AnyLoss = "cross-entropy"
    subtract_initial_prediction: bool = False
    loss_logit_scale: float = 1.0
    effective_rank_penalty: float = 0.0
    eval_every: int = 10
    checkpoint_every: int | None = 100
    checkpoint_epochs: tuple[int, ...] = ()
    checkpoint_ratio: float | None = None
    keep_optimizer: bool = False
    stop_when: str | None = None
    dtype: Literal["float32", "float64"] = "float32"
    loss_dtype: Literal["float32", "float64"] = "float64"
    loss_form: Literal["log-softmax", "margins"] = "log-softmax"
    device: str = "cpu"
    probes: dict[str, int] = field(default_factory=dict, hash=False)
    interventions: tuple[Intervention, ...] = ()

    def __post_init__(self) -> None:
        for name, checked in _CHECKED.items():
            object.__setattr__(self, name, checked(name, getattr(self, name)))
        for name in _FLAGS:
            check_flag(name, getattr(self, name))
        for name, choices in _CHOICES.items():
            check_one_of(name, getattr(self, name), choices)
        each = f"each of checkpoint_epochs (0 to epochs={self.epochs})"
        chosen = {integer(each, epoch) for epoch in self.checkpoint_epochs}
        if beyond := [epoch for epoch in chosen if epoch > self.epochs]:
            raise ValueError(
                f"checkpoint_epochs must lie between 0 and epochs={self.epochs}; got {beyond[0]}"
            )
        object.__setattr__(self, "checkpoint_epochs", tuple(sorted(chosen)))
        self._check_device()
        self._check_what_others_ignore()
        if self.momentum is None:
            object.__setattr__(self, "momentum", MOMENTUM.get(self.optimizer))
        if self.stop_when is not None:
            StopRule.parse(self.stop_when)
        for part in self.components:
            part.check()

    def _check_device(self) -> None:
        if re.fullmatch(r"cpu|mps|cuda(:\d+)?", str(self.device)) is None:
            raise ValueError(
                f"unknown device {self.device!r}; choose one of cpu, cuda, cuda:N, mps"
            )
        if self.device == "mps" and "float64" in (self.dtype, self.loss_dtype):
            raise ValueError(
                "device mps has no float64, which the recipe computes the loss in; give "
                "dtype='float32', loss_dtype='float32' and loss_form='margins' (--loss-dtype "
                "float32 --loss-form margins), which loses no digits, or train on cpu"
            )

    def _check_what_others_ignore(self) -> None:
        """A field that the rest of the recipe never reads was meant otherwise."""
        adam = self.optimizer in ("adamw", "adam", "muon")
        for name, reads, those in (
            ("loss_form", self.loss == "cross-entropy", "loss='cross-entropy'"),
            ("momentum", self.optimizer in MOMENTUM, "optimizer='sgd' or 'muon'"),
            ("betas", adam, "optimizer='adamw', 'adam' or 'muon'"),
            ("adam_eps", adam, "optimizer='adamw', 'adam' or 'muon'"),
        ):
            default = _DEFAULTS[name]
            if not reads and getattr(self, name) != default:
                raise ValueError(
                    f"{name} is read with {those} alone; leave it at {default!r}, or give that; "
                    f"got {name}={getattr(self, name)!r}"
                )

    @property
    def components(self) -> tuple[Component, ...]:
        """The parts of it that are objects: interventions, gradient filters, a loss."""
        loss = (self.loss,) if isinstance(self.loss, Loss) else ()
        return (*self.interventions, *self.gradient_filters, *loss)  # type: ignore[arg-type]

    @property
    def stop_rule(self) -> StopRule | None:
        """`stop_when` as a rule; None if it is not given."""
        return None if self.stop_when is None else StopRule.parse(self.stop_when)

    def checkpoint_schedule(self) -> tuple[int, ...]:
        """The epochs to checkpoint, ascending; always 0 (the initial weights) and the last."""
        chosen = {0, self.epochs, *self.checkpoint_epochs}
        if self.checkpoint_every is not None:
            chosen.update(range(0, self.epochs + 1, self.checkpoint_every))
        if self.checkpoint_ratio is not None:
            power = 0
            while (epoch := round(self.checkpoint_ratio**power)) <= self.epochs:
                chosen.add(epoch)
                power += 1
        return tuple(sorted(chosen))

    def is_judged(self, epoch: int) -> bool:
        """Whether the stop rule looks at epoch (1, 2, …): the first, the last, every eval_every."""
        return epoch == 1 or epoch == self.epochs or epoch % self.eval_every == 0

    def is_evaluated(self, epoch: int) -> bool:
        """Whether an epoch has a row of metrics: those, and where a probe is recorded."""
        return self.is_judged(epoch) or bool(self.due_probes(epoch))

    def due_probes(self, epoch: int) -> tuple[str, ...]:
        """The probes that are recorded at an epoch: every few epochs, and at the last."""
        return tuple(
            name
            for name, every in self.probes.items()
            if epoch % every == 0 or epoch == self.epochs
        )


def as_loss(value: Any) -> str | Loss:
    """One of LOSSES, or a loss of the user's own, of its text or its data too."""
    if isinstance(value, Mapping):
        return Loss.from_dict(value)
    if isinstance(value, Loss) or value in LOSSES:
        return value
    known = [*LOSSES, *Loss.classes]
    if not isinstance(value, str):
        raise ValueError(f"loss must be one of {', '.join(known)}, or a Loss; got {value!r}")
    try:
        return Loss.parse(value)
    except ValueError as error:
        if not str(error).startswith("unknown loss"):
            raise
        raise ValueError(f"unknown loss {value!r}; choose one of {', '.join(known)}") from None


def as_filters(value: Any) -> tuple[GradientFilter, ...]:
    """Each of its text, its data, or as it is; text alone is one of them."""
    filters = []
    several = isinstance(value, (list, tuple))
    for one in value if several else () if value is None else [value]:
        if isinstance(one, str):
            one = GradientFilter.parse(one)
        elif isinstance(one, Mapping):
            one = GradientFilter.from_dict(one)
        if not isinstance(one, GradientFilter):
            raise ValueError(
                "gradient_filters must hold gradient filters, as in ('orthogonal',) or "
                f"(Grokfast(),); got {one!r}"
            )
        filters.append(one)
    return tuple(filters)


def _betas(name: str, value: Any) -> tuple[float, ...]:
    pair = tuple(value) if isinstance(value, Iterable) else ()
    try:
        betas = tuple(below_one(name, one) for one in pair)
    except ValueError:
        betas = ()
    if len(betas) != 2:
        raise ValueError(f"{name} must be two numbers in [0, 1); got {value!r}")
    return betas


def _ratio(name: str, value: Any) -> float:
    ratio = float(value) if isinstance(value, Real) and not isinstance(value, bool) else 0.0
    if not 1.001 <= ratio < math.inf:
        raise ValueError(f"{name} must be a number of at least 1.001; got {value!r}")
    return ratio


def _probes(name: str, value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{name} must map each probe to the epochs between its recordings, as in "
            f'{{"cheap": 100}}; got {value!r}'
        )
    return dict(sorted((one, _count(f"{name}[{one!r}]", every)) for one, every in value.items()))


def _interventions(name: str, value: Any) -> tuple[Intervention, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(
            f"{name} must be a tuple of objects of grokinterp.hooks, as in "
            f"(UnitNorm('mlp'),); got {value!r}"
        )
    items = tuple(
        intervention_from_dict(item) if isinstance(item, Mapping) else item for item in value
    )
    for item in items:
        if not isinstance(item, Intervention):
            raise ValueError(f"{name} must hold objects of grokinterp.hooks; got {item!r}")
    return items


_count = partial(integer, least=1)

_CHECKED: dict[str, Callable[[str, Any], Any]] = {
    "epochs": _count,
    "optimizer": lambda _, value: canonical_optimizer(value),
    "lr": positive,
    "weight_decay": at_least_zero,
    "betas": _betas,
    "adam_eps": at_least_zero,
    "momentum": optional(below_one),
    "lr_schedule": canonical_schedule,
    "decay_schedule": canonical_schedule,
    "batch_size": optional(_count),
    "gradient_filters": lambda _, value: as_filters(value),
    "max_norm": optional(positive),
    "reference_lr": positive,
    "loss": lambda _, value: as_loss(value),
    "loss_logit_scale": positive,
    "effective_rank_penalty": at_least_zero,
    "eval_every": _count,
    "checkpoint_every": optional(_count),
    "checkpoint_ratio": optional(_ratio),
    "probes": _probes,
    "interventions": _interventions,
}
"""What a field is made of what is given for it. What is equal is one run, so it must hash alike:
1, 1.0 and NumPy's 1."""

_FLAGS = (
    "couple_lr_to_readout",
    "couple_decay_to_lr",
    "subtract_initial_prediction",
    "keep_optimizer",
)

_CHOICES = {
    "dtype": ("float32", "float64"),
    "loss_dtype": ("float32", "float64"),
    "loss_form": ("log-softmax", "margins"),
}

_DEFAULTS = {one.name: one.default for one in fields(TrainConfig)}


AS_TEXT = ("optimizer", "lr_schedule", "decay_schedule", "loss", "gradient_filters")
"""Fields of TrainConfig that a text gives in more than one spelling."""


def as_field(name: str, wanted: Any) -> Any:
    """What one of AS_TEXT is compared with: as a config has it; of a list or set, each of them."""
    if isinstance(wanted, (list, set)) or (
        isinstance(wanted, tuple) and name != "gradient_filters"
    ):
        return [as_field(name, one) for one in wanted]
    if name == "optimizer":
        return canonical_optimizer(wanted)
    if name == "loss":
        return as_loss(wanted)
    return as_filters(wanted) if name == "gradient_filters" else canonical_schedule(name, wanted)
