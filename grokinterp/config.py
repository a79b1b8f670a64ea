"""What a run is: frozen, validated where it is made, and identified by a hash of how it trains.

Nothing here imports torch, so the command line can describe every option at once.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from markupsafe import Markup

from grokinterp.checks import check_flag, check_one_of, integer, positive
from grokinterp.component import Component
from grokinterp.custom_loss import Loss, stored_loss
from grokinterp.gradient_filter import GradientFilter, stored_filter
from grokinterp.hooks.intervention import Intervention, intervention_from_dict
from grokinterp.hooks.unknown import stored_intervention
from grokinterp.jupyter import card, shown
from grokinterp.optimizer_path import canonical_optimizer
from grokinterp.placement import LNPlacement, resolve_placement
from grokinterp.schedule import canonical_schedule
from grokinterp.task import TASKS, ModularTask, Task, kind_of

if TYPE_CHECKING:
    AnyLoss = str | Loss
    Filters = tuple[GradientFilter, ...]
else:  # The command line gives the text.
    AnyLoss, Filters = str, tuple[str, ...]

METRICS = (
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "weight_norm",
    "grad_norm",
    "update_norm",
)


@dataclass(frozen=True)
class ModelConfig:
    """The architecture and its initialisation. Defaults are the paper's.

    Args:
        placement: Where the norms sit: off, attn-pre, pre, mlp-pre, attn-pre-qk, attn-pre-v, pre-v,
            post, peri, a paper name (M, A*, …), or inputs joined by + (q+mlp).
        norm: LayerNorm (gain and bias) or RMSNorm (gain only).
        n_layers: Number of blocks.
        d_model: Width of the residual stream.
        n_heads: Attention heads of a block; they share d_model equally.
        d_mlp: Width of the MLP; 4 · d_model when not given.
        causal: A position attends to itself and those before it, and not to all.
        answers: How many classes there are: p+1, one for each token, or p, none for `=`.
        final_norm: Norm before the unembedding; center-only keeps a gain of 1 and a bias of 0.
        tied_unembedding: Use the transposed embedding as the unembedding.
        gated_mlp: SiLU-gated MLP, all three projections with bias.
        freeze_ln: Keep every norm's gain and bias at their initial values.
        freeze_mlp_biases: Keep the MLP's biases at their initial values, the zeros of every seed.
        readout_scale: α: multiplies the logits.
        init: W_O and MLP weights: truncated normal of std 1/√fan_in, or normal of std √(2/fan_in).
            lecun-icdf is lecun's distribution, with the numbers that PyTorch 2.11 draws from a
            seed.
        weight_init_scale: Multiplies every parameter after initialisation.

    Raises:
        ValueError: A value is not one that it may have; the message says which it may.
    """

    placement: str = "mlp-pre"
    norm: Literal["layer", "rms"] = "layer"
    n_layers: int = 1
    d_model: int = 128
    n_heads: int = 4
    d_mlp: int | None = None
    causal: bool = False
    answers: Literal["p+1", "p"] = "p+1"
    final_norm: Literal["none", "learned", "center-only"] = "none"
    tied_unembedding: bool = False
    gated_mlp: bool = False
    freeze_ln: bool = False
    freeze_mlp_biases: bool = False
    readout_scale: float = 1.0
    init: Literal["lecun", "lecun-icdf", "kaiming"] = "lecun"
    weight_init_scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "placement", resolve_placement(self.placement).name)
        check_one_of("norm", self.norm, ("layer", "rms"))
        check_one_of("final_norm", self.final_norm, ("none", "learned", "center-only"))
        check_one_of("answers", self.answers, ("p+1", "p"))
        check_one_of("init", self.init, ("lecun", "lecun-icdf", "kaiming"))
        for name in ("n_layers", "d_model", "n_heads"):
            _set_integer(self, name, 1)
        if self.d_model % self.n_heads:
            raise ValueError(
                f"n_heads must divide d_model; got n_heads={self.n_heads}, d_model={self.d_model}"
            )
        if self.d_mlp is None:
            object.__setattr__(self, "d_mlp", 4 * self.d_model)
        _set_integer(self, "d_mlp", 1)
        for name in (
            "causal",
            "tied_unembedding",
            "gated_mlp",
            "freeze_ln",
            "freeze_mlp_biases",
        ):
            check_flag(name, getattr(self, name))
        for name in ("readout_scale", "weight_init_scale"):
            _set_positive(self, name)

    @property
    def ln(self) -> LNPlacement:
        """The placement, resolved."""
        return resolve_placement(self.placement)

    @property
    def d_head(self) -> int:
        """Width of a head: d_model/n_heads."""
        return self.d_model // self.n_heads


@dataclass(frozen=True)
class StopRule:
    """Stop once `metric` has met the threshold at every evaluation for `hold` epochs.

    >>> StopRule.parse("test_accuracy >= 0.995 for 200")
    StopRule(metric='test_accuracy', comparison='>=', threshold=0.995, hold=200)
    """

    metric: str
    comparison: Literal[">=", "<="]
    threshold: float
    hold: int = 0

    @classmethod
    def parse(cls, text: str) -> StopRule:
        number = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
        match = re.fullmatch(
            rf"\s*([\w.]+)\s*(>=|<=)\s*({number})\s*(?:for\s+(\d+)(?:\s+epochs)?)?\s*", text
        )
        if match is None:
            raise ValueError(
                "stop_when must read like 'test_accuracy >= 0.995 for 200' "
                f"(metric, >= or <=, threshold, epochs it must hold); got {text!r}"
            )
        metric, comparison, threshold, hold = match.groups()
        check_one_of("stop_when metric", metric, METRICS)
        return cls(metric, comparison, float(threshold), int(hold or 0))  # type: ignore[arg-type]

    def met(self, value: float) -> bool:
        return value >= self.threshold if self.comparison == ">=" else value <= self.threshold


RECORDED = frozenset(
    {
        "eval_every",
        "checkpoint_every",
        "checkpoint_epochs",
        "checkpoint_ratio",
        "keep_optimizer",
        "probes",
    }
)
"""Fields of TrainConfig that say what is recorded, and change nothing of how a run trains."""

LOSSES = ("cross-entropy", "stablemax", "mse")

MOMENTUM = {"sgd": 0.9, "muon": 0.95}
"""Of the optimisers that have one, when it is not given."""

AS_BEFORE: dict[str, Any] = {
    "label_noise": 0.0,
    "weights_seed": None,
    "causal": False,
    "answers": "p+1",
    "freeze_mlp_biases": False,
    "loss_form": "log-softmax",
    "optimizer": "adamw",
    "momentum": None,
    "lr_schedule": "constant",
    "decay_schedule": "constant",
    "gradient_filters": (),
    "batch_size": None,
    "max_norm": None,
    "loss": "cross-entropy",
}
"""What a field that was added later means to the runs of before it: the value, by the field's name
(an intervention's as `Class.field`), with which a run trains as all did without the field. A run
with this value keeps the identity it had, and a config that lacks the field is read with it."""


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
        momentum: SGD's, 0.9 when not given; Muon's, 0.95.
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
        _set_integer(self, "epochs", 1)
        _set_integer(self, "eval_every", 1)
        for name in (
            "couple_lr_to_readout",
            "couple_decay_to_lr",
            "subtract_initial_prediction",
            "keep_optimizer",
        ):
            check_flag(name, getattr(self, name))
        for name in ("lr", "reference_lr", "loss_logit_scale"):
            _set_positive(self, name)
        for name in ("weight_decay", "adam_eps", "effective_rank_penalty"):
            value = getattr(self, name)
            if not (_is_number(value) and value >= 0):
                raise ValueError(f"{name} must be a finite number of at least 0; got {value!r}")
            object.__setattr__(self, name, float(value))
        object.__setattr__(self, "optimizer", canonical_optimizer(self.optimizer))
        if self.momentum is not None and not (_is_number(self.momentum) and 0 <= self.momentum < 1):
            raise ValueError(f"momentum must be a number in [0, 1); got {self.momentum!r}")
        if self.batch_size is not None:
            _set_integer(self, "batch_size", 1)
        object.__setattr__(self, "gradient_filters", _filters(self.gradient_filters))
        if self.max_norm is not None:
            _set_positive(self, "max_norm")
        for name in ("lr_schedule", "decay_schedule"):
            object.__setattr__(self, name, canonical_schedule(name, getattr(self, name)))
        if not isinstance(self.betas, Iterable):
            raise ValueError(f"betas must be two numbers in [0, 1); got {self.betas!r}")
        object.__setattr__(self, "betas", tuple(self.betas))
        if len(self.betas) != 2 or not all(_is_number(b) and 0 <= b < 1 for b in self.betas):
            raise ValueError(f"betas must be two numbers in [0, 1); got {self.betas!r}")
        object.__setattr__(self, "betas", tuple(float(beta) for beta in self.betas))
        if self.checkpoint_every is not None:
            _set_integer(self, "checkpoint_every", 1)
        if self.checkpoint_ratio is not None:
            if not (_is_number(self.checkpoint_ratio) and self.checkpoint_ratio >= 1.001):
                raise ValueError(
                    "checkpoint_ratio must be a number of at least 1.001; got "
                    f"{self.checkpoint_ratio!r}"
                )
            object.__setattr__(self, "checkpoint_ratio", float(self.checkpoint_ratio))
        each = f"each of checkpoint_epochs (0 to epochs={self.epochs})"
        chosen = {integer(each, epoch) for epoch in self.checkpoint_epochs}
        if beyond := [epoch for epoch in chosen if epoch > self.epochs]:
            raise ValueError(
                f"checkpoint_epochs must lie between 0 and epochs={self.epochs}; got {beyond[0]}"
            )
        object.__setattr__(self, "checkpoint_epochs", tuple(sorted(chosen)))
        for name in ("dtype", "loss_dtype"):
            check_one_of(name, getattr(self, name), ("float32", "float64"))
        object.__setattr__(self, "loss", _loss(self.loss))
        check_one_of("loss_form", self.loss_form, ("log-softmax", "margins"))
        self._check_what_others_ignore()
        if self.momentum is None:
            object.__setattr__(self, "momentum", MOMENTUM.get(self.optimizer))
        else:
            object.__setattr__(self, "momentum", float(self.momentum))
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
        if self.stop_when is not None:
            StopRule.parse(self.stop_when)
        if not isinstance(self.probes, Mapping):
            raise ValueError(
                "probes must map each probe to the epochs between its recordings, as in "
                f'{{"cheap": 100}}; got {self.probes!r}'
            )
        probes = {
            name: integer(f"probes[{name!r}]", every, 1) for name, every in self.probes.items()
        }
        object.__setattr__(self, "probes", dict(sorted(probes.items())))
        if not isinstance(self.interventions, (list, tuple)):
            raise ValueError(
                "interventions must be a tuple of objects of grokinterp.hooks, as in "
                f"(UnitNorm('mlp'),); got {self.interventions!r}"
            )
        interventions = tuple(
            intervention_from_dict(item) if isinstance(item, Mapping) else item
            for item in self.interventions
        )
        for item in interventions:
            if not isinstance(item, Intervention):
                raise ValueError(
                    f"interventions must hold objects of grokinterp.hooks; got {item!r}"
                )
        object.__setattr__(self, "interventions", interventions)
        for part in self.components:
            part.check()

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


_DEFAULTS = {one.name: one.default for one in fields(TrainConfig)}


def _loss(value: Any) -> str | Loss:
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


def _filters(value: Any) -> tuple[GradientFilter, ...]:
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
        return _loss(wanted)
    return _filters(wanted) if name == "gradient_filters" else canonical_schedule(name, wanted)


@dataclass(frozen=True)
class RunConfig:
    """One run: a task, an architecture, a recipe and a seed, which draws split and weights.

    Args:
        task: What to learn: a ModularTask, a GroupTask or a TableTask.
        model: The architecture.
        train: The recipe.
        seed: Draws the split and the initial weights.
        start: Where the initial weights come from: the seed, or the fingerprint of given ones, as
            `train(init=...)` sets it.
        weights_seed: Draws the initial weights in place of `seed`, which draws the split alone
            then.

    Raises:
        ValueError: A seed is no integer of 0 or more, `weights_seed` would draw nothing, or the
            task is of another kind.
    """

    task: Task = field(default_factory=ModularTask)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    seed: int = 456
    start: str = "seed"
    weights_seed: int | None = None

    def __post_init__(self) -> None:
        if type(self.task) not in TASKS.values():
            raise ValueError(
                "task must be a ModularTask, a GroupTask or a TableTask, which a store can hold; a "
                f"function of your own is TableTask.from_function(function, n); got {self.task!r}"
            )
        _set_integer(self, "seed")
        if self.weights_seed is not None:
            _set_integer(self, "weights_seed")
            if self.start != "seed":
                raise ValueError(
                    "weights_seed must not be given where the initial weights are: it would draw "
                    f"none; got weights_seed={self.weights_seed} and start={self.start!r}"
                )

        size = self.train.batch_size
        if size is not None and size >= self.task.n_train:
            raise ValueError(
                f"batch_size must be smaller than the train set of {self.task.n_train} examples, "
                f"which is what a step sees when it is not given; got {size}"
            )

    @property
    def id(self) -> str:
        """Identity: 16 hexadecimal digits; see `identity`."""
        # What a user's class finds by name may change under it.
        return identity(self.to_dict()) if self.train.components else self._id

    @cached_property
    def _id(self) -> str:
        return identity(self.to_dict())

    @property
    def drawn_by(self) -> int:
        """The seed that draws the initial weights."""
        return self.seed if self.weights_seed is None else self.weights_seed

    @property
    def name(self) -> str:
        """What a person calls it."""
        weights = "" if self.drawn_by == self.seed else f", weights {self.drawn_by}"
        return f"{self.model.placement} · seed {self.seed}{weights}"

    @property
    def lr(self) -> float:
        """The learning rate in force, readout coupling included."""
        scale = self.model.readout_scale if self.train.couple_lr_to_readout else 1.0
        return self.train.lr / scale**2

    @property
    def weight_decay(self) -> float:
        """The weight decay in force, learning-rate coupling included."""
        if not self.train.couple_decay_to_lr:
            return self.train.weight_decay
        return self.train.weight_decay * self.train.reference_lr / self.train.lr

    @shown
    def _repr_html_(self) -> Markup:
        default, flat = RunConfig().flat(), self.flat()
        changed = [
            (name, f"{value!r} (default {default[name]!r})" if name in default else repr(value))
            for name, value in flat.items()
            if value != default.get(name) and name not in ("placement", "seed")
        ]
        rows = [
            ("id", self.id),
            ("pairs", f"{self.task.n_train:,} to train on, {self.task.n_test:,} to test on"),
            *changed,
            ("the rest" if changed else "all", "at its default, the paper's"),
        ]
        return card(f"{self.name} · {self.task}", rows, None, ['gi.train(config, store="runs")'])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; `from_dict` takes it back."""
        plain = replace(self.train, interventions=(), gradient_filters=(), loss="cross-entropy")
        data = asdict(replace(self, train=plain))
        for name in ("interventions", "gradient_filters"):
            data["train"][name] = [one.to_dict() for one in getattr(self.train, name)]
        loss = self.train.loss
        data["train"]["loss"] = loss.to_dict() if isinstance(loss, Loss) else loss
        return json.loads(json.dumps(data))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunConfig:
        """The config that `to_dict` described; an intervention unknown here is kept as its data.

        Args:
            data: Plain JSON data.

        Raises:
            ValueError: A field is unknown, or has a value that is.
            KeyError: A field is missing.
        """
        _check_known(data)
        data = _complete(cls, data)
        kind = kind_of(data["task"])
        task, train = _complete(kind, data["task"]), _complete(TrainConfig, data["train"])
        if task["train_pairs"] is not None:
            task["train_pairs"] = tuple((a, b) for a, b in task["train_pairs"])
        for name in ("betas", "checkpoint_epochs"):
            train[name] = tuple(train[name])
        train["interventions"] = tuple(
            stored_intervention({**_later(f"{item.get('name')}."), **item})
            for item in train["interventions"]
        )
        train["gradient_filters"] = tuple(map(stored_filter, train["gradient_filters"]))
        if isinstance(train["loss"], Mapping):
            train["loss"] = stored_loss(train["loss"])
        # As None it once meant the model's precision.
        train["loss_dtype"] = train["loss_dtype"] or train["dtype"]
        return cls(
            task=kind(**task),
            model=ModelConfig(**_complete(ModelConfig, data["model"])),
            train=TrainConfig(**train),
            seed=data["seed"],
            start=data["start"],
            weights_seed=data["weights_seed"],
        )

    def flat(self) -> dict[str, Any]:
        """Every field of task, model and train by its own name, and the run's own fields."""
        parts: tuple[Any, ...] = (self.task, self.model, self.train)
        flat = {f.name: getattr(part, f.name) for part in parts for f in fields(part)}
        return flat | {"seed": self.seed, "start": self.start, "weights_seed": self.weights_seed}


def _check_known(data: Mapping[str, Any]) -> None:
    """ValueError names the fields that this version has not."""
    parts: dict[str, Any] = {"model": ModelConfig, "train": TrainConfig}
    parts["task"] = kind_of(data["task"])
    unknown = [name for name in data if name not in {f.name for f in fields(RunConfig)}]
    for part, cls in parts.items():
        known = {f.name for f in fields(cls)}
        unknown += [f"{part}.{name}" for name in data[part] if name not in known]
    if unknown:
        raise ValueError(f"{' and '.join(unknown)}, which this version has not, so of a later one")


def identity(data: Mapping[str, Any]) -> str:
    """What tells a run from every other: a hash of what `RunConfig.to_dict` says of its training.

    Every value counts as it stands, at its default or not, so that another version's defaults
    change nothing. What is recorded (RECORDED) and the device do not count, but for `eval_every`
    where a stop rule looks at these epochs; nor does a later field at its value AS_BEFORE, nor the
    module that defines an intervention: its definition does.
    """
    train = {
        name: value
        for name, value in data["train"].items()
        if name not in RECORDED and name != "device"
    }
    if train["stop_when"] is not None:
        train["stop_when"] = asdict(StopRule.parse(train["stop_when"]))
        train["eval_every"] = data["train"]["eval_every"]
    for name in ("interventions", "gradient_filters"):
        if name in train:
            train[name] = [_counted(one) for one in train[name]]
    if isinstance(train.get("loss"), Mapping):
        train["loss"] = _counted(train["loss"])
    counted = {**data, "train": train}
    if counted.get("weights_seed") == counted["seed"]:
        counted["weights_seed"] = None  # It draws what the seed does.
    return digest(counted)[:16]


def _counted(item: Mapping[str, Any]) -> dict[str, Any]:
    """What of a component's data tells two of them apart."""
    return {
        name: value
        for name, value in item.items()
        if name != "module" and not _is_as_before(f"{item['name']}.{name}", value)
    }


def check_field(name: str, but: Collection[str] = (), also: Collection[str] = ()) -> None:
    """ValueError if a config has no field of this name but these, and it is none of `also`."""
    every = dict.fromkeys([*RunConfig().flat(), *task_fields()])
    known = [*(field for field in every if field not in but), *also]
    if name not in known:
        close = " or ".join(get_close_matches(name, known))
        hint = f"did you mean {close}?" if close else f"choose one of {', '.join(known)}"
        raise ValueError(f"no config field {name!r}; {hint}")


def task_fields() -> set[str]:
    """Every field that some kind of task has."""
    return {field.name for kind in TASKS.values() for field in fields(kind)}


def digest(data: Mapping[str, Any]) -> str:
    """SHA-256 of JSON data, without the fields, its own and its parts', that are AS_BEFORE."""
    counted = {
        part: {name: v for name, v in value.items() if not _is_as_before(name, v)}
        if isinstance(value, Mapping)
        else value
        for part, value in data.items()
        if not _is_as_before(part, value)
    }
    canonical = json.dumps(_canonical(counted), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """What is equal, written alike: 1 and 1.0, a tuple and a list."""
    if isinstance(value, Mapping):
        return {name: _canonical(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_as_before(name: str, value: object) -> bool:
    # JSON has lists in place of tuples.
    value = tuple(value) if isinstance(value, list) else value
    return name in AS_BEFORE and AS_BEFORE[name] == value


def _later(owner: str) -> dict[str, Any]:
    """The later fields of an intervention, by their own names."""
    return {
        name.removeprefix(owner): value
        for name, value in AS_BEFORE.items()
        if name.startswith(owner)
    }


def _complete(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a config, with the later fields that it lacks; KeyError if it lacks another."""
    names = [one.name for one in fields(kind)]
    complete = {name: AS_BEFORE[name] for name in names if name in AS_BEFORE} | dict(data)
    # Not filled in: another version's default would be another run.
    if missing := [name for name in names if name not in complete]:
        raise KeyError(f"the data of a {kind.__name__} lack {', '.join(missing)}; give them")
    return complete


# What is equal is one run, so it must hash alike: 1, 1.0 and NumPy's 1.
def _set_integer(config: object, name: str, least: int = 0) -> None:
    object.__setattr__(config, name, integer(name, getattr(config, name), least))


def _set_positive(config: object, name: str) -> None:
    object.__setattr__(config, name, positive(name, getattr(config, name)))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
