"""The run store: a folder for each recording of a run, named by its id and by what is recorded.

runs/
  store.json                        the format version
  <id>-<recording>/
    config.json                     the RunConfig
    provenance.json                 where its epochs were trained, and how its probes were defined
    status.json                     running, finished, stopped or diverged; at which epoch
    metrics.parquet                 a row for each evaluated epoch
    state.safetensors               where to go on from; gone once the run is over
    checkpoints/000100.safetensors
    probes.parquet                  what probes found on checkpoints (probe_records.py)
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, get_args, overload

import numpy as np
import pandas as pd
from markupsafe import Markup
from torch import Tensor

from grokinterp.config import AS_TEXT, METRICS, RunConfig, as_field, check_field, task_fields
from grokinterp.grokking import GrokkingTimes, Plateau, grokking_times, plateau
from grokinterp.jupyter import accuracy_curves, card, interval, shown, table
from grokinterp.probes.calls import is_current
from grokinterp.store.files import (
    NoStoreError,
    StoreError,
    fingerprint,
    read_json,
    read_table,
    read_tensors,
    remedy,
    write_json,
    write_table,
    write_tensors,
)
from grokinterp.store.lock import RunLock
from grokinterp.store.probe_records import Records
from grokinterp.store.provenance import Provenance, here
from grokinterp.store.recording import amount, asked_of, definitions, folder_name, has_all, recorded
from grokinterp.store.run_names import TASK, cell, labels, varying
from grokinterp.store.state import Row, RunState, Status

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from transformer_lens import HookedTransformer

    from grokinterp.gradient_filter import GradientFilter
    from grokinterp.snapshot import Other, Snapshot

FORMAT = 2

OPTIMIZER = "+optimizer"
"""Says, in what a fork starts from, that it went on with its parent's moments."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a run at an epoch; with the optimiser's state if the run kept it.

    Args:
        weights: By TransformerLens name.
        optimizer: With its state (Adam's moments, SGD's buffer, …), or None.
        origin: `<run id>@<epoch>`.
        optimizer_name: Which optimiser it is.
        gradient_filters: What changed its gradients.
    """

    weights: dict[str, Tensor]
    optimizer: RunState | None
    origin: str
    optimizer_name: str = "adamw"
    gradient_filters: tuple[GradientFilter, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Identity of what a fork starts from."""
        kept = "" if self.optimizer is None else OPTIMIZER
        return f"{self.origin}{kept}:{fingerprint(self.weights)}"


