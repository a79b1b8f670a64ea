"""Trackers: what they hold is what the store holds, each row once."""

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import wandb
from forked import forking
from hang import HANG
from runs_cases import SMALL_RUN, with_model, with_recipe
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record

import grokinterp as gi
from grokinterp import cli, tracking
from grokinterp.store.lock import RunLock
from grokinterp.store.progress import Observer
from grokinterp.tracking import TRACKERS, observers
from grokinterp.tracking.tracker import Log, Tracker
from grokinterp.tracking.wandb import WandbTracker
from grokinterp.training import train as training

SHUFFLED = "shortcut:kind=shuffle_norm,split=train"
TRACKED = with_recipe(probes={"attention_entropy": 10, SHUFFLED: 20})

Rows = list[tuple[int, dict[str, float]]]


@pytest.fixture(autouse=True)
def no_account(tmp_path, monkeypatch):
    """As on a machine where nobody ever logged in to wandb."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    # No test fails for being slow.
    monkeypatch.setenv("WANDB__SERVICE_WAIT", str(HANG))
    for name in ("INIT_TIMEOUT", "FINISH_TIMEOUT"):
        monkeypatch.setattr(f"grokinterp.tracking.wandb.{name}", HANG)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    yield
    # Settings are read once for each session.
    wandb.teardown()


def rows_of(run: gi.Run) -> Rows:
    """The scalars of its metrics; a gap is not one."""
    return [
        (int(row.pop("epoch")), {name: v for name, v in row.items() if not np.isnan(v)})
        for row in run.metrics.to_dict("records")
    ]


def wandb_files(store: Path) -> list[Path]:
    return sorted(store.glob("tracking/wandb/offline-run-*/*.wandb"))


def records(file: Path) -> Iterator[Record]:
    """What an offline run holds, up to where a kill cut the file.

    It is LevelDB's log format: blocks of 32,768 bytes, in which each fragment has a checksum (4
    bytes), a length (2) and a kind (1): 1 is whole, 2, 3 and 4 are a first, middle and last part.
    wandb puts 7 bytes of its own before the first.
    """
    data, at, record = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (rest := 32_768 - at % 32_768) < 7:  # padding
            at += rest
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        at += 7 + length
        if kind == 0 or at > len(data):
            return
        record += data[at - length : at]
        if kind in (1, 4):
            yield Record.FromString(record)
            record = b""


def wandb_rows(file: Path) -> Rows:
    found = []
    for record in records(file):
        if record.HasField("history"):
            items = {
                item.nested_key[0] if item.nested_key else item.key: json.loads(item.value_json)
                for item in record.history.item
            }
            assert items["epoch"] == items["_step"] == record.history.step.num
            scalars = {n: v for n, v in items.items() if n[0] != "_" and n != "epoch"}
            found.append((items["epoch"], scalars))
    return found


def tensorboard_rows(store: Path) -> Rows:
    """By an event file's own reader; raises if there are two runs."""
    [folder] = {path.parent for path in store.glob("tracking/tensorboard/*/*/events*")}
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    rows: dict[int, dict[str, float]] = defaultdict(dict)
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            assert name not in rows[event.step], "repeated"
            rows[event.step][name] = event.value
    return sorted(rows.items())


def in_float32(rows: Rows) -> Rows:
    return [(epoch, {n: float(np.float32(v)) for n, v in row.items()}) for epoch, row in rows]


