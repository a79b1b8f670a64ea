"""A model at an epoch: what probes take."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Concatenate, Literal, ParamSpec, TypeVar, get_args

import torch
from jaxtyping import Int
from markupsafe import Markup
from torch import Tensor

from grokinterp.checks import check_one_of
from grokinterp.config import TrainConfig
from grokinterp.inputs import Inputs as Inputs
from grokinterp.inputs import NotApplicable as NotApplicable
from grokinterp.jupyter import card, shown
from grokinterp.model.memo import Remembered, hooks_of
from grokinterp.placement import LNPlacement, both_names
from grokinterp.task import Task

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer

P = ParamSpec("P")
T = TypeVar("T")
Split = Literal["train", "test", "grid"]
Moment = Literal["initial", "final", "previous"]
Other = Moment | int
"""Another checkpoint of a training: its start, its end, the one before, or that of an epoch."""

# A training's snapshots share one split, which nothing writes to.
_split = lru_cache(maxsize=16)(torch.inference_mode(False)(Task.split))


class Snapshot:
    """What a probe takes: a model, its task and split, and lazily its activations.

    Works on any HookedTransformer or TransformerBridge that reads `[a, b, =]`, or `[a, b]` alone,
    and answers at the last position, with a class for each token or for each but `=`; not only on
    our own runs. A hook of a bridge that does not hold what it says is refused by name.
    However many probes read a snapshot, each set of inputs goes through the model once, as long
    as the model's weights, hooks and settings stay what they are.

    What is attached to the model is part of it: every pass runs under its hooks.

    Args:
        model: The model; it is not changed.
        task: The task that it was trained on.
        seed: The seed of the split that it was trained on. Not given, what reads train or test
            examples is refused, unless the task names its `train_pairs`.
        epoch: The epoch of the weights, if they come from a run.
        others: Gives the model's snapshot at the start (`initial`, epoch 0), at the end (`final`),
            a checkpoint earlier (`previous`) or at an epoch of its training, for the probes that
            compare; NotApplicable where it has none there.
        recipe: How the model was trained, for the probes of the run's own loss. Not given, the
            loss is the cross-entropy of the model's logits, in float64.

    Raises:
        ValueError: The model's vocabulary, answers or context are not of the task.
    """

    def __init__(
        self,
        model: HookedTransformer,
        task: Task,
        seed: int | None = None,
        epoch: int | None = None,
        others: Callable[[Other], Snapshot] | None = None,
        recipe: TrainConfig | None = None,
    ) -> None:
        _check_fits(model, task)
        self.model = model
        self.task = task
        self.seed = seed
        self.epoch = epoch
        self.recipe = recipe or TrainConfig(loss_dtype="float64")
        self._others = others
        self._remembered = Remembered(model)

    @property
    def _placement(self) -> LNPlacement | None:
        """Of a model of the package's own."""
        return getattr(self.model.blocks[0], "placement", None)

    @property
    def title(self) -> str:
        """Its LN placement by both names, or its class; its seed; whether hooks act on it."""
        placement = self._placement
        parts = [both_names(placement.name) if placement else type(self.model).__name__]
        parts += [f"seed {self.seed}"] if self.seed is not None else []
        parts += ["under hooks"] if hooks_of(self.model) else []
        return ", ".join(parts)

    @property
    def split_seed(self) -> int:
        """The seed of the split; any where the task names its pairs. NotApplicable if not known."""
        if self.seed is not None:
            return self.seed
        if self._is_split_explicit:
            return 0
        raise NotApplicable(
            "the seed of the split that the model was trained on is not known, and another split "
            "would call examples unseen that it trained on; give it, as in "
            "gi.Snapshot(model, task, seed=456), or take the snapshot from a run (run.snapshot())"
        )

    @property
    def _is_split_explicit(self) -> bool:
        return self.task.train_pairs is not None and not self.task.label_noise

    @property
    def _split_text(self) -> str:
        if self.seed is not None:
            return f"seed {self.seed}"
        return "the task's own" if self._is_split_explicit else "not known"

    @cached_property
    def train(self) -> Inputs:
        """The train examples."""
        split = _split(self.task, self.split_seed)
        return self._inputs(split.train_tokens, split.train_labels)

    @cached_property
    def test(self) -> Inputs:
        """The test examples."""
        split = _split(self.task, self.split_seed)
        return self._inputs(split.test_tokens, split.test_labels)

    @cached_property
    def grid(self) -> Inputs:
        """Every input, a outer, b inner: n² rows, or p(p - 1) for division.

        To a hook that mixes the examples of a batch, this is another batch than the train one.
        """
        with torch.inference_mode(False):
            return self._inputs(*self.task.encode(self.task.pairs()))

    @property
    def reads_equals(self) -> bool:
        """Whether the model reads `=` after a and b, and not the two alone."""
        return self.model.cfg.d_vocab == self.task.d_vocab

    @property
    def positions(self) -> tuple[str, ...]:
        """What stands at each position; the answer is read at the last."""
        return ("a", "b", "=") if self.reads_equals else ("a", "b")

    def encode(self, pairs: list[tuple[int, int]]) -> Int[Tensor, "batch pos"]:
        """What the model reads for these pairs: `[a, b, =]`, or `[a, b]`.

        Args:
            pairs: Inputs (a, b) of the task.
        """
        return self._read(self.task.encode(pairs)[0])

    def _read(self, tokens: Int[Tensor, "batch 3"]) -> Int[Tensor, "batch pos"]:
        return tokens if self.reads_equals else tokens[:, :2]

    def _inputs(self, tokens: Int[Tensor, "batch 3"], labels: Int[Tensor, " batch"]) -> Inputs:
        return Inputs(self.model, self._read(tokens), labels)

    def inputs(self, split: Split) -> Inputs:
        """The inputs of a name.

        Args:
            split: `train`, `test` or `grid`, which is all of them.

        Raises:
            ValueError: There is no such name.
        """
        check_one_of("split", split, get_args(Split))
        return getattr(self, split)

    def __repr__(self) -> str:
        epoch = "" if self.epoch is None else f", epoch {self.epoch:,}"
        return f"Snapshot({self.title}{epoch}; {self.task})"

    @shown
    def _repr_html_(self) -> Markup:
        cfg = self.model.cfg
        hooks = dict.fromkeys(name for name, _ in hooks_of(self.model))
        rows = [
            ("task", self.task),
            ("split", self._split_text),
            ("epoch", "not known" if self.epoch is None else f"{self.epoch:,}"),
            (
                "model",
                f"{type(self.model).__name__}, n_layers {cfg.n_layers}, n_heads {cfg.n_heads}, "
                f"d_model {cfg.d_model}; it reads {', '.join(self.positions)}",
            ),
            ("hooks that act on it", ", ".join(hooks) or "none"),
        ]
        if self._placement is not None:
            rows.insert(1, ("placement", self._placement.name))
        return card(
            "Snapshot",
            rows,
            None,
            [
                'gi.PROBES["attention_entropy"](snapshot)',
                "snapshot.test.logits",
                'snapshot.grid.cache["pattern", 0]',
            ],
        )

    @property
    def has_others(self) -> bool:
        """Whether it knows other checkpoints of its training."""
        return self._others is not None

    def other(self, which: Other) -> Snapshot:
        """The same training at another checkpoint.

        Args:
            which: `initial`, `final`, `previous`, or an epoch.

        Raises:
            ValueError: There is no such name, or the other has other examples.
            NotApplicable: The snapshot does not know it.
        """
        epoch = isinstance(which, int) and not isinstance(which, bool) and which >= 0
        if not epoch and which not in get_args(Moment):
            raise ValueError(
                f"unknown other {which!r}; choose one of {', '.join(get_args(Moment))}, or an epoch"
            )
        if self._others is None:
            where = f"checkpoint at epoch {which:,}" if epoch else f"{which} checkpoint"
            raise NotApplicable(
                f"this probe compares with the {where}, which this snapshot does not "
                "know; take it from a run (run.snapshot()), or give Snapshot(others=...)"
            )
        found = self._others(which)
        # An explicit split is the same under every seed.
        same_split = found.seed == self.seed or self._is_split_explicit
        if found.task != self.task or not same_split:
            raise ValueError(
                "the two checkpoints must have the same examples; give them one task and seed; got "
                f"{self.task} with seed {self.seed}, and {found.task} with seed {found.seed}"
            )
        return found

    def once(
        self, function: Callable[Concatenate[Snapshot, P], T], *args: P.args, **options: P.kwargs
    ) -> T:
        """function(snapshot, …), remembered here, for what several probes or epochs need.

        Forgotten once the model's weights, hooks or settings have changed; what it takes from
        another snapshot is not watched.

        Args:
            function: Called with this snapshot first.
            *args: Its other arguments, hashable.
            **options: And its options, hashable.
        """
        key = (function, args, tuple(sorted(options.items())))
        return self._remembered.once(key, lambda: function(self, *args, **options))

    def layer(self, layer: int) -> int:
        """The number of a layer.

        Args:
            layer: Counted from 0, or from -1 backwards.

        Raises:
            NotApplicable: The model has no such layer.
        """
        n = self.model.cfg.n_layers
        if not isinstance(layer, int) or isinstance(layer, bool) or not -n <= layer < n:
            raise NotApplicable(
                f"layer must be an integer from 0 to {n - 1}, or from -1 to -{n} counted from the "
                f"last, in this model; got {layer!r}"
            )
        return layer % n

    def require(
        self,
        probe: str,
        one_layer: bool = False,
        addition: bool = False,
        mlp: bool = False,
        equals: bool = False,
    ) -> None:
        """Refuse a model or a task that has not what a probe needs.

        Args:
            probe: Its name, for the message.
            one_layer: It is a formula for one layer.
            addition: It is about a + b.
            mlp: It reads the MLP.
            equals: It is about what `=` reads.

        Raises:
            NotApplicable: It is not there.
        """
        cfg = self.model.cfg
        if one_layer and cfg.n_layers != 1:
            raise NotApplicable(
                f"{probe} is a formula for one layer, and this model has "
                f"{cfg.n_layers}; give it a model of one layer"
            )
        if addition and getattr(self.task, "operation", None) != "add":
            raise NotApplicable(
                f"{probe} is about addition, and this model's task is {self.task}; give it a "
                "model trained on a + b"
            )
        if mlp and cfg.attn_only:
            raise NotApplicable(
                f"{probe} reads the MLP, and this model has attention only; give it a model with "
                "an MLP"
            )
        if equals and not self.reads_equals:
            raise NotApplicable(
                f"{probe} is about what the token = reads, and this model reads a and b alone; "
                "give it a model of [a, b, =]"
            )

    def require_unhooked(self, probe: str, *parts: str) -> None:
        """Refuse a model with something attached to it.

        Args:
            probe: Its name, for the message.
            *parts: The ends of hook names: refuse only what is attached to one of these. What is
                attached to no hook point, but to a module, may be anywhere.

        Raises:
            NotApplicable: Something is.
        """
        attached = dict.fromkeys(name for name, _ in hooks_of(self.model))
        if parts:
            ends, points = tuple(f".{part}" for part in parts), self.model.hook_dict
            # A TransformerBridge knows one hook point by several names.
            attached = {
                name: None
                for name in attached
                if name not in points
                or any(
                    f".{also}".endswith(ends)
                    for also, point in points.items()
                    if point is points[name]
                )
            }
        if attached:
            raise NotApplicable(
                f"{probe} is a formula of the bare weights, and hooks act on this model, at "
                f"{', '.join(attached)}; give it the bare weights, which "
                "run.snapshot(epoch, interventions=False) has"
            )

    def require_unmixed(self, probe: str, inputs: Inputs) -> None:
        """Refuse a model whose hooks mix these examples.

        Args:
            probe: Its name, for the message.
            inputs: The examples.

        Raises:
            NotApplicable: They do.
        """
        if inputs.examples_mix:
            raise NotApplicable(
                f"{probe} is of one example at a time, and hooks of this model mix the examples of "
                "a batch; give it the bare weights, which run.snapshot(epoch, interventions=False) "
                "has"
            )