class Run:
    """One run in a store: its config, its metrics, its models.

    A recording of it: another may hold the same run with other epochs or probes recorded.

    Args:
        path: The run's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def config(self) -> RunConfig:
        """How it trains, and what is recorded of it. StoreError if it cannot be read."""
        path = self.path / "config.json"
        data = read_json(path)
        try:
            config = RunConfig.from_dict(data)
        except ValueError as error:
            raise StoreError(
                f"{path} is no config to this version: {error}. Upgrade grokinterp if a later "
                "one wrote it; if it is your own, load the file that registers it (--load FILE on "
                "the command line, import it in Python); if it is neither, restore the file"
            ) from error
        except (AttributeError, KeyError, TypeError) as error:
            raise StoreError(f"{path} describes no run ({error!r}); {remedy(path)}") from error
        name = folder_name(config.to_dict(), self.definitions)
        if name == self.path.name:
            return config
        if re.fullmatch("[0-9a-f]{16}-[0-9a-f]{8}", self.path.name):
            raise StoreError(
                f"{path} describes run {name}, not {self.path.name}; it was changed after "
                f"the run began, so {remedy(path)}"
            )
        raise StoreError(
            f"{self.path} is not the folder of its run, {config.id}, but looks like a copy; move "
            "it out of the store, or give it the run's name if that is not there"
        )

    @property
    def id(self) -> str:
        """Identity: of how it trains, whatever is recorded of it."""
        return self.path.name.partition("-")[0]

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """Where its epochs were trained, one stretch after another.

        Of each: `from_epoch` (it went on from there), `probes` (the definition of each probe that
        is recorded while it trains), and the fields of Provenance; None is not known.
        """
        path = self.path / "provenance.json"
        trained = read_json(path).get("trained")
        if not (isinstance(trained, list) and trained and all(map(_is_stretch, trained))):
            raise StoreError(f"{path} does not say where the run was trained; {remedy(path)}")
        return trained

    @property
    def definitions(self) -> dict[str, str]:
        """The definition of each probe that is recorded while it trains, the same all along."""
        return self.provenance[-1]["probes"]

    @property
    def _status(self) -> dict[str, Any]:
        path = self.path / "status.json"
        if not path.exists():
            return {"status": "new", "epoch": 0, "message": ""}
        data = read_json(path)
        kinds = [type(data.get(name)) for name in ("epoch", "message")]
        if data.get("status") not in get_args(Status) or kinds != [int, str]:
            raise StoreError(f"{path} does not say how far the run is; {remedy(path)}")
        return data

    @property
    def status(self) -> str:
        """new, running (or interrupted), finished, stopped or diverged."""
        return self._status["status"]

    @property
    def is_interrupted(self) -> bool:
        """It was begun and is not over, and no process of this machine trains it."""
        return self.status == "running" and not RunLock(self.path).is_held

    @property
    def message(self) -> str:
        """Why it stopped or diverged; empty otherwise."""
        return self._status["message"]

    @property
    def epoch(self) -> int:
        """How far it is saved."""
        return self._status["epoch"]

    @property
    def state(self) -> str:
        """Its status, for people: one that is running is so only while a process trains it."""
        return "interrupted" if self.is_interrupted else self.status

    @property
    def how_to_go_on(self) -> str:
        """What brings an interrupted run to its end."""
        return (
            f"the command that began it goes on from epoch {self.epoch:,}, and so does "
            f"gi.train(run.config, store={str(self.path.parent)!r})"
        )

    @property
    def is_over(self) -> bool:
        """It has ended, and its metrics are there: without them it is to be trained again."""
        return self.status in ("finished", "stopped", "diverged") and self._metrics.exists()

    @property
    def _metrics(self) -> Path:
        return self.path / "metrics.parquet"

    @property
    def metrics(self) -> pd.DataFrame:
        """A row for each evaluated epoch: epoch, losses, accuracies and norms; probes' values.

        train_loss and train_accuracy are of the parameters before that epoch's update,
        test_loss and test_accuracy of those after it. A probe that was defined otherwise when it
        was recorded has no column here: its values are not what the probe gives now.
        """
        table = self._rows
        recorded = self._recorded(table)
        stale = [name for name, (probe, _, of) in recorded.items() if not is_current(probe, of)]
        return table.drop(columns=stale)

    def _recorded(self, metrics: pd.DataFrame) -> dict[str, tuple[str, str, str]]:
        """The columns of probes, `probe.name` or `probe:option=0.5.name`: the probe, the name of
        the value, and the probe's definition."""
        columns = [str(name) for name in metrics.columns if name not in ("epoch", *METRICS)]
        if not columns:
            return {}
        # The longest last, which counts: one may begin another, as x:option=0 does x:option=0.5.
        probes = sorted(self.definitions.items(), key=lambda item: len(item[0]))
        return {
            column: (probe, column.removeprefix(f"{probe}."), definition)
            for column in columns
            for probe, definition in probes
            if column.startswith(f"{probe}.")
        }

    @property
    def _rows(self) -> pd.DataFrame:
        """The metrics as they were recorded, whatever has become of the probes' definitions."""
        if self.epoch == 0 and not self._metrics.exists():
            return pd.DataFrame(columns=["epoch", *METRICS])
        return read_table(self._metrics)

    @property
    def grokking(self) -> GrokkingTimes:
        """When it memorised and generalised."""
        return grokking_times(self.metrics)

    def plateau(self, name: str) -> Plateau:
        """From where a recorded scalar stands still; see `grokinterp.plateau`.

        Args:
            name: A column of `metrics`.
        """
        return plateau(self.metrics, name)

    def scalar(self, name: str) -> pd.DataFrame:
        """A recorded scalar over epochs: a column of `metrics`, or `probe.name` of `probes`.

        Args:
            name: As `test_accuracy` or `fourier_concentration.value`.

        Returns:
            A row for each epoch that has a value: epoch, and the scalar by its name.

        Raises:
            ValueError: The run holds no such scalar.
        """
        metrics = self.metrics
        if name in metrics and name != "epoch":
            return metrics[["epoch", name]].dropna().reset_index(drop=True)
        found = self.probes
        names = found["probe"].astype(str) + "." + found["name"].astype(str)
        rows = found[names == name]
        if not len(rows):
            known = [str(one) for one in metrics if one != "epoch"] + sorted(set(names))
            close = get_close_matches(name, known, n=3) or known
            raise ValueError(
                f"run {self.id[:8]} holds no scalar {name!r}; choose one of "
                f"{', '.join(dict.fromkeys(close))}"
            )
        table = rows[["epoch", "value"]].rename(columns={"value": name}).dropna()
        return table.sort_values("epoch", ignore_index=True)

    def plot(self, name: str | None = None) -> Figure:
        """Its learning curves, with when it memorised and generalised; or a scalar over epochs.

        Args:
            name: What `scalar` takes; accuracies and losses when not given.

        Raises:
            ValueError: The run holds no such scalar, or has not been evaluated yet.
        """
        if name is not None:
            return Runs([self]).plot(name)
        from grokinterp.figures.learning import learning_curves

        metrics, times = self.metrics, self.grokking
        if metrics.empty:
            raise ValueError(f"run {self.id[:8]} has not been evaluated yet; train it first")
        title = f"{self.config.task}, {self.config.name}"
        picture = learning_curves(metrics, times.memorised.by, times.generalised.by, title=title)
        if self.config.train.loss != "cross-entropy":
            picture.axes[1].set_ylabel(f"{self.config.train.loss} loss")
        return picture

    @shown
    def _repr_html_(self) -> Markup:
        config = self.config
        rows: list[tuple[str, object]] = [("run", self.id), ("folder", self.path)]
        picture, steps = None, []
        try:
            metrics, times = self.metrics, self.grokking
            rows.insert(0, ("status", f"{self.state} at epoch {self.epoch:,}"))
            if self.message:
                rows.insert(1, ("because", self.message))
            rows += [
                ("memorised", f"{interval(times.memorised)} (train accuracy ≥ 0.99)"),
                ("generalised", f"{interval(times.generalised)} (test accuracy ≥ 0.995)"),
            ]
            if self.is_interrupted:
                rows.append(("to go on", self.how_to_go_on))
            if len(metrics):
                last = metrics.iloc[-1]
                accuracies = f"train {last['train_accuracy']:.2%}, test {last['test_accuracy']:.2%}"
                rows.append(("accuracy at the end", accuracies))
                curves = {name: metrics[f"{name}_accuracy"].tolist() for name in ("train", "test")}
                picture = accuracy_curves(metrics["epoch"].tolist(), curves)
                steps += ["run.plot()", "run.metrics"]
        except StoreError as error:
            rows.append(("cannot be read", error))
        epochs = self.checkpoint_epochs
        if epochs:
            rows.append(("checkpoints", f"{len(epochs)}, from epoch {epochs[0]} to {epochs[-1]:,}"))
            steps += ["run.model(epoch)", 'gi.probe(run, ["cheap"])']
        return card(f"{config.name} · {config.task}", rows, picture, steps)

    @property
    def checkpoint_epochs(self) -> tuple[int, ...]:
        # Systems and people put files of other names beside them.
        """The epochs whose weights the store holds, ascending."""
        names = (path.stem for path in self.path.glob("checkpoints/*.safetensors"))
        return tuple(sorted(int(name) for name in names if re.fullmatch(r"\d{6,}", name)))

    def checkpoint(self, epoch: int | None = None) -> Checkpoint:
        """What is saved at an epoch; `train(init=...)` forks it.

        Args:
            epoch: The last that was saved when not given.

        Raises:
            ValueError: There is no checkpoint at the epoch.
            StoreError: The store no longer holds it.
        """
        epoch = self.find_checkpoint(epoch)
        tensors, about = read_tensors(self.checkpoint_path(epoch))
        state = unpack_state(tensors, about)
        # Of earlier versions' files, what is in them says it.
        kept = about.get("optimizer", bool(state.optimizer))
        recipe = self.config.train
        return Checkpoint(
            state.weights,
            state if kept else None,
            f"{self.id}@{epoch}",
            recipe.optimizer,
            recipe.gradient_filters,
        )

    def find_checkpoint(self, epoch: int | None = None) -> int:
        """The epoch, if it has a checkpoint.

        Args:
            epoch: The last that the run saved when not given.

        Raises:
            ValueError: It has none.
            StoreError: The last is no longer there, or no checkpoint is.
        """
        epochs = self.checkpoint_epochs
        if not epochs:
            raise StoreError(f"run {self.id} has no checkpoint yet; train it first")
        wanted = max(self._last_saved, epochs[-1]) if epoch is None else epoch
        if wanted in epochs:
            return wanted
        near = sorted(sorted(epochs, key=lambda other: abs(other - wanted))[:4])
        nearest = f"the nearest are {', '.join(map(str, near))}"
        if epoch is None:
            raise StoreError(
                f"run {self.id} saved its last checkpoint at epoch {wanted}, and the store no "
                f"longer holds it; restore it, or name the epoch that you want: {nearest}"
            )
        raise ValueError(f"run {self.id} has no checkpoint at epoch {epoch}; {nearest}")

    @property
    def _last_saved(self) -> int:
        """The last epoch that had a checkpoint, whether it is still there or not."""
        if self.status in ("finished", "stopped"):
            return self.epoch
        # Of the epoch at which it diverges, a run saves none.
        until = self.epoch - (self.status == "diverged")
        return max(one for one in self.config.train.checkpoint_schedule() if one <= max(until, 0))

    def checkpoint_path(self, epoch: int) -> Path:
        """The file of an epoch's checkpoint, whether it is there or not."""
        return self.path / "checkpoints" / f"{epoch:06d}.safetensors"

    def model(self, epoch: int | None = None, interventions: bool = True) -> HookedTransformer:
        """The HookedTransformer at a checkpoint, on the CPU, as it trained.

        Args:
            epoch: The last checkpoint when not given.
            interventions: Attach those that acted on that epoch's update (for epoch 0: on the
                first), as permanent hooks; False gives the bare weights.

        Raises:
            ValueError: There is no checkpoint at the epoch.
            StoreError: It cannot be read, or an intervention of the run is unknown here.
        """
        # Here, because TransformerLens takes seconds to load, and most of a run is read without it.
        from grokinterp.hooks import UnknownIntervention, acting, attach
        from grokinterp.model.build import build_model

        epoch = self.find_checkpoint(epoch)
        checkpoint = self.checkpoint(epoch)
        config = self.config
        model = build_model(config.model, config.task, config.seed, config.train.dtype)
        model.load_state_dict(checkpoint.weights, strict=False)
        active = acting(config.train.interventions, epoch) if interventions else ()
        for item in active:
            if isinstance(item, UnknownIntervention):
                raise StoreError(
                    f"run {self.id} cannot act as it trained: {item.reason}; "
                    "run.snapshot(epoch, interventions=False) is of the bare weights"
                )
        return attach(model, active)

    def snapshot(self, epoch: int | None = None, interventions: bool = True) -> Snapshot:
        """What probes take: the model at a checkpoint, its task and split.

        The model is the one that trained, as `model` gives it. An intervention that mixes the
        examples of a batch, as a mean over it does, acts on the batch of each pass: the train
        examples and the test examples are those of training, but the grid of all inputs is a batch
        that training never sees.

        It knows the run's other checkpoints: `initial` is epoch 0, `final` the epoch at which the
        run ended, `previous` the one before it. Where the store no longer holds one of these, what
        compares with it is told so, and is given none that is near.

        Args:
            epoch: The last checkpoint when not given.
            interventions: Attach those of that epoch; False gives the bare weights.

        Raises:
            ValueError: There is no checkpoint at the epoch.
            StoreError: It cannot be read, or an intervention of the run is unknown here.
        """
        from grokinterp.snapshot import Snapshot

        chosen, config = self.find_checkpoint(epoch), self.config
        return Snapshot(
            self.model(chosen, interventions),
            config.task,
            config.seed,
            chosen,
            lambda which: self._other(chosen, which, interventions),
            config.train,
        )

    def _other(self, chosen: int, which: Other, interventions: bool) -> Snapshot:
        from grokinterp.snapshot import NotApplicable

        if which == "final" and not self.is_over:
            raise NotApplicable(
                f"run {self.id} is {self.status} at epoch {self.epoch:,}, so its final "
                "checkpoint is not known; train it to its end first"
            )
        if which == "previous":
            # One that was to be saved and is gone must not be passed over in silence.
            saved = {*self.config.train.checkpoint_schedule(), *self.checkpoint_epochs}
            epoch = max((one for one in saved if one < chosen), default=-1)
            if epoch < 0:
                raise NotApplicable(f"run {self.id} has no checkpoint before epoch {chosen}")
        else:
            epoch = which if isinstance(which, int) else {"initial": 0, "final": self.epoch}[which]
        if epoch not in self.checkpoint_epochs:
            name = "" if isinstance(which, int) else f"the {which} one, "
            raise NotApplicable(
                f"it compares with the checkpoint at epoch {epoch:,}, {name}which run {self.id} "
                f"({self.status} at epoch {self.epoch:,}) does not hold; it holds "
                f"{', '.join(map(str, self.checkpoint_epochs))}"
            )
        give = self.snapshot if which == "previous" else self._reference
        return give(epoch, interventions)

    @cached_property
    def _reference(self) -> Callable[[int, bool], Snapshot]:
        """The snapshot at an epoch, kept, because every epoch's comparisons read it: three at
        most, since each holds its activations."""
        return lru_cache(maxsize=3)(self.snapshot)

    @property
    def probes(self) -> pd.DataFrame:
        """Every scalar that a probe gave, while it trained or on its checkpoints afterwards.

        A row for each: epoch, probe (with its options), name, value, and the probe's definition;
        of the model as it trained, under its interventions. What was found under another
        definition than the probe's present one is left out.
        """
        metrics = self.metrics
        after = self.records.current.drop(columns="provenance")
        online = self._recorded(metrics)
        if not online:
            return after
        # Text is slow: that of each column is made once, and taken for each of its values.
        about = pd.DataFrame([*online.values()], columns=["probe", "name", "definition"])
        values = metrics[[*online]].to_numpy("float64").T
        column, row = np.nonzero(~np.isnan(values))
        tidy = about.take(column).assign(
            epoch=metrics["epoch"].to_numpy()[row], value=values[column, row]
        )[after.columns.to_list()]
        both = pd.concat([after, tidy], ignore_index=True) if len(after) else tidy
        both = both.drop_duplicates(["epoch", "probe", "name"])
        return both.sort_values(["probe", "name", "epoch"], ignore_index=True)

    def arrays(self, epoch: int, probe: str) -> dict[str, np.ndarray]:
        """The arrays that a probe gave on a checkpoint, by name.

        Args:
            epoch: The checkpoint's.
            probe: With its options, as it was asked for.

        Raises:
            StoreError: The run holds none; the message says how to compute them.
        """
        held = probe in self.records.probes().get(epoch, ())
        arrays = self.records.arrays(epoch) if held else {}
        found = {name: value for (of, name), value in arrays.items() if of == probe}
        if not found:
            raise StoreError(
                f"run {self.id} holds no arrays of {probe} at epoch {epoch}; compute them with "
                f"grokinterp probe {self.id[:8]} --probes {probe} --epochs {epoch}"
            )
        return found

    @property
    def records(self) -> Records:
        """Where what probes find on checkpoints is kept."""
        return Records(self.path)

    def has_all(self, config: RunConfig) -> bool:
        """Whether it is over, and holds all that a config of the same id asks to be recorded.

        ValueError if the config asks for a probe that there is not.
        """
        if not self.is_over:
            return False
        until = self.epoch
        there = recorded(self.config.train, self.definitions, until)
        return has_all(there, asked_of(config, until))

    def save_provenance(self, epoch: int) -> None:
        """Note that it trains here from an epoch on: what came after that is trained anew."""
        earlier = [one for one in self.provenance if one["from_epoch"] < epoch]
        made = here(self.config.train.device)
        _write_provenance(self.path, earlier, epoch, self.config, made)

    def save_state(self, state: RunState, rows: list[Row], schedule: bool) -> None:
        """Save progress, in the order that makes a kill at any moment harmless.

        The state file says how far the run is; rows and checkpoints beyond it are written
        first and, if it never comes, written again.
        """
        write_table(self.path / "metrics.parquet", table_of(rows))
        if schedule:
            self.save_checkpoint(state)
        write_tensors(self.path / "state.safetensors", *pack_state(state, whole=True))
        self.save_status("running", state.epoch)

    def save_checkpoint(self, state: RunState) -> None:
        # A fork's start is kept as a whole, so that it can begin anew without its parent.
        forked = state.epoch == 0 and OPTIMIZER in self.config.start
        whole = self.config.train.keep_optimizer or forked
        path = self.checkpoint_path(state.epoch)
        path.parent.mkdir(exist_ok=True)
        write_tensors(path, *pack_state(state, whole))

    def save_status(self, status: Status, epoch: int, message: str = "") -> None:
        data = {"status": status, "epoch": epoch, "message": message}
        write_json(self.path / "status.json", data)

    def close(self, rows: list[Row], status: Status, epoch: int, message: str) -> None:
        """Mark the run as over; what it would have gone on from is no longer needed."""
        write_table(self.path / "metrics.parquet", table_of(rows))
        self.save_status(status, epoch, message)
        (self.path / "state.safetensors").unlink(missing_ok=True)

    def load_state(self) -> tuple[RunState, list[Row]] | None:
        """Where an interrupted run goes on from, and its rows up to there; None if nowhere."""
        path = self.path / "state.safetensors"
        if not path.exists() or not self._metrics.exists():
            return None
        state = unpack_state(*read_tensors(path))
        metrics = self._rows
        rows = metrics[metrics["epoch"] <= state.epoch].to_dict("records")
        return state, [{str(name): value for name, value in row.items()} for row in rows]


