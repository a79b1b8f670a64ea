"""Ctrl-C and SIGTERM while runs train: what is under way is saved first."""

import os
import signal
import sys
import time
from dataclasses import replace

import pytest
from runs_cases import SMALL_RUN, as_ensembles, same_run, with_recipe

import grokinterp as gi
from grokinterp.cli import main
from grokinterp.store.progress import Observer
from grokinterp.store.writer import RunWriter
from grokinterp.training.engine import Ensemble
from grokinterp.training.interrupt import Terminated, cleaned_up, held_back

LONG = with_recipe(epochs=40, eval_every=5, checkpoint_every=40)
RAISED = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


@pytest.fixture(autouse=True)
def ordinary():
    """The handlers of a fresh process: Ray, where it was started before, leaves one of its own."""
    before = [
        (signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler)),
        (signal.SIGTERM, signal.signal(signal.SIGTERM, signal.SIG_DFL)),
    ]
    yield
    for number, handler in before:
        signal.signal(number, handler)


class Sends(Observer):
    """Sends this process a signal once a run is at an epoch."""

    def __init__(self, number: int, epoch: int, times: int = 1) -> None:
        self.number, self.epoch, self.times = number, epoch, times

    def advanced(self, run, config, report) -> None:
        if report.epoch == self.epoch:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", RAISED)
def test_what_is_under_way_is_saved(tmp_path, monkeypatch, number):
    monkeypatch.setattr("grokinterp.training.train.units_of", as_ensembles)
    before = [signal.getsignal(one) for one in RAISED]
    configs = [LONG, replace(LONG, seed=LONG.seed + 1)]
    with pytest.raises(RAISED[number]):
        gi.train(configs, store=tmp_path / "cut", observer=Sends(number, 15))
    assert [signal.getsignal(one) for one in RAISED] == before
    cut = gi.open_store(tmp_path / "cut").select()
    # No checkpoint is due before the end, and no half a minute has passed.
    assert max(run.epoch for run in cut) == 15
    assert {run.status for run in cut} == {"running"}
    whole = gi.train(configs, store=tmp_path / "whole")
    for run, expected in zip(gi.train(configs, store=tmp_path / "cut"), whole, strict=True):
        same_run(run, expected)


@pytest.mark.parametrize("number", RAISED)
def test_it_does_not_wait_for_an_evaluation(tmp_path, monkeypatch, number):
    """Between two of them a run of many pairs may train for hours."""
    sparse = with_recipe(epochs=40, eval_every=40, checkpoint_every=None)
    step, taken = Ensemble._step, []

    def stepped(self, evaluated):
        taken.append(self.epoch)
        if self.epoch == 7:
            os.kill(os.getpid(), number)
        if self.epoch >= 7:
            time.sleep(0.1)  # For the main thread, which handles it, to be woken.
        return step(self, evaluated)

    with monkeypatch.context() as patched:
        patched.setattr(Ensemble, "_step", stepped)
        with pytest.raises(RAISED[number]):
            gi.train(sparse, store=tmp_path / "cut")
    [cut] = gi.open_store(tmp_path / "cut").select()
    assert taken == [*range(1, cut.epoch + 1)]
    assert 7 <= cut.epoch < 40
    assert (cut.status, cut.checkpoint_epochs) == ("running", (0,))
    same_run(gi.train(sparse, store=tmp_path / "cut"), gi.train(sparse, store=tmp_path / "whole"))


def test_it_is_saved_in_time_however_far_apart_the_evaluations_are(tmp_path, monkeypatch):
    monkeypatch.setattr("grokinterp.training.train.SECONDS_BETWEEN_SAVES", 0.0)
    sparse = with_recipe(epochs=20, eval_every=20, checkpoint_every=None)
    saved = []
    save = RunWriter.save_state

    def spied(self, state, rows, schedule):
        saved.append((state.epoch, schedule))
        save(self, state, rows, schedule)

    monkeypatch.setattr(RunWriter, "save_state", spied)
    run = gi.train(sparse, store=tmp_path)
    assert saved == [(epoch, False) for epoch in range(1, 20)]
    assert (run.checkpoint_epochs, list(run.metrics["epoch"])) == ((0, 20), [1, 20])


def test_a_run_that_is_over_stays_over(tmp_path):
    with pytest.raises(Terminated):
        gi.train(
            [LONG, SMALL_RUN], store=tmp_path, observer=Sends(signal.SIGTERM, LONG.train.epochs)
        )
    [run] = gi.open_store(tmp_path).select(id=LONG.id)
    assert (run.status, run.epoch) == ("finished", 40)


def test_a_second_one_does_not_wait(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        gi.train(LONG, store=tmp_path, observer=Sends(signal.SIGINT, 15, times=2))
    [run] = gi.open_store(tmp_path).select()
    assert run.epoch == 0


def test_someone_else_s_handler_stays():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with cleaned_up(), held_back() as came:
            os.kill(os.getpid(), signal.SIGTERM)
            assert not came()
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
    ],
)
def test_the_command_says_how_to_go_on(tmp_path, monkeypatch, capsys, number, code, said):
    def send(*arguments: object, **options: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr("grokinterp.training.train.train", send)
    with pytest.raises(SystemExit) as ended:
        main(["train", "--store", str(tmp_path)])
    assert ended.value.code == code
    assert f"{said}; the same command goes on from the last save" in capsys.readouterr().err
    assert "grokinterp.training.train" in sys.modules


def test_a_command_that_saves_nothing_does_not_say_that_it_goes_on(tmp_path, monkeypatch, capsys):
    def send(*arguments: object, **options: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("grokinterp.report.save_report", send)
    with pytest.raises(SystemExit) as ended:
        main(["report", "--out", str(tmp_path / "report.html")])
    assert ended.value.code == 143
    assert capsys.readouterr().err == "grokinterp: terminated\n"