def _check_fits(model: HookedTransformer, task: Task) -> None:
    """ValueError for a model that does not read and answer as the task says."""
    if getattr(model, "is_processed", False):
        raise ValueError(
            "the model must be as it trained, and process_weights_ was called on it: its weights, "
            "and what its norms give out, are others now. Probe a copy that is not processed"
        )
    cfg = model.cfg
    reads = {task.d_vocab: "[a, b, =]", task.equals_token: "[a, b]"}
    if cfg.d_vocab not in reads or cfg.d_vocab_out not in reads:
        raise ValueError(
            f"the model's vocabulary must be the task's {task.d_vocab} tokens, or the "
            f"{task.equals_token} without =, and so its answers ({task}); it reads {cfg.d_vocab} "
            f"and answers with {cfg.d_vocab_out}"
        )
    # Exactly two for [a, b]: a model of [a, b, =] under a task whose p is one too many is none.
    equals = cfg.d_vocab == task.d_vocab
    if not (cfg.n_ctx >= 3 if equals else cfg.n_ctx == 2):
        raise ValueError(
            f"a model of {cfg.d_vocab} tokens must have a context of "
            f"{'3 or more' if equals else '2'} to read {reads[cfg.d_vocab]} ({task}); its context "
            f"is {cfg.n_ctx}: give it the task that it was trained on"
        )