MOST_SHOWN = 20
"""Rows of a table of runs that Jupyter shows: each reads its run's metrics."""


class Runs(list[Run]):
    """Runs in a list that draws itself, as `train` and `Store.select` give them."""

    @overload
    def __getitem__(self, at: SupportsIndex) -> Run: ...
    @overload
    def __getitem__(self, at: slice) -> Runs: ...
    def __getitem__(self, at: SupportsIndex | slice) -> Run | Runs:
        return Runs(super().__getitem__(at)) if isinstance(at, slice) else super().__getitem__(at)

    def plot(self, name: str = "test_accuracy") -> Figure:
        """A recorded scalar of all of them over epochs, and when each generalised.

        Runs that differ in their seeds alone have one colour: thin lines, their median bold.

        Args:
            name: What `Run.scalar` takes.

        Raises:
            ValueError: There is no run, or one holds no such scalar.
        """
        from grokinterp.figures.evolution import over_epochs

        if not self:
            raise ValueError("there is no run to plot; train or select one")
        configs = [run.config for run in self]
        names = labels(configs)
        tables: dict[str, list[pd.DataFrame]] = {}
        generalised: dict[str, list[int | None]] = {}
        for run, label in zip(self, names, strict=True):
            tables.setdefault(label, []).append(run.scalar(name))
            generalised.setdefault(label, []).append(run.grokking.generalised.by)
        return over_epochs(tables, name.replace("_", " "), column=name, generalised=generalised)

    @shown
    def _repr_html_(self) -> Markup:
        left = len(self) - MOST_SHOWN
        more = f"; {left:,} more are not shown" if left > 0 else ""
        steps = ['runs.plot("test_accuracy")', "runs[0]"] if self else []
        return card(f"{len(self):,} runs{more}", (), _rows_of(self), steps)


