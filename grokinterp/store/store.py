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
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from markupsafe import Markup

from grokinterp.config import RunConfig
from grokinterp.config.field_names import check_field, task_fields
from grokinterp.config.train import AS_TEXT, as_field
from grokinterp.jupyter import card, shown
from grokinterp.store.files import NoStoreError, StoreError, read_json, write_json
from grokinterp.store.provenance import Provenance, here, write_provenance
from grokinterp.store.recording import amount, definitions, folder_name, recorded
from grokinterp.store.run import Run
from grokinterp.store.runs import MOST_SHOWN, Runs, rows_of

FORMAT = 2


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
            rows_of(runs),
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
            write_provenance(run.path, [], 0, config, made)
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
            raise NoStoreError(
                f"there is no run store at {root}; train something, or name another (the runs that "
                "ship are in the page of grokinterp report)"
            )
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
