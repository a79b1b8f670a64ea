"""The engine: runs of one architecture, trained together along a leading run axis.

Pure: it takes configs and states and yields reports; train.py reads and writes the runs.
Inside an epoch nothing waits for the device: losses and norms stay there until an evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import cached_property
from threading import Event
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import functional_call, vmap

from grokinterp.config import RunConfig
from grokinterp.config.recorded import METRICS
from grokinterp.hooks.attention import UniformAttention
from grokinterp.hooks.intervention import Intervention, collect_hooks
from grokinterp.loss import correct, losses_and_gradient, losses_of_examples
from grokinterp.model.parameters import is_trained, parameter_shapes
from grokinterp.store.state import Report, Row, RunState, Weights
from grokinterp.training.device import check_device, keep_freed_memory
from grokinterp.training.forward import last_position
from grokinterp.training.layout import Layout, Vectors
from grokinterp.training.minibatches import minibatches
from grokinterp.training.row_blocks import (
    Batch,
    KeptReads,
    Runs,
    Scored,
    Workers,
    backpropagate,
    begin_thread,
    blocks_of,
    evaluate,
    on_one_core,
    rank_gradient,
    train_blocks,
)
from grokinterp.training.update import Update

if TYPE_CHECKING:
    from grokinterp.model.transformer import HookedTransformer


def group_key(config: RunConfig) -> RunConfig:
    """Runs with equal keys can share a run axis: they may differ in seeds (so in split), start,
    learning rate, weight decay and readout scale."""
    return replace(
        config,
        model=replace(config.model, readout_scale=1.0),
        train=replace(
            config.train,
            lr=1.0,
            weight_decay=0.0,
            couple_lr_to_readout=False,
            couple_decay_to_lr=False,
            reference_lr=1.0,
        ),
        seed=0,
        start="seed",
        weights_seed=None,
    )


def train_together(
    configs: Sequence[RunConfig],
    initial: Sequence[Weights],
    states: Sequence[RunState],
    width: int | None = None,
) -> Iterator[tuple[Ensemble, list[Report]]]:
    """Train runs of one group to their ends: `side_by_side` of their `ensembles`."""
    return side_by_side(ensembles(configs, initial, states, width))


def ensembles(
    configs: Sequence[RunConfig],
    initial: Sequence[Weights],
    states: Sequence[RunState],
    width: int | None = None,
) -> Iterator[Ensemble]:
    """Runs of one group as ensembles: those that share a pass, so have come to the same epoch.

    `initial` holds the weights at epoch 0, `states` where to go on from. `width` runs share one
    pass; by default one on a CPU, whose caches hold one run's activations, and all of them
    elsewhere.
    """
    if len({group_key(config) for config in configs}) > 1:
        raise ValueError(
            "runs trained together must share task, architecture and recipe, and may differ in "
            "seed, start, learning rate, weight decay and readout scale; group them by group_key"
        )
    check_device(configs[0].train.device)
    width = width or (1 if configs[0].train.device == "cpu" else len(configs))
    for epoch in sorted({state.epoch for state in states}):
        same = [run for run, state in enumerate(states) if state.epoch == epoch]
        for first in range(0, len(same), width):
            chosen = same[first : first + width]
            yield Ensemble(
                {run: configs[run] for run in chosen},
                [initial[run] for run in chosen],
                [states[run] for run in chosen],
            )


@torch.inference_mode(False)  # Which switches gradients on, too.
def side_by_side(
    waiting: Iterable[Ensemble],
    pause: Callable[[Ensemble], bool] = lambda ensemble: False,
    cores: int | None = None,
    failed: Callable[[Ensemble, Exception], None] | None = None,
) -> Iterator[tuple[Ensemble, list[Report]]]:
    """Train ensembles to their ends, as many at once as there are `cores`: by default as PyTorch
    has threads here.

    Yields, at every evaluated or checkpointed epoch of one, the ensemble (ask it for `state(run)`)
    and a report for each of its runs; it does not go on before the next is asked for, and not with
    runs that were dropped. The next one is taken from `waiting` when there is a core for it; cores
    that none waits for help with the others. What comes out does not depend on how many there
    are. `pause` is asked after every epoch; where it is True, this one is reported too. Where one
    cannot be trained on, as when a user's own loss raises, `failed` is told and the others go on;
    without it the error is raised.
    """
    threads = torch.get_num_threads()
    cores = cores or threads
    coming = iter(waiting)
    under_way: dict[Future[list[Report]], Ensemble] = {}
    leaving = Event()
    keep_freed_memory()
    pool = ThreadPoolExecutor(cores, initializer=begin_thread)

    def go_on(ensemble: Ensemble) -> None:
        future = pool.submit(ensemble.advance, lambda: leaving.is_set() or pause(ensemble))
        under_way[future] = ensemble

    def take() -> None:
        while len(under_way) < cores and (ensemble := next(coming, None)) is not None:
            go_on(ensemble)

    try:
        take()
        while under_way:
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                ensemble = under_way.pop(future)
                if (error := future.exception()) is not None:
                    ensemble.close()
                    if failed is None or not isinstance(error, Exception):
                        raise error
                    failed(ensemble, error)
                    continue
                reports = future.result()
                yield ensemble, reports
                ensemble.drop([one.run for one in reports if one.status != "running"])
                if ensemble.configs:
                    go_on(ensemble)
            take()
            for ensemble in under_way.values():
                ensemble.threads = cores // len(under_way)
    finally:
        leaving.set()
        pool.shutdown()
        for ensemble in under_way.values():
            ensemble.close()
        # What its threads were told is what those that are started later would begin with.
        torch.set_num_threads(threads)


def _on_fast_path(item: Intervention) -> bool:
    """Uniform attention of every head is the one intervention that the fast forward knows."""
    return isinstance(item, UniformAttention) and item.layer is None and not item.heads


class Ensemble:
    """Runs that take every step together: parameters are [run, …], losses [run]."""

    def __init__(
        self,
        configs: dict[int, RunConfig],
        initial: Sequence[Weights],
        states: Sequence[RunState],
    ) -> None:
        self.configs = configs
        self.threads = 1
        """How many cores it may use from its next epoch on."""
        self._workers = Workers()
        first = next(iter(configs.values()))
        self.model_config, self.train_config = first.model, first.train
        self.epoch = states[0].epoch
        self._device = torch.device(first.train.device)
        self._dtype = getattr(torch, first.train.dtype)
        self._task = first.task
        shapes = parameter_shapes(first.model, first.task)
        trained = {
            name: torch.Size(shape)
            for name, shape in shapes.items()
            if is_trained(first.model, name)
        }
        self._layout = Layout(trained, self._device, self._dtype)
        self._frozen = [name for name in shapes if name not in trained]
        self._rule_met_since = [state.rule_met_since for state in states]
        self._schedule = set(first.train.checkpoint_schedule())
        splits = [config.task.split(config.seed) for config in configs.values()]
        data = [torch.stack(part).to(self._device) for part in zip(*splits, strict=True)]
        self._train_tokens, self._train_labels, self._test_tokens, self._test_labels = data
        self._load(states)
        self._initial: Weights | None = None
        self._initial_train: Tensor | None = None
        if self.train_config.subtract_initial_prediction:
            self._initial = {n: self._stack([w[n] for w in initial]) for n in initial[0]}
            self._initial_train = torch.cat(
                [
                    last_position(
                        self.model_config, self._initial, self._train_tokens[:, rows], self._scale
                    )[0]
                    for rows in blocks_of(self._train_labels)
                ],
                dim=1,
            )

    def _load(self, states: Sequence[RunState]) -> None:
        self._theta = self._layout.flatten([state.weights for state in states])
        self._constants = {
            name: self._stack([state.weights[name] for state in states]) for name in self._frozen
        }
        # The paper's weight norm counts every parameter, the frozen ones too.
        self._frozen_square = torch.zeros_like(self._theta[:, 0])
        for constant in self._constants.values():
            self._frozen_square += constant.square().flatten(1).sum(1)
        configs = self.configs.values()
        scales = [config.model.readout_scale for config in configs]
        self._scale = torch.tensor(scales, dtype=self._dtype, device=self._device)
        self._update = Update([*configs], self._layout, states)
        self._leaves = self._layout.views(self._theta)
        for leaf in self._leaves.values():
            leaf.requires_grad_()
        self._train_reads: KeptReads = {}
        self._test_reads: KeptReads = {}
        # Of each block; what none of them writes stays zero.
        blocks = train_blocks(self.train_config, self._train_labels)
        self._gradients = self._theta.new_zeros(len(blocks), *self._theta.shape)
        self._places = [self._layout.views(gradient) for gradient in self._gradients]

    def _stack(self, tensors: Sequence[Tensor]) -> Float[Tensor, "run ..."]:
        return torch.stack([t.to(self._device, self._dtype) for t in tensors])

    def state(self, run: int) -> RunState:
        """A copy, on the CPU, of where a run stands."""
        i = list(self.configs).index(run)
        weights = self._layout.of_run(self._theta, i)
        weights |= {name: value[i].cpu().clone() for name, value in self._constants.items()}
        kept, steps = self._update.kept(i)
        return RunState(self.epoch, weights, kept, steps, self._rule_met_since[i])

    def close(self) -> None:
        """End the threads that help it."""
        self._workers.close()

    def advance(self, pause: Callable[[], bool] = lambda: False) -> list[Report]:
        """Train to the next epoch that is evaluated or checkpointed, or to a pause."""
        losses = []
        # Adam divides by the root of a square: with an eps of 0, by that of a denormal one too.
        flush = self.train_config.adam_eps > 0
        with on_one_core(flush):
            while True:
                if self._workers.threads != self.threads:
                    self.close()
                    self._workers = Workers(self.threads, flush)
                self.epoch += 1
                evaluated = self.train_config.is_evaluated(self.epoch)
                loss, row = self._step(evaluated)
                losses.append(loss)
                if evaluated or self.epoch in self._schedule or pause():
                    break
        return self._report(torch.stack(losses).tolist(), row)

    def drop(self, runs: Sequence[int]) -> None:
        """Leave these runs behind; the others go on."""
        if not runs:
            return
        keep = [run for run in self.configs if run not in runs]
        if not keep:
            self.close()
        positions = [list(self.configs).index(run) for run in keep]
        if not keep:
            self.configs = {}
            return
        states = [self.state(run) for run in keep]
        self.configs = {run: self.configs[run] for run in keep}
        self._rule_met_since = [self._rule_met_since[i] for i in positions]
        for name in ("_train_tokens", "_train_labels", "_test_tokens", "_test_labels"):
            setattr(self, name, getattr(self, name)[positions])
        self._load(states)
        if self._initial is not None and self._initial_train is not None:
            self._initial = {name: value[positions] for name, value in self._initial.items()}
            self._initial_train = self._initial_train[positions]

    def _step(self, evaluated: bool) -> tuple[Tensor, Float[Tensor, "metric run"] | None]:
        """One epoch: the loss before each update and, if evaluated, METRICS of each run."""
        active = self._active()
        whole = Batch(self._train_tokens, self._train_labels, self._initial_train)
        scored: Scored | None = None
        gradient: Vectors | None = None
        if evaluated or self.train_config.batch_size is None:
            scored, gradient = self._differentiate(whole, active, evaluated, self._train_reads)
        # Before a filter changes it.
        grad_norm = gradient.norm(dim=1) if evaluated and gradient is not None else None
        before = self._theta.clone() if evaluated else None
        if self.train_config.batch_size is None:
            assert scored is not None
            assert gradient is not None
            loss = scored.losses.mean(1)
            self._update.step(self._theta, gradient, self.epoch)
        else:
            loss = self._pass_over(whole, active)
        if before is None or scored is None or grad_norm is None:
            return loss, None
        tested = self._test(active)
        row = [
            scored.losses.mean(1),
            scored.correct.to(self._dtype).mean(1),
            tested.losses.mean(1),
            tested.correct.to(self._dtype).mean(1),
            (before.square().sum(1) + self._frozen_square).sqrt(),
            grad_norm,
            (self._theta - before).norm(dim=1),
        ]
        return loss, torch.stack([value.to(loss.dtype) for value in row])

    def _pass_over(self, whole: Batch, active: Sequence[Intervention]) -> Float[Tensor, " run"]:
        """An update for each minibatch; the mean of the examples' losses, each before its own."""
        size = self.train_config.batch_size
        assert size is not None
        seeds = [config.seed for config in self.configs.values()]
        total = torch.zeros_like(self._scale, dtype=getattr(torch, self.train_config.loss_dtype))
        for batch in minibatches(whole, size, seeds, self.epoch):
            scored, gradient = self._differentiate(batch, active, False)
            total += scored.losses.sum(1)
            self._update.step(self._theta, gradient, self.epoch)
        return total / whole.labels.shape[1]

    def _differentiate(
        self,
        batch: Batch,
        active: Sequence[Intervention],
        with_answers: bool,
        reads: KeptReads | None = None,
    ) -> tuple[Scored, Vectors]:
        """Each example's loss, and the gradient of the objective."""
        if all(map(_on_fast_path, active)):
            blocks = len(train_blocks(self.train_config, batch.labels))
            scored, others = backpropagate(
                self._runs(active),
                batch,
                self._places[:blocks],
                self._workers,
                with_answers,
                reads,
            )
            gradient = self._gradients[:blocks].sum(0)
            by_name = self._layout.views(gradient)
            for name in by_name.keys() & others.keys():
                by_name[name] += others[name]
            return scored, gradient
        logits, residual = self._forward_hooked(self._leaves, batch.tokens, active)
        losses, d_logits = losses_and_gradient(
            self.train_config,
            logits.detach(),
            batch.labels,
            batch.initial_logits,
            1 / batch.labels.shape[1],
        )
        outputs, d_outputs = [logits], [d_logits]
        if (d_residual := rank_gradient(self.train_config, residual)) is not None:
            outputs, d_outputs = [logits, residual], [d_logits, d_residual]
        # An intervention can leave a parameter without effect: its gradient is zero.
        gradients = torch.autograd.grad(
            outputs,
            list(self._leaves.values()),
            d_outputs,
            allow_unused=True,
            materialize_grads=True,
        )
        gradient = torch.cat([part.flatten(1) for part in gradients], dim=1)
        return Scored(losses, correct(logits.detach(), batch.labels)), gradient

    def _runs(self, active: Sequence[Intervention]) -> Runs:
        return Runs(
            self.model_config,
            self.train_config,
            {**self._constants, **self._leaves},
            self._scale,
            bool(active),
        )

    def _active(self) -> tuple[Intervention, ...]:
        return tuple(item for item in self.train_config.interventions if item.active(self.epoch))

    @torch.no_grad()
    def _test(self, active: Sequence[Intervention]) -> Scored:
        tokens, labels = self._test_tokens, self._test_labels
        if all(map(_on_fast_path, active)):
            batch = Batch(tokens, labels)
            return evaluate(
                self._runs(active), batch, self._workers, self._initial, self._test_reads
            )
        # A hook may mix the examples of a batch, so that it must see all of them at once.
        logits, _ = self._forward_hooked(self._leaves, tokens, active)
        before = None
        if self._initial is not None:
            before, _ = last_position(self.model_config, self._initial, tokens, self._scale)
        losses = losses_of_examples(self.train_config, logits, labels, before)
        return Scored(losses, correct(logits, labels))

    @cached_property
    def _model(self) -> HookedTransformer:
        # Only here: importing TransformerLens takes seconds.
        from grokinterp.model.build import build_model

        config, recipe = self.model_config, self.train_config
        return build_model(config, self._task, 0, recipe.dtype, recipe.device)

    def _forward_hooked(
        self, weights: Weights, tokens: Int[Tensor, "run batch 3"], active: Sequence[Intervention]
    ) -> tuple[Float[Tensor, "run batch d_vocab"], Float[Tensor, "run batch d_model"]]:
        """The HookedTransformer itself, under torch.func, with the interventions attached."""
        weights = {**self._constants, **weights}
        last = f"blocks.{self.model_config.n_layers - 1}.hook_resid_post"
        model = self._model  # Built outside of vmap.

        def one_run(
            weights: Weights, tokens: Int[Tensor, "batch 3"], scale: Float[Tensor, ""]
        ) -> tuple[Tensor, Tensor]:
            seen: list[Tensor] = []
            with model.hooks(
                fwd_hooks=[
                    *collect_hooks(model, active),
                    (last, lambda x, hook: seen.append(x[:, -1])),
                ]
            ):
                logits = functional_call(model, weights, (tokens,))
            return logits[:, -1] * (scale / self.model_config.readout_scale), seen[0]

        if tokens.shape[0] == 1:
            one = {name: value[0] for name, value in weights.items()}
            logits, residual = one_run(one, tokens[0], self._scale[0])
            return logits[None], residual[None]
        return vmap(one_run, randomness="different")(weights, tokens, self._scale)

    def _report(
        self, losses: list[list[float]], row: Float[Tensor, "metric run"] | None
    ) -> list[Report]:
        """The only place that waits for the device."""
        columns = None if row is None else row.T.tolist()
        reports = []
        for i, run in enumerate(self.configs):
            values = None if columns is None else dict(zip(METRICS, columns[i], strict=True))
            history = [epoch_losses[i] for epoch_losses in losses]
            reports.append(self._judge(i, run, history, values))
        return reports

    def _judge(self, i: int, run: int, losses: list[float], row: Row | None) -> Report:
        first = self.epoch - len(losses) + 1
        for epoch, loss in enumerate(losses, start=first):
            if not math.isfinite(loss):
                message = f"diverged at epoch {epoch}: train_loss is {loss}"
                return Report(run, epoch, None, "diverged", message)
        for name, value in (row or {}).items():
            if not math.isfinite(value):
                message = f"diverged at epoch {self.epoch}: {name} is {value}"
                return Report(run, self.epoch, None, "diverged", message)
        # At these epochs alone: what else is recorded must not end a run earlier.
        judged = self.train_config.is_judged(self.epoch)
        rule = self.train_config.stop_rule if judged else None
        if rule is not None and row is not None:
            if not rule.met(row[rule.metric]):
                self._rule_met_since[i] = None
            elif self._rule_met_since[i] is None:
                self._rule_met_since[i] = self.epoch
        since = self._rule_met_since[i]
        if self.epoch == self.train_config.epochs:
            return Report(run, self.epoch, row, "finished")
        if rule is not None and since is not None and self.epoch - since >= rule.hold:
            message = f"stopped at epoch {self.epoch}: {self.train_config.stop_when}"
            return Report(run, self.epoch, row, "stopped", message)
        return Report(run, self.epoch, row, "running")