def _rows_of(runs: Runs) -> Markup | None:
    """A row for each of the first; what differs is named where it is not at its default."""
    rows, configs, default = [], [], RunConfig().flat()
    for run in runs[:MOST_SHOWN]:
        row = dict.fromkeys(("run", "name", "task", "status", "memorised", "generalised"), "?")
        row["run"] = run.id[:8]
        config = None
        try:
            config = run.config
            row |= {"name": config.name, "task": str(config.task)}
            times = run.grokking
            row |= {"memorised": str(times.memorised), "generalised": str(times.generalised)}
            row["status"] = f"{run.state} at {run.epoch:,}"
        except StoreError as error:
            row["status"] = str(error)
        rows.append(row)
        configs.append(config)
    differing = varying([one for one in configs if one is not None])
    for row, config in zip(rows, configs, strict=True):
        flat = default if config is None else config.flat()
        changed = [name for name in differing if flat.get(name) != default.get(name)]
        told = [f" · {name} {cell(flat.get(name))}" for name in changed if name not in TASK]
        row["name"] += "".join(told)
    return table(rows) if rows else None


class Store:
    """A folder of runs, each counted once, however many recordings of it there are.

    Iteration gives those that can be read; `problems` names the others.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.select())

    def __len__(self) -> int:
        return len(self.select())

    @shown
    def _repr_html_(self) -> Markup:
        runs, problems = self.select(), self.problems()
        left = len(runs) - MOST_SHOWN
        rows = [(f"cannot be read: {folder}", why) for folder, why in problems.items()]
        if left > 0:
            rows.append((f"{left:,} more", "gi.open_store(…).select(placement=…, seed=…)"))
        path = str(self.path)
        return card(
            f"{len(runs):,} runs in {path}",
            rows,
            _rows_of(runs),
            [
                f'runs = gi.open_store({path!r}).select(placement="mlp-pre")',
                'runs.plot("test_accuracy")',
            ],
        )

    def select(self, **filters: Any) -> Runs:
        """The runs whose config has these values: `select(placement="mlp-pre", seed=456)`.

        Of several recordings of a run, the one is given that is over, or furthest, and has the
        most. A run whose config cannot be read is left out, and is one of `problems`.

        Args:
            **filters: A field as in the run's kind of task, ModelConfig, TrainConfig or RunConfig;
                `id` selects by the beginning of a run's id. A tuple, list or set of values selects
                any of them.

        Raises:
            ValueError: There is no such field.
        """
        found: dict[str, list[Run]] = {}
        for run, problem in self._find(filters):
            if not problem:
                found.setdefault(run.id, []).append(run)
        return Runs(_best_first(recordings)[0] for recordings in found.values())

    def problems(self, **filters: Any) -> dict[str, str]:
        """What `select` of the same filters leaves out, by folder: why, and what to do about it.

        These are copies of a run under another name, damaged configs, and configs with something
        that is unknown here. A folder is counted in unless what can be read of it rules it out.

        Args:
            **filters: As of `select`.
        """
        return {run.path.name: problem for run, problem in self._find(filters) if problem}

    def _find(self, filters: dict[str, Any]) -> Iterator[tuple[Run, str]]:
        """The runs that these filters fit, and why each cannot be read; "" if it can."""
        prefix = filters.pop("id", "")
        for name in filters:
            check_field(name, also=("id",))
        if "placement" in filters:
            filters["placement"] = _resolve_placements(filters["placement"])
        filters |= {name: as_field(name, filters[name]) for name in AS_TEXT if name in filters}
        for path in sorted(self.path.glob(f"{glob.escape(prefix)}*")):
            if not _holds_run(path):
                continue
            run, problem = Run(path), ""
            try:
                # What another kind of task has, this one has not, and is not selected by. A seed
                # draws the weights, too, where no other does.
                values = {**dict.fromkeys(task_fields()), **run.config.flat()}
                values["weights_seed"] = run.config.drawn_by
            except StoreError as error:
                values, problem = _stored_values(path), str(error)
                values = {name: one for name, one in values.items() if name not in AS_TEXT}
            wanted = {name: value for name, value in filters.items() if name in values}
            if all(_matches(values[name], value) for name, value in wanted.items()):
                yield run, problem

    def recordings(self, id: str) -> list[Run]:
        """Every recording of a run that can be read, the one that `select` gives first."""
        return _best_first([run for run, problem in self._find({"id": f"{id}-"}) if not problem])

    def find(self, config: RunConfig) -> Run | None:
        """A recording of the config's run that is over and has all that the config asks for."""
        for run in self.recordings(config.id):
            with suppress(StoreError):  # Another may serve; or it is met where this one is trained.
                if run.has_all(config):
                    return run
        return None

    def recording(self, config: RunConfig) -> Run:
        """Where the config's own recording is, or would be. ValueError if it asks for a probe
        that there is not."""
        return Run(self.path / folder_name(config.to_dict(), definitions(config.train)))

    def create(self, config: RunConfig) -> Run:
        """The folder of the config's own recording, made if it is not there, with its config."""
        run = self.recording(config)
        # What is not there, or damaged: it is known what it must hold. The config comes last.
        missing = [name for name in ("provenance.json", "config.json") if not _is_read(run, name)]
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot write to the store {self.path}: {error}; choose another with --store"
            ) from error
        if "provenance.json" in missing:
            # Where a run that is under way was trained is not known any more.
            begun = (run.path / "status.json").exists()
            made = Provenance() if begun else here(config.train.device)
            _write_provenance(run.path, [], 0, config, made)
        if "config.json" in missing:
            write_json(run.path / "config.json", config.to_dict())
        return run


