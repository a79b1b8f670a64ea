"""One run: a task, an architecture, a recipe and a seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from markupsafe import Markup

from grokinterp.checks import integer
from grokinterp.config.identity import completed, identity, later_fields
from grokinterp.config.model import ModelConfig
from grokinterp.config.train import TrainConfig
from grokinterp.custom_loss import Loss, stored_loss
from grokinterp.gradient_filter import stored_filter
from grokinterp.hooks.unknown import stored_intervention
from grokinterp.jupyter import card, shown
from grokinterp.task import TASKS, ModularTask, Task, kind_of


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
        object.__setattr__(self, "seed", integer("seed", self.seed))
        if self.weights_seed is not None:
            object.__setattr__(self, "weights_seed", integer("weights_seed", self.weights_seed))
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
        data = completed(cls, data)
        kind = kind_of(data["task"])
        task, train = completed(kind, data["task"]), completed(TrainConfig, data["train"])
        if task["train_pairs"] is not None:
            task["train_pairs"] = tuple((a, b) for a, b in task["train_pairs"])
        for name in ("betas", "checkpoint_epochs"):
            train[name] = tuple(train[name])
        train["interventions"] = tuple(
            stored_intervention({**later_fields(f"{item.get('name')}."), **item})
            for item in train["interventions"]
        )
        train["gradient_filters"] = tuple(map(stored_filter, train["gradient_filters"]))
        if isinstance(train["loss"], Mapping):
            train["loss"] = stored_loss(train["loss"])
        # As None it once meant the model's precision.
        train["loss_dtype"] = train["loss_dtype"] or train["dtype"]
        return cls(
            task=kind(**task),
            model=ModelConfig(**completed(ModelConfig, data["model"])),
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
