"""What is printed fits the terminal, says what differs, and what comes next."""

import io
import sys
from dataclasses import replace

import pandas as pd
import pytest
from runs_cases import SMALL_OPTIONS, SMALL_RUN, Interrupt, with_recipe

import grokinterp as gi
from grokinterp.cli import main
from grokinterp.cli.cost import ProbingCost, say_cost
from grokinterp.cli.terminal import show, wrapped
from grokinterp.store.lead_times import StandsStill
from grokinterp.store.lock import RunLock
from grokinterp.store.run_names import run_names, varying

TABLE = pd.DataFrame(
    {"id": ["a1", "b2"], "a long column": ["held together", "–"], "lead": [None, 30]},
    dtype=object,
)


def test_a_table_that_does_not_fit_is_paragraphs_without_what_is_missing(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert show(TABLE).splitlines() == [
        "id a long column lead",
        "a1 held together    –",
        "b2             –   30",
    ]
    monkeypatch.setenv("COLUMNS", "20")
    assert show(TABLE).splitlines() == [
        "id a1, a long column",
        "  held together",
        "id b2, lead 30",
    ]
    # What fits in a line is not broken.
    short = TABLE.rename(columns={"id": "identity", "a long column": "a column"})
    assert show(short.replace("held together", "is it")).splitlines() == [
        "identity a1,",
        "  a column is it",
        "identity b2, lead 30",
    ]


def test_a_table_into_a_pipe_has_a_line_a_row(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    wide = pd.DataFrame({f"column {i}": [i] for i in range(60)})
    assert len(show(wide).splitlines()) == 2


def test_text_is_broken_at_its_own_indent(monkeypatch):
    text = "short\n    one two three four five six\nverdict"
    monkeypatch.setenv("COLUMNS", "20")
    assert wrapped(text) == "short\n    one two three\n      four five six\nverdict"
    monkeypatch.delenv("COLUMNS")
    assert wrapped(text) == text


def test_a_number_has_four_digits(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    table = pd.DataFrame({"x": [1 / 3, None], "n": [10_000, 2]})
    assert [line.split() for line in show(table).splitlines()[1:]] == [
        ["0.3333", "10000"],
        ["–", "2"],
    ]


@pytest.fixture
def store(tmp_path):
    configs = [SMALL_RUN, replace(with_recipe(lr=0.01), weights_seed=7), with_recipe(lr=0.1)]
    gi.train(configs, store=tmp_path)
    return tmp_path


def test_every_command_fits_forty_columns_of_plain_ascii(store, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    run = next(iter(gi.open_store(store))).id
    for command in (
        ["runs"],
        ["probe", run, "--probes", "norms", "--epochs", "0", "30"],
        ["probe", run, "--probes", "norms", "--leads"],
    ):
        written = io.TextIOWrapper(io.BytesIO(), "ascii")
        monkeypatch.setattr(sys, "stdout", written)
        main([*command, "--store", str(store)])
        written.flush()
        said = written.buffer.getvalue().decode("ascii")
        # The heading of a run's values is a sentence, which the terminal breaks.
        lines = [line for line in said.splitlines() if "generalised not" not in line]
        assert lines
        assert max(map(len, lines)) <= 40, command


def test_the_table_shows_what_differs_and_no_none(store, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    main(["runs", "--store", str(store)])
    shown = capsys.readouterr().out
    assert "None" not in shown
    assert "NaN" not in shown
    head = shown.splitlines()[0].split()
    assert head[:6] == ["id", "task", "placement", "seed", "lr", "weights_seed"]
    assert not {"p", "d_mlp", "d_model", "epochs"} & set(head)


def test_a_width_of_its_own_is_told_of_an_mlp_alone():
    wide = replace(SMALL_RUN, model=replace(SMALL_RUN.model, d_mlp=24))
    larger = replace(SMALL_RUN, model=replace(SMALL_RUN.model, d_model=16, d_mlp=None))
    assert varying([SMALL_RUN, wide]) == ["d_mlp"]
    assert varying([SMALL_RUN, larger]) == ["d_model"]
    assert varying([SMALL_RUN, with_recipe(eval_every=3)]) == []
    assert run_names([SMALL_RUN]) == ["mlp-pre · seed 1"]


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_lines_name_what_varies_and_the_cost_comes_first(tmp_path, capsys, command):
    vary = ["--vary", "lr=0.001,0.01"] if command == "sweep" else ["--placements", "off", "pre"]
    options = [*SMALL_OPTIONS, *vary, "--store", str(tmp_path / "runs")]
    main([command, *options])
    shown = capsys.readouterr()
    first = shown.out.splitlines()[0]
    assert first.startswith(f"{tmp_path / 'runs'} holds 0 of 2 runs; to train: 2, 60 epochs in all")
    assert first.endswith("less than a minute here")
    lines = [line.partition(":")[0] for line in shown.err.splitlines() if "memorised" in line]
    expected = (
        ["mlp-pre · seed 456 · lr 0.001", "mlp-pre · seed 456 · lr 0.01"]
        if command == "sweep"
        else ["off · seed 456", "pre · seed 456"]
    )
    assert sorted(lines) == expected
    main([command, *options])
    assert "holds 2 of 2 runs; nothing is to be trained" in capsys.readouterr().out


def test_what_is_left_of_an_interrupted_run_is_its_cost(tmp_path, capsys, monkeypatch):
    run = interrupted(tmp_path)
    counted = []
    monkeypatch.setattr(
        "grokinterp.reproduction.cost.training_seconds",
        lambda configs: counted.extend(configs) or 7200.0,
    )
    say_cost([run.config, with_recipe(run.config, stop_when="test_accuracy >= 1")], tmp_path)
    said = capsys.readouterr().out.strip()
    assert said.endswith("to train: 2, at most 50 epochs in all, at most 2 h 0 min here")
    assert sorted(config.train.epochs for config in counted) == [20, 30]
    say_cost([run.config], tmp_path, here=False)
    assert capsys.readouterr().out.strip().endswith("to train: 1, 20 epochs in all")


def interrupted(store) -> gi.Run:
    with pytest.raises(KeyboardInterrupt):
        gi.train(SMALL_RUN, store=store, observer=Interrupt(10))
    return gi.open_store(store).select()[0]


def test_an_interrupted_run_says_so_and_how_to_go_on(tmp_path, capsys):
    run = interrupted(tmp_path)
    assert run.is_interrupted
    main(["runs", "--store", str(tmp_path)])
    assert "interrupted" in capsys.readouterr().out
    main(["runs", "--store", str(tmp_path), "--id", run.id])
    shown = capsys.readouterr().out
    assert f"status       interrupted at epoch {run.epoch}" in shown
    [line] = [line for line in shown.splitlines() if "to go on" in line]
    # As it says.
    call = line[line.index("gi.train") :]
    eval(call, {"gi": gi, "run": run})
    assert gi.open_store(tmp_path).select()[0].status == "finished"
    assert not gi.open_store(tmp_path).select()[0].is_interrupted


def test_a_run_that_a_process_trains_is_not_interrupted(tmp_path):
    run = interrupted(tmp_path)
    lock = RunLock(run.path)
    assert lock.acquire(wait=False)
    assert not run.is_interrupted
    lock.release()
    assert run.is_interrupted


def test_leads_are_of_what_was_met(store, capsys):
    run = gi.open_store(store).select()[0]
    main(["probe", run.id, "--store", str(store), "--probes", "norms", "--leads"])
    shown = capsys.readouterr().out
    crossings, plateaus = gi.lead_times(run), gi.lead_times(run, StandsStill())
    crossed = crossings["by"].notna().sum()
    assert 0 < crossed < len(crossings)
    assert shown.count("within 10 %") == crossed
    # In 30 epochs nothing comes to rest.
    assert plateaus["by"].isna().all()
    rules = len(crossings) + len(plateaus)
    assert f"{rules - crossed} of {rules} rules were not met" in shown
    assert "NA" not in shown


def test_the_cost_of_probing_is_told_by_the_second_that_takes_its_time(capsys, monkeypatch):
    clock = iter([0.0, 20.0, 20.1, 23.1, 26.0])
    monkeypatch.setattr("grokinterp.cli.cost.time.monotonic", lambda: next(clock))
    cost = ProbingCost(runs=2, probes=1)
    cost.begin_probing(124)
    for _ in range(4):
        cost.probed(None, 0)
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "to probe: 124 checkpoints of 2 runs, 1 probe on each, but for what the store holds",
        "a checkpoint takes 3 s; 121 more at that rate take about 6 min",
    ]


def test_a_demo_that_does_not_generalise_ends_with_advice(tmp_path, capsys):
    store = ["--store", str(tmp_path / "runs"), "--figure", str(tmp_path / "grokking.png")]
    main(["demo", *store, "--p", "5", "--epochs", "30"])
    shown = capsys.readouterr().out
    assert "within 30 epochs." in shown
    assert "by epoch not within" not in shown
    assert "grokinterp train --p 5 --seeds 456 --epochs 30 --test-fraction 0.5" in shown
    assert "grokinterp demo --p 5 --seed 456 --epochs 60" in shown
    # What comes next is about this run, in this store.
    code = shown[shown.index('"import') + 1 : shown.index('.model())"') + 9]
    exec(code, {})
    assert "HookPoint" in capsys.readouterr().out