def _best_first(recordings: list[Run]) -> list[Run]:
    """Over before running, then by how far and by how much is recorded; ties by the folder."""
    return recordings if len(recordings) < 2 else sorted(recordings, key=_rank)


def _rank(run: Run) -> tuple[int, int, int]:
    try:
        there = recorded(run.config.train, run.definitions, run.epoch)
        return int(not run.is_over), -run.epoch, -amount(there)
    except StoreError:  # It cannot be read, which whoever takes it is told.
        return 2, 0, 0


def open_store(path: str | os.PathLike[str] = "runs", create: bool = False) -> Store:
    """The store at a path.

    Args:
        path: The folder that holds the runs.
        create: Make it where it is not there.

    Raises:
        StoreError: There is none, or it is of another format version.
    """
    root = Path(path)
    marker = root / "store.json"
    if not marker.exists():
        foreign = root.exists() and (
            not root.is_dir() or any(not path.name.startswith(".") for path in root.iterdir())
        )
        # Looked at again, because another process may have made the store in the meantime.
        if foreign and not marker.exists():
            raise StoreError(f"{root} is not a run store (it has no store.json); choose another")
        if not create:
            raise NoStoreError(f"there is no run store at {root}; train something, or name another")
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot make a store at {root}: {error}; choose another with --store"
            ) from error
        write_json(marker, {"format": FORMAT})
    found = read_json(marker).get("format")
    if found != FORMAT:
        raise StoreError(
            f"the store at {root} has format {found!r}; this version of grokinterp reads format "
            f"{FORMAT}, so use the version that wrote it, or another store"
        )
    return Store(root)