class Stop(Observer):
    """Interrupts training when an epoch has been tracked."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def advanced(self, run, config, report):
        if report.epoch == self._epoch:
            raise KeyboardInterrupt


class Kill(Observer):
    """Kills its process when an epoch has been tracked."""

    def advanced(self, run, config, report):
        if report.epoch == 25:
            os.kill(os.getpid(), signal.SIGKILL)


def train_and_die(store: Path) -> None:
    # Without probes, for which a new process would import TransformerLens.
    gi.train([SMALL_RUN], store=store, observer=observers([*TRACKERS], Kill()))


def test_wandb_holds_the_metrics_and_the_config(tmp_path):
    said = []
    runs = [TRACKED, replace(TRACKED, seed=2)]
    trained = gi.train(runs, store=tmp_path / "runs", observer=WandbTracker(said.append))
    [sentence] = said
    assert sentence.startswith("wandb is offline: it has no API key")
    assert str(tmp_path / "runs/tracking/wandb") in sentence
    for run in trained:
        [file] = (tmp_path / "runs").glob(f"tracking/wandb/offline-run-*-{run.id}/*.wandb")
        rows = wandb_rows(file)
        assert rows == rows_of(run)
        assert {"train_loss", "weight_norm", "attention_entropy.mean"} <= rows[-1][1].keys()
        assert f"{SHUFFLED}.train_loss" in rows[-1][1]
        [about] = [record.run for record in records(file) if record.HasField("run")]
        assert (about.run_id, about.display_name) == (run.id, run.config.name)
        assert (about.run_group, about.project) == ("mlp-pre", "grokinterp")
        config = {item.key: json.loads(item.value_json) for item in about.config.update}
        config.pop("_wandb", None)
        assert config.keys() == run.config.flat().keys()
        assert (config["d_model"], config["seed"], config["p"]) == (8, run.config.seed, 5)
        [end] = [record.exit.exit_code for record in records(file) if record.HasField("exit")]
        assert end == 0
    # The store does not take the folder for a run.
    assert len(gi.open_store(tmp_path / "runs")) == 2


def test_tensorboard_holds_the_metrics_in_float32(tmp_path):
    [run] = gi.train([TRACKED], store=tmp_path, observer=observers(["tensorboard"]))
    assert tensorboard_rows(tmp_path) == in_float32(rows_of(run))
    assert [*tmp_path.glob(f"tracking/tensorboard/mlp-pre/seed-1-{run.id}/events*")]


def test_an_interrupted_run_goes_on_and_repeats_nothing(tmp_path, monkeypatch):
    """Tracked to epoch 25 and saved at 20, so the last rows are trained twice."""
    monkeypatch.setattr(training, "SECONDS_BETWEEN_SAVES", float("inf"))
    with pytest.raises(KeyboardInterrupt):
        gi.train([TRACKED], store=tmp_path, observer=observers([*TRACKERS], Stop(25)))
    # A run that failed is written by wandb's own process, which it does not wait for.
    wandb.teardown()
    assert gi.open_store(tmp_path).select()[0].epoch == 20
    [file] = wandb_files(tmp_path)
    assert [epoch for epoch, _ in wandb_rows(file)] == [1, 5, 10, 15, 20, 25]
    assert [r.exit.exit_code for r in records(file) if r.HasField("exit")] == [1]
    [run] = gi.train([TRACKED], store=tmp_path, observer=observers([*TRACKERS]))
    both = wandb_files(tmp_path)
    assert {path.stem for path in both} == {f"run-{run.id}"}
    first, second = sorted(map(wandb_rows, both))
    assert first + second == rows_of(run)
    assert tensorboard_rows(tmp_path) == in_float32(rows_of(run))
    # Nor does the same command, whether the logs are there or were uploaded and deleted.
    for file in both:
        file.unlink()
    gi.train([TRACKED], store=tmp_path, observer=observers([*TRACKERS]))
    assert wandb_files(tmp_path) == []
    assert tensorboard_rows(tmp_path) == in_float32(rows_of(run))


@pytest.mark.parametrize("content", ["", "{}", '{"epoch": null}'])
def test_a_damaged_mark_is_said_and_no_row_is_written_again(tmp_path, capsys, content):
    [run] = gi.train([TRACKED], store=tmp_path, observer=observers(["tensorboard"]))
    mark = tmp_path / "tracking" / f"tensorboard-{run.id}.json"
    mark.write_text(content)
    gi.train([TRACKED], store=tmp_path, observer=observers(["tensorboard"]))
    assert tensorboard_rows(tmp_path) == in_float32(rows_of(run))
    assert f"{mark} does not say how far tensorboard has come" in capsys.readouterr().err


def test_a_killed_run_goes_on_and_repeats_nothing(tmp_path):
    """Tracked to epoch 25 and saved at 20; what wandb writes of it last is not known."""
    child = forking().Process(target=train_and_die, args=(tmp_path,))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert gi.open_store(tmp_path).select()[0].epoch == 20
    [killed] = wandb_files(tmp_path)
    [run] = gi.train([SMALL_RUN], store=tmp_path, observer=observers([*TRACKERS]))
    [other] = {*wandb_files(tmp_path)} - {killed}
    *before, last = rows_of(run)
    assert wandb_rows(other) == [last]
    kept = wandb_rows(killed)
    assert kept == before[: len(kept)]
    assert tensorboard_rows(tmp_path) == in_float32(rows_of(run))


@pytest.mark.parametrize("saved", [False, True])
def test_a_row_that_a_kill_cut_short_is_not_written_again(tmp_path, monkeypatch, saved):
    """Whether it was written is not known, and no row may be there twice."""
    monkeypatch.setattr(training, "SECONDS_BETWEEN_SAVES", 0.0 if saved else float("inf"))

    class Cut(Log):
        def __init__(self) -> None:
            self.rows: Rows = []

        def write(self, epoch, scalars):
            if epoch == 15 and len(Memory.logs) == 1:
                raise KeyboardInterrupt
            self.rows.append((epoch, scalars))

        def close(self, over):
            pass

    class Memory(Tracker):
        kind = "json"
        logs: tuple[Cut, ...] = ()

        def open(self, run):
            Memory.logs += (Cut(),)
            return Memory.logs[-1]

        def end(self):
            """Killed: not reached."""

    with pytest.raises(KeyboardInterrupt):
        gi.train([TRACKED], store=tmp_path, observer=Memory())
    [run] = gi.train([TRACKED], store=tmp_path, observer=Memory())
    first, second = Memory.logs
    rows = rows_of(run)
    assert [epoch for epoch, _ in rows] == [1, 5, 10, 15, 20, 25, 30]
    assert (first.rows, second.rows) == (rows[:3], rows[4:])


def test_what_was_trained_untracked_is_written_when_tracking_begins(tmp_path):
    finished = with_model(readout_scale=2.0)
    gi.train([finished], store=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        gi.train([TRACKED], store=tmp_path, observer=Stop(20))
    trained = gi.train([finished, TRACKED], store=tmp_path, observer=observers(["wandb"]))
    for run in trained:
        [file] = tmp_path.glob(f"tracking/wandb/offline-run-*-{run.id}/*.wandb")
        assert wandb_rows(file) == rows_of(run)


def test_a_run_that_another_process_trains_is_written_at_its_end(tmp_path):
    store = gi.open_store(tmp_path, create=True)
    lock = RunLock(store.create(SMALL_RUN).path)
    assert lock.acquire(wait=False)

    class Other(Observer):
        def waiting(self, run, owner):
            lock.release()
            gi.train([SMALL_RUN], store=tmp_path)

    [run] = gi.train([SMALL_RUN], store=tmp_path, observer=observers(["tensorboard"], Other()))
    assert tensorboard_rows(tmp_path) == in_float32(rows_of(run))


def test_disabled_wandb_keeps_nothing_and_counts_nothing_as_written(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    gi.train([SMALL_RUN], store=tmp_path, observer=observers(["wandb"]))
    assert not (tmp_path / "tracking").exists()


def test_a_server_that_does_not_answer_costs_the_upload_alone(tmp_path, monkeypatch):
    """The first run was opened while it still answered."""

    def in_turns(waiting, *_others):
        under_way = [*waiting]
        while under_way:
            for ensemble in [*under_way]:
                reports = ensemble.advance()
                yield ensemble, reports
                if reports[0].status != "running":
                    under_way.remove(ensemble)

    monkeypatch.setattr(training, "side_by_side", in_turns)
    asked, closed = [], []

    class Error(Exception):
        pass

    def init(id, mode, **_options):
        asked.append(mode)
        if mode == "online" and len(asked) > 1:
            raise Error("no\nroute to host")
        return SimpleNamespace(
            url="https://wandb.example/1",
            log=lambda row, **_: None,
            finish=lambda exit_code: closed.append((mode, exit_code)),
        )

    settings = SimpleNamespace(mode="online", api_key="key")
    said = []
    tracker = WandbTracker(said.append)
    tracker._module = SimpleNamespace(
        setup=lambda: SimpleNamespace(settings=settings),
        init=init,
        teardown=lambda: closed.append("all"),
        Settings=dict,
        Error=Error,
    )
    trained = gi.train([SMALL_RUN, replace(SMALL_RUN, seed=2)], store=tmp_path, observer=tracker)
    assert [run.status for run in trained] == ["finished", "finished"]
    # The second finds no server; it and the first, with its other rows, go on offline.
    assert asked == ["online", "online", "offline", "offline"]
    assert closed == [("online", 1), "all", ("offline", 0), ("offline", 0)]
    assert said[0] == "mlp-pre · seed 1: https://wandb.example/1"
    assert said[1].startswith("wandb is offline: no route to host; wandb sync ")


def test_the_command_line_tracks_and_says_so_on_stderr(tmp_path, capsys):
    options = "--p 5 --d-model 8 --n-heads 2 --epochs 20 --seeds 1 --track wandb tensorboard"
    cli.main(["train", *options.split(), "--store", str(tmp_path)])
    printed = capsys.readouterr()
    assert "wandb is offline" in printed.err
    assert "wandb" not in printed.out
    [run] = gi.open_store(tmp_path).select()
    assert tensorboard_rows(tmp_path) == in_float32(rows_of(run))
    assert wandb_rows(wandb_files(tmp_path)[0]) == rows_of(run)


def test_untracked_training_imports_no_tracker(tmp_path):
    code = (
        "import sys; from grokinterp import cli\n"
        "for track in [], ['--track', 'tensorboard']:\n"
        "    cli.main([*sys.argv[1:], *track])\n"
        "    print('loaded', *{'wandb', 'tensorboard'} & sys.modules.keys())"
    )
    options = ["train", "--p", "5", "--d-model", "8", "--n-heads", "2", "--epochs", "5", "--store"]
    command = [sys.executable, "-c", code, *options, str(tmp_path)]
    printed = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL)
    loaded = [line for line in printed.splitlines() if line.startswith("loaded")]
    assert loaded == ["loaded", "loaded tensorboard"]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_is_a_sentence_before_anything_trains(
    tmp_path, monkeypatch, capsys, name
):
    monkeypatch.setitem(sys.modules, name, None)
    store = tmp_path / "runs"
    with pytest.raises(SystemExit):
        cli.main(["train", "--track", name, "--epochs", "5", "--store", str(store)])
    assert capsys.readouterr().err == (
        f"grokinterp: tracking with {name} needs the package {name}; install it with "
        f"pip install 'grokinterp[{name}]'\n"
    )
    assert not store.exists()


def test_an_unknown_tracker_is_a_sentence():
    with pytest.raises(ValueError, match="unknown tracker 'mlflow'; choose one of wandb, tensorb"):
        tracking.observers(["mlflow"])
