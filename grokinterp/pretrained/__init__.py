"""Trained models that ship with the package: the nine named placements, seed 456.

init.safetensors                  the initial weights, which all nine share, name by name
<placement>.<stage>.safetensors   memorised, grokked
card.json                         of each: config, provenance, epochs, accuracies, checksums

The metrics of the runs that they come from ship in grokinterp.results.
`python -m grokinterp.pretrained RUNS` rebuilds them from a run store, and trains what it misses.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from torch import Tensor

from grokinterp.checks import check_one_of
from grokinterp.config import RunConfig
from grokinterp.model.build import build_model
from grokinterp.model.transformer import PlacedTransformer
from grokinterp.placement import PLACEMENTS, resolve_placement
from grokinterp.results import shipped
from grokinterp.snapshot import NotApplicable, Other, Snapshot
from grokinterp.store.files import fingerprint, read_json, read_tensors

Stage = Literal["init", "memorised", "grokked"]
FOLDER = Path(__file__).parent


def load_pretrained(placement: str = "mlp-pre", stage: Stage = "grokked") -> PlacedTransformer:
    """A model of the paper at p = 113, trained by its recipe: (a + b) mod 113, LN, seed 456.

    Args:
        placement: off, attn-pre, pre, mlp-pre, attn-pre-qk, attn-pre-v, pre-v, post or peri, or a
            paper name.
        stage: `init`: before training. `memorised`: the first checkpoint that knows its training
            pairs. `grokked`: after 10,000 epochs, whether or not it has generalised by then; the
            card says.

    Raises:
        ValueError: There is no such model; the message names those that there are.
    """
    name = _known(placement, stage)
    config = RunConfig.from_dict(pretrained_card(name)["config"])
    model = build_model(config.model, config.task, config.seed, config.train.dtype)
    model.load_state_dict(_weights(name, stage, model), strict=False)
    return model


def pretrained_snapshot(placement: str = "mlp-pre", stage: Stage = "grokked") -> Snapshot:
    """The same as what probes take; it knows the other stages, by their epochs too.

    The checkpoint before a stage's (`previous`) does not ship.

    Args:
        placement: As of `load_pretrained`.
        stage: init, memorised or grokked.

    Raises:
        ValueError: There is no such model; the message names those that there are.
    """
    name = _known(placement, stage)
    card = pretrained_card(name)
    config = RunConfig.from_dict(card["config"])

    epochs = {one: card["stages"][one]["epoch"] for one in get_args(Stage)}

    def other(which: Other) -> Snapshot:
        named: dict[Other, Stage] = {"initial": "init", "final": "grokked"}
        known = named | {epoch: one for one, epoch in epochs.items()}
        if which not in known:
            wanted = f"epoch {which:,}" if isinstance(which, int) else f"the {which} checkpoint"
            shipped = ", ".join(f"{epoch:,} ({one})" for one, epoch in epochs.items())
            raise NotApplicable(
                f"{wanted} of the pretrained {name} does not ship; compare with one of {shipped}"
            )
        return _snapshot(name, known[which])

    return Snapshot(
        load_pretrained(name, stage), config.task, config.seed, epochs[stage], other, config.train
    )


def pretrained_card(placement: str) -> dict[str, Any]:
    """How a pretrained model was made, and what it became: config, epochs, accuracies.

    Args:
        placement: As of `load_pretrained`.

    Raises:
        ValueError: There is no such model; the message names those that there are.
    """
    return _cards()[_known(placement, "init")]


def pretrained_metrics(placement: str) -> pd.DataFrame:
    """The metrics of the run that a pretrained model comes from, as `Run.metrics`.

    Args:
        placement: As of `load_pretrained`.

    Raises:
        ValueError: There is no such model; the message names those that there are.
    """
    run = shipped(pretrained_card(placement)["run"])
    assert run is not None
    return run.metrics


# Kept, because every stage is compared with the same ones.
_snapshot = cache(pretrained_snapshot)


@cache
def _cards() -> dict[str, dict[str, Any]]:
    return read_json(FOLDER / "card.json")["models"]


def _weights(name: str, stage: Stage, model: PlacedTransformer) -> dict[str, Tensor]:
    file = "init" if stage == "init" else f"{name}.{stage}"
    found, _ = read_tensors(FOLDER / f"{file}.safetensors")
    # The initial weights hold the norms of every placement.
    weights = {key: value for key, value in found.items() if key in dict(model.named_parameters())}
    if fingerprint(weights) != pretrained_card(name)["stages"][stage]["fingerprint"]:
        raise ValueError(
            f"{FOLDER / file}.safetensors is not what the card describes; install grokinterp anew"
        )
    return weights


def _known(placement: str, stage: str) -> str:
    name = resolve_placement(placement).name
    if name not in _cards():
        raise ValueError(
            f"no pretrained model for placement {placement!r}; there are "
            f"{', '.join(one for one in PLACEMENTS if one in _cards())}"
        )
    check_one_of("stage", stage, get_args(Stage))
    return name
