"""Probes that are recorded while a run trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from grokinterp.config import RunConfig
from grokinterp.hooks import acting, applied, attach
from grokinterp.hooks.intervention import Intervention
from grokinterp.model.build import build_model
from grokinterp.model.transformer import HookedTransformer
from grokinterp.probes.calls import expand
from grokinterp.probes.measurement import Measurement, measure
from grokinterp.snapshot import NotApplicable, Other, Snapshot


class Recorder:
    """Runs a config's probes on its run as it trains: on its weights, under its interventions."""

    def __init__(self, config: RunConfig, initial: Mapping[str, Tensor]) -> None:
        self._config = config
        self._probes = {name: expand([name]) for name in config.train.probes}
        self._model = _build(config)
        start = _build(config)
        start.load_state_dict(dict(initial), strict=False)
        attach(start, acting(config.train.interventions, 0))
        self._initial = self._snapshot(start, 0)

    def check(self) -> None:
        """ValueError if one of its probes does not apply to this run, before it trains."""
        config, found = self._config, [self._measure(self._initial, [*self._probes])]
        for active in _attached_in_turn(config)[1:]:
            self._model.load_state_dict(self._initial.model.state_dict())
            shot = self._snapshot(self._model, 0)
            with applied(self._model, active):
                found.append(self._measure(shot, [*self._probes]))
        reasons = {name: one.failures[name] for one in found for name in one.inapplicable}
        if reasons:
            raise ValueError(
                f"cannot record while {config.name} trains: "
                f"{'; '.join(f'{name}: {reason}' for name, reason in sorted(reasons.items()))}"
            )

    def record(
        self, epoch: int, weights: Mapping[str, Tensor], names: Sequence[str]
    ) -> Measurement:
        """What these of its probes find. One that fails, as on weights that a method does not
        converge on, leaves a gap."""
        config = self._config
        self._model.load_state_dict(dict(weights), strict=False)
        shot = self._snapshot(self._model, epoch)
        with applied(self._model, acting(config.train.interventions, epoch)):
            return self._measure(shot, names)

    def _measure(self, snapshot: Snapshot, names: Sequence[str]) -> Measurement:
        chosen = {str(one): one for name in names for one in self._probes[name]}
        return measure(snapshot, chosen.values())

    def _snapshot(self, model: HookedTransformer, epoch: int) -> Snapshot:
        config = self._config
        return Snapshot(model, config.task, config.seed, epoch, self._other, config.train)

    def _other(self, which: Other) -> Snapshot:
        if which in ("initial", 0):
            return self._initial
        where = (
            f"checkpoint at epoch {which:,}" if isinstance(which, int) else f"{which} checkpoint"
        )
        raise NotApplicable(
            f"it compares with the {where}, which training does not know; record it "
            "afterwards, with grokinterp probe"
        )


def check_interventions(config: RunConfig, weights: Mapping[str, Tensor]) -> None:
    """ValueError if one does not fit the model or the train examples."""
    model = _build(config)
    model.load_state_dict(dict(weights), strict=False)
    tokens = config.task.split(config.seed).train_tokens
    for active in _attached_in_turn(config):
        with torch.no_grad(), applied(model, active):
            model(tokens)


def _build(config: RunConfig) -> HookedTransformer:
    return build_model(config.model, config.task, config.seed, config.train.dtype)


def _attached_in_turn(config: RunConfig) -> list[tuple[Intervention, ...]]:
    """What is attached to the model at its start, and then whatever else at any time."""
    every, epochs = config.train.interventions, config.train.epochs
    turns = {turn for one in every for turn in (one.from_epoch, (one.until_epoch or 0) + 1)}
    sets = [acting(every, turn) for turn in (0, *sorted(turns)) if turn <= epochs]
    return list(dict.fromkeys(sets))
