"""Checkpoints that ship of two runs while they grok: No LN and LN before the MLP, seed 1.

<placement>.<epoch>.safetensors   the weights, rounded to float16
evolution.json                    of each run: config, provenance, when it memorised and
                                  generalised; of each checkpoint: accuracies, checksum

`python -m grokinterp.pretrained RUNS` rebuilds them, and trains what the store misses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Any

from grokinterp.config import RunConfig
from grokinterp.model.build import build_model
from grokinterp.placement import resolve_placement
from grokinterp.pretrained import FOLDER
from grokinterp.snapshot import NotApplicable, Other, Snapshot
from grokinterp.store.files import fingerprint, read_json, read_tensors

EVOLVED = ("off", "mlp-pre")


class Evolution(Mapping[int, Snapshot]):
    """A run's snapshots by epoch, ascending. Each is loaded when it is asked for, and not kept:
    one that was measured holds its activations for all inputs.

    Args:
        card: How the run was made, and what it became: config, provenance, epochs, accuracies.
    """

    def __init__(self, card: dict[str, Any]) -> None:
        self.card = card
        self._config = RunConfig.from_dict(card["config"])
        self._epochs = [int(epoch) for epoch in card["checkpoints"]]

    def __getitem__(self, epoch: int) -> Snapshot:
        if epoch not in self._epochs:
            raise KeyError(f"no checkpoint of epoch {epoch} ships; choose one of {self._listed}")
        config = self._config
        model = build_model(config.model, config.task, config.seed, config.train.dtype)
        file = FOLDER / f"{config.model.placement}.{epoch}.safetensors"
        weights, _ = read_tensors(file)
        if fingerprint(weights) != self.card["checkpoints"][str(epoch)]["fingerprint"]:
            raise ValueError(f"{file} is not what the card describes; install grokinterp anew")
        model.load_state_dict(weights, strict=False)
        other = partial(self._other, epoch)
        return Snapshot(model, config.task, config.seed, epoch, other, config.train)

    def _other(self, epoch: int, which: Other) -> Snapshot:
        named: dict[Other, int] = {"initial": self._epochs[0], "final": self._epochs[-1]}
        wanted = named.get(which, which)
        if not isinstance(wanted, int) or wanted not in self._epochs:
            what = f"epoch {which:,}" if isinstance(which, int) else f"the {which} checkpoint"
            raise NotApplicable(
                f"{what} of this run does not ship; compare with one of {self._listed}"
            )
        return self[wanted]

    @property
    def _listed(self) -> str:
        return ", ".join(f"{epoch:,}" for epoch in self._epochs)

    def __iter__(self) -> Iterator[int]:
        return iter(self._epochs)

    def __len__(self) -> int:
        return len(self._epochs)

    def __repr__(self) -> str:
        return f"Evolution({self._config.name!r}, epochs={self._epochs})"


def pretrained_evolution(placement: str = "mlp-pre") -> Evolution:
    """A model of the paper at p = 113 while it groks, as snapshots by epoch.

    From before training to the end of its 10,000 epochs: most of the checkpoints lie between
    memorising and generalising, and none in a spike that had undone what the model knew.
    (a + b) mod 113, LN, the paper's recipe, seed 1: other runs than those of `pretrained_snapshot`.
    To be small, their weights are rounded to float16, which moves no logit by more than 0.005 of
    the logits' standard deviation; the card's accuracies are those of the rounded weights.

    Args:
        placement: off or mlp-pre, or the paper's name of one.

    Returns:
        A mapping from epochs to snapshots; `.card` says how the run was made, and when it memorised
        and generalised.

    Raises:
        ValueError: No run of this placement ships; the message names those that do.

    Examples:
        >>> list(pretrained_evolution("mlp-pre"))
        [0, 136, 265, 331, 414, 500, 646, 1500, 3852, 9500]

        Its circles as they form, behind a slider::

            circuits.over_checkpoints(
                {
                    epoch: circuits.frequency_circles(shot, [7, 21, 45])
                    for epoch, shot in pretrained_evolution("mlp-pre").items()
                }
            )
    """
    name = resolve_placement(placement).name
    if name not in _cards():
        raise ValueError(
            f"no evolution of placement {placement!r} ships; there are {', '.join(_cards())}"
        )
    return Evolution(_cards()[name])


@cache
def _cards() -> dict[str, dict[str, Any]]:
    return read_json(FOLDER / "evolution.json")["models"]
