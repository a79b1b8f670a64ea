"""An optimiser by its import path: a class of torch.optim, or one like it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from grokinterp.config import TrainConfig
from grokinterp.optimizer_path import find_class, split_optimizer
from grokinterp.store.state import RunState, Weights
from grokinterp.training.layout import Layout, Vectors
from grokinterp.training.optimizer import Column

GROUP = "group"
"""Under which numbers of the parameter group are kept, such as a count of steps."""

FORMS = ("state", "number")
"""With which the name of what it keeps of a parameter begins."""

NUMBERS = {bool: torch.bool, int: torch.int64, float: torch.float64}


class OptimizerByPath:
    """An optimiser of the class for each run, over the run's own parameters.

    What it keeps must be tensors and numbers, by parameter or in its group.

    Args:
        recipe: Whose `optimizer` is the path, with options.
        layout: Of the parameters.
        states: What each run goes on from.
    """

    def __init__(self, recipe: TrainConfig, layout: Layout, states: Sequence[RunState]) -> None:
        self.layout = layout
        self._make = _maker(recipe)
        self._states = states
        self._steps = [state.steps for state in states]
        self._optimizers: list[torch.optim.Optimizer] = []
        self._parameters: list[dict[str, torch.nn.Parameter]] = []
        self._begun: list[dict[str, Any]] = []
        """The numbers of each group as its options make them."""

    def step(self, theta: Vectors, gradient: Vectors, lr: Column, weight_decay: Column) -> None:
        """Update theta in place."""
        if not self._optimizers:
            self._begin(theta, lr, weight_decay)
        gradients = self.layout.views(gradient)
        for run, optimizer in enumerate(self._optimizers):
            for name, parameter in self._parameters[run].items():
                parameter.grad = gradients[name][run]
            [group] = optimizer.param_groups
            group["lr"] = lr[run].item()
            if "weight_decay" in group:
                group["weight_decay"] = weight_decay[run].item()
            with torch.enable_grad():  # As where users call it.
                optimizer.step()
            self._steps[run] += 1

    def kept(self, run: int) -> tuple[dict[str, Weights], int]:
        """Copies of what it keeps of a run, by name and parameter, and its step count."""
        if not self._optimizers:
            return self._states[run].optimizer, self._steps[run]
        optimizer, kept = self._optimizers[run], dict[str, Weights]()
        for name, parameter in self._parameters[run].items():
            for key, value in optimizer.state.get(parameter, {}).items():
                slot, tensor = _written(key, value)
                kept.setdefault(slot, {})[name] = tensor
        # What came of its options is not kept: a fork has options of its own.
        if numbers := {
            key: _written(key, value)[1]
            for key, value in _counted(optimizer).items()
            if value != self._begun[run].get(key)
        }:
            kept[GROUP] = numbers
        return kept, self._steps[run]

    def _begin(self, theta: Vectors, lr: Column, weight_decay: Column) -> None:
        views = self.layout.views(theta)
        for run, state in enumerate(self._states):
            # Of the same memory: what the optimiser changes in place is theta.
            parameters = {name: torch.nn.Parameter(view[run]) for name, view in views.items()}
            optimizer = self._make([*parameters.values()], lr[run].item(), weight_decay[run].item())
            self._begun.append(_counted(optimizer))
            for slot, by_name in state.optimizer.items():
                if slot == GROUP:
                    optimizer.param_groups[0] |= {k: one.item() for k, one in by_name.items()}
                    continue
                form, _, key = slot.partition(" ")
                if form not in FORMS:  # A gradient filter's.
                    continue
                for name, tensor in by_name.items():
                    if name in parameters:  # A fork may freeze what its parent trained.
                        value = _read(form, tensor, parameters[name].device)
                        optimizer.state[parameters[name]][key] = value
            self._parameters.append(parameters)
            self._optimizers.append(optimizer)
        self._states = ()


def check_optimizer(recipe: TrainConfig) -> None:
    """ValueError if the class cannot train: it takes other arguments or shapes, or a run would not
    go on from what can be stored as if it had not been interrupted."""
    path, _ = split_optimizer(recipe.optimizer)
    shapes = {"matrix": (3, 2), "heads": (2, 3, 2), "bias": (2,)}
    layout = Layout(
        {name: torch.Size(shape) for name, shape in shapes.items()},
        torch.device("cpu"),
        torch.float64,
    )
    lr, decay = (torch.full((1, 1), value, dtype=torch.float64) for value in (0.01, 0.0))
    draw = torch.Generator().manual_seed(0)
    begun, *gradients = torch.randn(4, *layout.zeros(1).shape, generator=draw, dtype=lr.dtype)
    try:
        tried = OptimizerByPath(recipe, layout, [RunState.initial({})])
        theta = begun.clone()
        tried._begin(theta, lr, decay)
        before = _told(tried)
        tried.step(theta, gradients[0].clone(), lr, decay)
        kept, steps = tried.kept(0)
        resumed = OptimizerByPath(recipe, layout, [RunState(1, {}, kept, steps)])
        again = theta.clone()
        for gradient in gradients[1:]:
            tried.step(theta, gradient.clone(), lr, decay)
            resumed.step(again, gradient.clone(), lr, decay)
        changed = [name for name, value in _told(tried).items() if before.get(name) != value]
    except Exception as error:
        raise ValueError(
            f"optimizer {path} cannot train here: {type(error).__name__}: {error}"
        ) from error
    if changed:
        raise ValueError(
            f"optimizer {path} cannot train here: of its group only numbers can be stored, and it "
            f"changes {', '.join(changed)}"
        )
    if not math.isfinite(theta.sum().item()) or torch.equal(theta, begun):
        raise ValueError(
            f"optimizer {path} cannot train here: three steps take weights of "
            f"{begun.flatten().tolist()[:3]}… to {theta.flatten().tolist()[:3]}…"
        )
    if not torch.equal(theta, again):
        raise ValueError(
            f"optimizer {path} cannot train here: an interrupted run would go on otherwise, "
            "because it draws at random or keeps something outside of its state and its group"
        )


def _told(optimizer: OptimizerByPath) -> dict[str, str]:
    """What of the group is no number, written out."""
    [group] = optimizer._optimizers[0].param_groups
    return {
        key: repr(value)
        for key, value in group.items()
        if key != "params" and type(value) not in NUMBERS
    }


def _maker(recipe: TrainConfig) -> Callable[[list[Any], float, float], torch.optim.Optimizer]:
    path, options = split_optimizer(recipe.optimizer)
    kind = find_class(path)
    takes = inspect.signature(kind).parameters
    any_name = any(one.kind is one.VAR_KEYWORD for one in takes.values())
    if unknown := [name for name in options if name not in takes and not any_name]:
        raise ValueError(
            f"optimizer {path} has no option {', '.join(unknown)}; it takes "
            f"{', '.join(name for name in takes if name not in ('self', 'params'))}"
        )
    decays = "weight_decay" in takes
    if recipe.weight_decay and not decays:
        raise ValueError(
            f"optimizer {path} has no weight decay; give weight_decay=0, got {recipe.weight_decay}"
        )

    def make(parameters: list[Any], lr: float, weight_decay: float) -> torch.optim.Optimizer:
        rates = {"lr": lr} | ({"weight_decay": weight_decay} if decays else {})
        return kind(parameters, **rates, **options)

    return make


def _counted(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The numbers of its group but for the rates, which the recipe gives anew at each step."""
    [group] = optimizer.param_groups
    return {
        key: value
        for key, value in group.items()
        if key not in ("lr", "weight_decay") and type(value) in NUMBERS
    }


def _written(key: str, value: Any) -> tuple[str, Tensor]:
    """A slot's name, and the value as a tensor."""
    if isinstance(value, Tensor):
        return f"state {key}", value.detach().cpu().clone()
    if type(value) in NUMBERS:
        return f"number {key}", torch.tensor(value, dtype=NUMBERS[type(value)])
    raise TypeError(
        f"what it keeps must be tensors and numbers, to be stored; {key} is {type(value).__name__}"
    )


def _read(form: str, tensor: Tensor, device: torch.device) -> Any:
    if form == "number":
        return tensor.item()
    # A count of steps lies on the CPU, where PyTorch keeps it.
    return tensor.clone() if tensor.ndim == 0 else tensor.to(device, copy=True)
