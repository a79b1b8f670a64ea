"""Carry a run store of format 1 over to format 2: python -m grokinterp.upgrade STORE.

In format 1 a run's id was a hash of what differed from the defaults, of what was recorded too. Its
runs get their present ids; no number is touched, and where it was made stays unknown. What cannot
be carried over is moved to STORE/format-1. A killed upgrade is finished by the same command.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from grokinterp.config import identity
from grokinterp.definition import is_own
from grokinterp.experiments import EXPERIMENTS
from grokinterp.files import (
    StoreError,
    checksum,
    fingerprint,
    read_json,
    read_tensors,
    write_json,
)
from grokinterp.hooks import INTERVENTIONS
from grokinterp.lock import RunLock
from grokinterp.measurement import Probing
from grokinterp.probes import PROBES
from grokinterp.provenance import Provenance
from grokinterp.recording import folder_name
from grokinterp.records import FIRST
from grokinterp.runs import FORMAT

# Of format 1, whatever they are now.
DEFAULTS: dict[str, dict[str, Any]] = {
    "task": {"p": 113, "operation": "add", "test_fraction": 0.7, "operand": 1, "train_pairs": None},
    "model": {
        "placement": "mlp-pre",
        "norm": "layer",
        "n_layers": 1,
        "d_model": 128,
        "n_heads": 4,
        "d_mlp": 512,
        "final_norm": "none",
        "tied_unembedding": False,
        "gated_mlp": False,
        "freeze_ln": False,
        "readout_scale": 1.0,
        "init": "lecun",
        "weight_init_scale": 1.0,
    },
    "train": {
        "epochs": 10_000,
        "lr": 1e-3,
        "weight_decay": 1.0,
        "betas": [0.9, 0.98],
        "adam_eps": 1e-8,
        "couple_lr_to_readout": False,
        "couple_decay_to_lr": False,
        "reference_lr": 1e-3,
        "subtract_initial_prediction": False,
        "loss_logit_scale": 1.0,
        "effective_rank_penalty": 0.0,
        "eval_every": 10,
        "checkpoint_every": 100,
        "checkpoint_epochs": [],
        "checkpoint_ratio": None,
        "keep_optimizer": False,
        "stop_when": None,
        "dtype": "float32",
        "loss_dtype": None,
        "device": "cpu",
        "probes": {},
        "interventions": [],
    },
}
CHEAP = (
    "attention_entropy",
    "compressibility",
    "fourier_concentration",
    "head_similarity",
    "logit_scale",
    "norms",
    "shortcut:split=train",
    "softmax_collapse",
)

OLD_NAME = re.compile(r"[0-9a-f]{16}")
FORK = re.compile(r"([0-9a-f]{16})@(\d+)(, .*|(?:\+optimizer)?:)([0-9a-f]{16})?")
EARLIER = "format_1_id"
"""The id that a run had, in its provenance."""


def upgrade(path: Path, parents: Mapping[str, str] | None = None) -> list[str]:
    """Carry a store over.

    Args:
        path: The store's folder.
        parents: New ids by old ones, of runs that forks in the store name and it does not hold.

    Returns:
        A sentence for each run that was not, or not wholly, carried over.

    Raises:
        StoreError: The folder is no store of format 1 or 2, or a run of it is being trained.
    """
    marker, plan = path / "store.json", path / "upgrade.json"
    found = read_json(marker).get("format")
    if found not in (1, FORMAT):
        raise StoreError(f"the store at {path} has format {found!r}; only format 1 is carried over")
    if not plan.exists():
        write_json(plan, _Plan(path, parents or {}).made)
    made = read_json(plan)
    for name, one in made["runs"].items():
        if (path / name).exists():
            _carry(path, name, one)
    for name in made["left"]:
        if (path / name).exists():
            (path / "format-1").mkdir(exist_ok=True)
            (path / name).rename(path / "format-1" / name)
    plan.unlink()
    write_json(marker, {"format": FORMAT})
    return [f"run {name}: {said}" for name, said in (made["left"] | made["said"]).items()]


def old_identity(data: Mapping[str, Any]) -> str:
    """A run's id in format 1."""
    changed = {"seed": data["seed"], "start": data["start"]} | {
        part: {name: v for name, v in data[part].items() if v != default[name]}
        for part, default in DEFAULTS.items()
    }
    canonical = json.dumps(changed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def old_fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Of tensors in format 1, by name and value."""
    return checksum(tensors, "")[:16]


class _Plan:
    """What becomes of each run, settled before any is changed."""

    def __init__(self, path: Path, parents: Mapping[str, str]) -> None:
        self._path = path
        names = (file.parent.name for file in sorted(path.glob("*/config.json")))
        self._names = [name for name in names if OLD_NAME.fullmatch(name)]
        self._parents = {**parents, **_carried_before(path)}
        self._configs: dict[str, dict[str, Any]] = {}
        runs: dict[str, dict[str, Any]] = {}
        self.made: dict[str, dict[str, Any]] = {"runs": runs, "left": {}, "said": {}}
        taken = {folder.name: folder.name for folder in path.iterdir()}
        for name in self._names:
            self._check_free(name)
            try:
                config = self._config(name)
                defined = _definitions(config["train"]["probes"])
                folder = folder_name(config, defined)
            except (StoreError, KeyError, TypeError, ValueError) as error:
                self._leave(name, f"it cannot be read ({error})")
                continue
            if folder in taken:
                self._leave(name, f"it is the same as {taken[folder]}")
                continue
            taken[folder] = name
            runs[name] = {"folder": folder, "config": config, "definitions": defined}

    def _leave(self, name: str, why: str) -> None:
        self.made["left"][name] = f"{why}, and was moved to {self._path / 'format-1' / name}"

    def _check_free(self, name: str) -> None:
        lock = RunLock(self._path / name)
        if not lock.acquire(wait=False):
            raise StoreError(
                f"{lock.owner} is training run {name} of {self._path}; wait for its end, and run "
                "the same command again"
            )
        lock.release()

    def _config(self, name: str) -> dict[str, Any]:
        """As format 2 writes it."""
        if name not in self._configs:
            data = read_json(self._path / name / "config.json")
            data |= {part: {**default, **data[part]} for part, default in DEFAULTS.items()}
            if old_identity(data) != name:
                raise ValueError("its config.json was changed after the run began")
            train = data["train"]
            train["loss_dtype"] = train["loss_dtype"] or train["dtype"]
            train["interventions"] = [_intervention(item) for item in train["interventions"]]
            data["start"] = self._start(name, data["start"])
            self._configs[name] = data
        return self._configs[name]

    def _start(self, name: str, start: str) -> str:
        """What it began with, as format 2 calls it."""
        fork = FORK.fullmatch(start)
        if fork is not None:
            parent, at, change, weights = fork.groups()
            known = self._new_id(parent)
            if weights is not None:
                there = self._weights(parent, int(at), weights) or self._weights(name, 0, weights)
                change = None if there is None else f"{change}{there}"
            found = None if known is None or change is None else f"{known}@{at}{change}"
        else:
            found = self._weights(name, 0, start) if OLD_NAME.fullmatch(start) else start
        if found is None:
            self.made["said"][name] = (
                f"what it began with, {start}, is not here, so it keeps that name for it, under "
                "which no new run begins"
            )
        return found or start

    def _new_id(self, parent: str) -> str | None:
        if parent not in self._names:
            return self._parents.get(parent)
        try:
            return identity(self._config(parent))
        except (StoreError, KeyError, TypeError, ValueError):
            return None

    def _weights(self, name: str, epoch: int, known: str) -> str | None:
        """The fingerprint of a checkpoint, if it is there and is the one that is meant."""
        file = self._path / name / "checkpoints" / f"{epoch:06d}.safetensors"
        if not file.exists():
            return None
        tensors, _ = read_tensors(file)
        weights = {key: value for key, value in tensors.items() if ":" not in key}
        return fingerprint(weights) if old_fingerprint(weights) == known else None


def _carry(path: Path, name: str, planned: Mapping[str, Any]) -> None:
    """The folder's new name comes last, and says that it is done."""
    folder, config = path / name, planned["config"]
    made = asdict(Provenance(device=config["train"]["device"]))
    trained = {"from_epoch": 0, "probes": planned["definitions"], **made, EARLIER: name}
    write_json(folder / "provenance.json", {"trained": [trained]})
    write_json(folder / "config.json", config)
    for left in ("lock", "owner.json"):
        (folder / left).unlink(missing_ok=True)
    marks = path.glob(f"tracking/*-{name}.json")
    for tracked in [*marks, *path.glob(f"tracking/tensorboard/*/seed-*-{name}")]:
        target = tracked.with_name(tracked.name.replace(name, identity(config)))
        if not target.exists():
            tracked.rename(target)
    folder.rename(path / planned["folder"])


def _carried_before(path: Path) -> dict[str, str]:
    """New ids by old ones, of runs that are carried over already."""
    found = {}
    for file in path.glob("*-*/provenance.json"):
        for stretch in read_json(file)["trained"]:
            if EARLIER in stretch:
                found[stretch[EARLIER]] = file.parent.name.partition("-")[0]
    return found


def _definitions(probes: Mapping[str, int]) -> dict[str, str]:
    """Of the probes that format 1 recorded: all their first."""
    names = [member for name in probes for member in (CHEAP if name == "cheap" else (name,))]
    # A user's own may not be known in this process.
    known = {name for name in names if name.partition(":")[0] in PROBES}
    return {str(Probing.parse(name)) if name in known else name: FIRST for name in names}


def _intervention(item: Mapping[str, Any]) -> dict[str, Any]:
    """A user's own has an unknown definition."""
    known = INTERVENTIONS.get(item["name"])
    own = known is not None and is_own(known)
    return {**item} if own else {**item, "definition": None, "module": None}


def _planned_parents() -> dict[str, str]:
    """New ids by old ones, of the runs that experiments fork."""
    forks = (
        planned.fork
        for experiment in EXPERIMENTS.values()
        for planned in experiment.plan(experiment.seeds)
    )
    parents = {fork.parent for fork in forks if fork is not None}
    return {old_identity(parent.to_dict()): parent.id for parent in parents}


def main(arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        sys.exit("usage: python -m grokinterp.upgrade STORE")
    try:
        said = upgrade(Path(arguments[0]), _planned_parents())
    except StoreError as error:
        sys.exit(f"grokinterp: {error}")
    sys.stdout.write("".join(f"{sentence}\n" for sentence in said))


if __name__ == "__main__":
    main(sys.argv[1:])
