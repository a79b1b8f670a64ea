"""What a run begins from: its seed, given weights, or a checkpoint; and whether that fits it.

A run that goes on from its last save is opened in train.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from grokinterp.component import Unknown
from grokinterp.config import RunConfig
from grokinterp.model.parameters import CONSTANTS, initial_weights
from grokinterp.optimizer_path import split_optimizer
from grokinterp.store.checkpoint import OPTIMIZER, Checkpoint
from grokinterp.store.files import fingerprint
from grokinterp.store.state import RunState, Weights
from grokinterp.store.store import Store
from grokinterp.training.update import filter_slot

if TYPE_CHECKING:
    from grokinterp.model.transformer import HookedTransformer


@dataclass(frozen=True)
class Derived:
    """Weights that are identified by how they are made, and made only where a run misses them.

    A run's identity is then known before its weights are, and is the same on every machine.
    """

    name: str
    """Says which weights, from which run and epoch, and how they were changed."""
    make: Callable[[], Mapping[str, Tensor]]


# A HookedTransformer is such a module; importing its class takes seconds, and most runs need none.
Init = torch.nn.Module | Mapping[str, Tensor] | Checkpoint | Derived


def started(config: RunConfig, init: Init | None) -> RunConfig:
    """The config, with what it starts from as part of its identity."""
    if init is None:
        return config
    if isinstance(init, Derived):
        return replace(config, start=init.name)
    parameters = _parameters(config, init)  # refuses what does not fit, before anything is written
    if isinstance(init, Checkpoint):
        _check_optimizer(config, init)
        return replace(config, start=init.fingerprint)
    return replace(config, start=fingerprint(parameters))


def _check_optimizer(config: RunConfig, init: Checkpoint) -> None:
    """ValueError if a fork would take another optimiser's or filter's state for its own."""
    mine, its = (
        "adam" if one in ("adamw", "adam") else split_optimizer(one)[0]
        for one in (config.train.optimizer, init.optimizer_name)
    )
    if init.optimizer is not None and mine != its:
        raise ValueError(
            f"{init.origin} was trained by {init.optimizer_name}, whose state {config.name} cannot "
            f"go on with by {config.train.optimizer}; start it from the weights alone: "
            "init=checkpoint.weights"
        )
    kept = {} if init.optimizer is None else init.optimizer.optimizer
    its_filters, my_filters = init.gradient_filters, config.train.gradient_filters
    for place, one in enumerate(its_filters):
        remembers = any(slot.startswith(filter_slot(place, "")) for slot in kept)
        same = [type(other) for other in my_filters[place : place + 1]] == [type(one)]
        if remembers and not same and any(other.remembers for other in my_filters):
            raise ValueError(
                f"{init.origin} was trained with gradient_filters={its_filters}, whose memory "
                f"{config.name} cannot go on with by {my_filters}; give them in the same places, "
                "or start it from the weights alone: init=checkpoint.weights"
            )


def start_state(config: RunConfig, init: Init | None, store: Store) -> RunState:
    """Where a run begins, checked against its config; from the store where `init` is not given."""
    for part in config.train.components:
        if isinstance(part, Unknown):
            raise ValueError(part.reason)
    if init is None and config.start == "seed":
        start = RunState.initial(
            initial_weights(config.model, config.task, config.drawn_by, config.train.dtype)
        )
        _check_interventions(config, start.weights)
        return start
    if init is None:
        init = _begun(config, store)
    if isinstance(init, Derived):
        init = init.make()
    start = RunState.initial(_parameters(config, init))
    _check_interventions(config, start.weights)
    if isinstance(init, Checkpoint) and init.optimizer is not None:
        start.optimizer = _in_precision_of(start.weights, init)
        start.steps = init.optimizer.steps
    return start


def _in_precision_of(weights: Weights, init: Checkpoint) -> dict[str, Weights]:
    """What the optimiser of a fork's parent keeps of its weights, in the precision of the fork's.

    A step count stays as it is.
    """
    assert init.optimizer is not None
    [was], [now] = ({value.dtype for value in of.values()} for of in (init.weights, weights))

    def converted(value: Tensor) -> Tensor:
        return value.to(now) if value.ndim and value.dtype == was else value

    return {
        slot: {name: converted(value) for name, value in by_name.items()}
        for slot, by_name in init.optimizer.optimizer.items()
    }


def _check_interventions(config: RunConfig, weights: Mapping[str, Tensor]) -> None:
    """ValueError if one does not fit the model or the train examples."""
    if config.train.interventions:
        from grokinterp.training.recorder import check_interventions

        check_interventions(config, weights)


def _begun(config: RunConfig, store: Store) -> Checkpoint:
    """What a run began with that did not begin from its seed, as a recording of it kept it."""
    for run in store.recordings(config.id):
        if 0 in run.checkpoint_epochs:
            start = run.checkpoint(0)
            # Without its parent's moments it would be another training.
            if start.optimizer is not None or OPTIMIZER not in config.start:
                return start
    raise ValueError(
        f"run {config.id} starts from the weights {config.start!r}, and the store does not hold "
        "all of them; give them as init"
    )


def _parameters(
    config: RunConfig, init: torch.nn.Module | Mapping[str, Tensor] | Checkpoint
) -> dict[str, Tensor]:
    """The parameters of `init`, checked by name, shape and value against the architecture's.

    Of a model, whatever else it computes with them too; weights alone are the user's choice.
    """
    from grokinterp.model.build import build_model
    from grokinterp.model.difference import differences

    if isinstance(init, Checkpoint):
        given = dict(init.weights)
    elif isinstance(init, torch.nn.Module):
        given = dict(init.state_dict())
    else:
        given = dict(init)
    given = {name: v for name, v in given.items() if name.split(".")[-1] not in CONSTANTS}
    model = build_model(config.model, config.task, config.seed, config.train.dtype)
    expected = _named_parameters(model)
    buffers = dict(model.named_buffers())
    problems = [f"{name} is missing" for name in expected if name not in given]
    problems += [
        f"{name} is not a parameter of this architecture"
        for name in given
        if name not in expected and name not in buffers
    ]
    problems += [
        f"{name} must be {tuple(value.shape)} but is {tuple(given[name].shape)}"
        for name, value in expected.items()
        if name in given and given[name].shape != value.shape
    ]
    problems += [
        f"{name} must be zero (the paper's model has no such bias)"
        for name, value in given.items()
        if name in buffers and name.split(".")[-1].startswith("b_") and bool(value.any())
    ]
    problems += [
        f"{name} must be finite"
        for name in expected
        if name in given and not bool(given[name].isfinite().all())
    ]
    problems += [
        f"{name} must be {value:g} (the config's final_norm is center-only)"
        for name, value in (("ln_final.w", 1.0), ("ln_final.b", 0.0))
        if config.model.final_norm == "center-only"
        and name in given
        and bool((given[name] != value).any())
    ]
    advice = "Give weights of the same architecture"
    if isinstance(init, torch.nn.Module) and not problems:
        problems = differences(cast("HookedTransformer", init), model)
        advice = "Give a model of the config, or the weights alone, by model.state_dict()"
    if problems:
        raise ValueError(
            f"init does not fit {config.model.placement}: {'; '.join(problems)}. {advice}"
        )
    return {
        name: given[name].detach().to("cpu", value.dtype, copy=True)
        for name, value in expected.items()
    }


def _named_parameters(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}
