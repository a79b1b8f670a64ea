"""One run in a store: what of it is written, and the models and numbers that are read back."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
from markupsafe import Markup

from grokinterp.config import RunConfig
from grokinterp.config.recorded import METRICS
from grokinterp.grokking import GrokkingTimes, Plateau, grokking_times, plateau
from grokinterp.jupyter import accuracy_curves, card, interval, shown
from grokinterp.probes.calls import is_current
from grokinterp.store.checkpoint import Checkpoint, unpack_state
from grokinterp.store.files import (
    StoreError,
    read_json,
    read_table,
    read_tensors,
    remedy,
)
from grokinterp.store.lock import RunLock
from grokinterp.store.probe_records import Records
from grokinterp.store.provenance import trained_stretches
from grokinterp.store.recording import asked_of, folder_name, has_all, recorded
from grokinterp.store.state import Status

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from transformer_lens import HookedTransformer

    from grokinterp.snapshot import Other, Snapshot


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
        return trained_stretches(self.path)

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
        table = self.recorded_metrics
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
    def recorded_metrics(self) -> pd.DataFrame:
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
        times = self.grokking
        if name is not None:
            from grokinterp.figures.evolution import over_epochs

            label = self.config.model.placement
            return over_epochs(
                {label: [self.scalar(name)]},
                name.replace("_", " "),
                column=name,
                generalised={label: [times.generalised.by]},
            )
        from grokinterp.figures.learning import learning_curves

        metrics = self.metrics
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