def table_of(rows: list[Row]) -> pd.DataFrame:
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["epoch", *METRICS])
    return table.astype({"epoch": "int64"})


def pack_state(state: RunState, whole: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights by TransformerLens name, what the optimiser keeps by name with a prefix if the state
    is to be `whole`; and the numbers."""
    tensors = dict(state.weights)
    for slot, by_name in state.optimizer.items() if whole else ():
        tensors |= {f"{slot}:{name}": tensor for name, tensor in by_name.items()}
    plain = ("epoch", "steps", "rule_met_since")
    return tensors, {name: getattr(state, name) for name in plain} | {"optimizer": whole}


def unpack_state(tensors: dict[str, Tensor], about: dict[str, Any]) -> RunState:
    parts: dict[str, dict[str, Tensor]] = {"": {}}
    for full_name, tensor in tensors.items():
        slot, _, name = full_name.rpartition(":")
        parts.setdefault(slot, {})[name] = tensor
    return RunState(
        epoch=about["epoch"],
        weights=parts.pop(""),
        optimizer=parts,
        steps=about["steps"],
        rule_met_since=about.get("rule_met_since"),
    )


def _is_stretch(data: object) -> bool:
    kinds = {"from_epoch": int, "probes": dict}
    return isinstance(data, dict) and all(
        isinstance(data.get(name), kind) for name, kind in kinds.items()
    )


def _is_read(run: Run, name: str) -> bool:
    try:
        _ = run.provenance if name == "provenance.json" else read_json(run.path / name)
    except StoreError:
        return False
    return True


def _holds_run(folder: Path) -> bool:
    """Whether a folder is a run's, even if its config is gone."""
    kept = ("config.json", "status.json", "metrics.parquet", "checkpoints")
    return folder.name[0] != "." and any((folder / name).exists() for name in kept)


def _stored_values(folder: Path) -> dict[str, Any]:
    """What a config that cannot be read holds, by field, as far as it is JSON."""
    try:
        data = read_json(folder / "config.json")
    except StoreError:
        return {}
    parts = [part for part in data.values() if isinstance(part, dict)]
    return {name: _plain(value) for part in (*parts, data) for name, value in part.items()}


def _plain(value: Any) -> Any:
    """As a config has it: JSON has lists in place of tuples."""
    return tuple(map(_plain, value)) if isinstance(value, list) else value


def _write_provenance(
    folder: Path, earlier: list[dict[str, Any]], epoch: int, config: RunConfig, made: Provenance
) -> None:
    """The stretches of before, and the one that begins here; none where it goes on alike."""
    told = {"probes": definitions(config.train), **asdict(made)}
    if not earlier or earlier[-1] != {**earlier[-1], **told}:
        earlier = [*earlier, {"from_epoch": epoch, **told}]
    write_json(folder / "provenance.json", {"trained": earlier})


def _matches(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, (list, set)) or (
        isinstance(wanted, tuple) and not isinstance(value, tuple)
    ):
        return value in wanted
    return value == wanted


def _resolve_placements(wanted: Any) -> Any:
    from grokinterp.placement import resolve_placement

    if isinstance(wanted, (list, set, tuple)):
        return [resolve_placement(item).name for item in wanted]
    return resolve_placement(wanted).name
