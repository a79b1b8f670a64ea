"""The command line, as a person meets it."""

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from runs_cases import SMALL_OPTIONS, SMALL_RUN
from shipped import SHIPPED

import grokinterp as gi
from grokinterp import experiments
from grokinterp.cli import COMMANDS, main
from grokinterp.results import FOLDER

MISSPELT = {
    "train --placement mlp-pr": "unknown placement 'mlp-pr'",
    "train --operation ad": "ad",
    "train --probes norm 10": "unknown probe 'norm'; did you mean norm_readout or norms?",
    "train --probes entropie 10": "unknown probe 'entropie'",
    "train --intervene UnitNor:mlp": "unknown intervention 'UnitNor'",
    "train --model.placement mlp-prae": "placement",
    "probe --probes norm": "unknown probe 'norm'",
    "ablate 3f2a --hook UnitNrm:mlp": "unknown intervention 'UnitNrm'",
    "ablate 3f2a --hook cluster:5 UnitNorm:mpl": "unknown pathway 'mpl'",
    "sweep --vary lrr=1": "no config field 'lrr'; did you mean lr?",
    "runs --where sed=1": "no config field 'sed'; did you mean seed?",
    "reproduce ln-positions": "did you mean ln-position?",
}
IN_TURN = """
import contextlib, io, json, sys
from grokinterp.cli import main

ended = []
for command in json.load(sys.stdin):
    said, code = io.StringIO(), None
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(command.split())
        except SystemExit as end:
            code = end.code
    ended.append((code, "torch" in sys.modules, said.getvalue()))
json.dump(ended, sys.stdout)
"""


def test_a_misspelt_name_is_told_before_torch_is_imported():
    done = subprocess.run(
        [sys.executable, "-c", IN_TURN],
        input=json.dumps([*MISSPELT]),
        capture_output=True,
        text=True,
        check=True,
    )
    ended = json.loads(done.stdout)
    for (command, sentence), (code, torch_is_there, said) in zip(
        MISSPELT.items(), ended, strict=True
    ):
        assert (code, torch_is_there) == (2, False), command
        assert sentence in said, command


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from grokinterp.cli import main; main(['--help']); "
        "assert not {'torch', 'pandas', 'transformer_lens', 'tyro'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("arguments", [["runs", "--store", str(FOLDER)], [], ["train", "--help"]])
def test_a_reader_who_closes_the_pipe_is_not_an_error(arguments):
    code = f"from grokinterp.cli import main; main({arguments})"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"grokinterp {command}" in capsys.readouterr().out


def test_train_takes_lists_and_runs_shows_them(tmp_path, capsys):
    store = ["--store", str(tmp_path)]
    main(["train", *SMALL_OPTIONS, "--placements", "M", "off", "--seeds", "1", "2", *store])
    out = capsys.readouterr()
    assert out.out.count("finished") == 4
    assert "memorised" in out.err  # a line for each run at its end, and no bar
    assert "\r" not in out.err
    [run] = gi.open_store(tmp_path).select(placement="mlp-pre", seed=1)
    assert run.config == SMALL_RUN
    main(["runs", *store, "--where", "placement=off", "seed=2"])
    assert capsys.readouterr().out.count("finished") == 1
    main(["runs", *store, "--id", run.id])
    shown = capsys.readouterr().out
    assert all(text in shown for text in (run.id, "d_model = 8   (default 128)", "checkpoints  4"))


def test_a_table_of_a_file_and_a_group_train(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # In a narrower terminal tables become paragraphs.
    path, store = tmp_path / "my.csv", tmp_path / "runs"
    path.write_text("\n".join(",".join(str(max(a, b)) for b in range(5)) for a in range(5)))
    options = [*SMALL_OPTIONS[2:], "--test-fraction", "0.5", "--store", str(store)]
    main(["train", *options, "--table", str(path)])
    [of_table] = gi.open_store(store)
    assert of_table.config.task == gi.TableTask.from_function(max, 5, 0.5)
    path.unlink()  # The run holds what it said.
    main(["sweep", *options, "--group", "S3", "--vary", "group=S3,D4", "seed=1", "--workers", "1"])
    capsys.readouterr()
    main(["runs", "--store", str(store)])
    said = capsys.readouterr()
    shown = said.out.splitlines()
    assert [str(of_table.config.task) in said.out, len(shown), said.err] == [True, 4, ""]
    assert max(map(len, shown)) < 150  # The table itself is not in it.
    main(["runs", "--store", str(store), "--where", "group=D4"])
    assert capsys.readouterr().out.count("finished") == 1
    main(["runs", "--store", str(store), "--id", of_table.id])
    assert "table = <5 × 5 table" in capsys.readouterr().out
    main(["probe", "--store", str(store), of_table.id, "--probes", "norms", "circularity"])
    said = capsys.readouterr()
    assert "norms" in said.out
    assert "circularity is in waves over a cyclic group" in said.err


def test_demo_draws_what_happened(tmp_path, capsys):
    picture = tmp_path / "out" / "grokking.png"
    store = ["--store", str(tmp_path / "runs"), "--figure", str(picture)]
    main(["demo", *store, "--p", "5", "--epochs", "30"])
    assert picture.stat().st_size > 10_000
    assert str(picture) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--placements", "preln"], ["unknown placement 'preln'", "off, attn-pre"]),
        (["train", "--operation", "pow"], ["'pow'", "add, sub"]),
        (["train", "--p", "2"], ["at least 3", "2"]),
        (["train", "--operation", "div", "--p", "8"], ["prime", "8"]),
        (["train", "--test-fraction", "1.5"], ["test_fraction", "1.5"]),
        (["train", "--group", "S6"], ["group must be S3, S4 or S5", "'S6'"]),
        (["train", "--group", "S3", "--p", "7"], ["--p and --group", "options of one"]),
        (["train", "--operand", "1", "--table", "x"], ["--operand and --table", "of one"]),
        (["sweep", "--group", "S3", "--table", "x.csv"], ["--group and --table", "of one"]),
        (["train", "--table", "nowhere.csv"], ["nowhere.csv"]),
        (["sweep", "--group", "S3", "--vary", "p=5"], ["p cannot be varied", "S3"]),
        (["train", "--n-heads", "3"], ["n_heads must divide d_model"]),
        (["train", "--lr", "-1"], ["lr", "-1"]),
        (["train", "--epochs", "0"], ["epochs", "0"]),
        (["train", "--device", "tpu"], ["'tpu'", "cpu, cuda"]),
        (["train", "--stop-when", "accuracy high"], ["stop_when", "accuracy high"]),
        (["runs", "--store", "nowhere"], ["no run store at nowhere"]),
        (["fly"], ["unknown command 'fly'", "demo, train, sweep"]),
        (["rnus"], ["unknown command 'rnus'", "did you mean runs?"]),
        (["train", "--epocs", "5"], ["--epocs", "Perhaps you meant: --epochs"]),
        (["train", "--epochs", "many"], ["--epochs", "'many'", "train --help"]),
        (["ablate"], ["Missing", "RUN --hook", "ablate --help"]),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(
    arguments, words, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "40")
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    [error] = capsys.readouterr().err.splitlines()
    assert error.startswith("grokinterp: ")
    assert all(word in error for word in words), error
    assert not list(tmp_path.iterdir())


def test_a_weights_seed_is_of_every_run(tmp_path, capsys):
    store = tmp_path / "runs"
    main(
        ["train", *SMALL_OPTIONS, "--seeds", "1", "2", "--weights-seed", "2", "--store", str(store)]
    )
    runs = sorted(gi.open_store(store), key=lambda run: run.config.seed)
    assert [(run.config.seed, run.config.weights_seed) for run in runs] == [(1, 2), (2, 2)]
    first, second = (run.checkpoint(0).weights["embed.W_E"] for run in runs)
    assert torch.equal(first, second)
    # The second is what its seed alone gives.
    assert gi.open_store(store).select(id=replace(runs[1].config, weights_seed=None).id)


def test_probes_are_recorded_while_training_and_computed_afterwards(tmp_path, capsys):
    store = ["--store", str(tmp_path / "runs")]
    main(
        [
            "train",
            *SMALL_OPTIONS,
            *store,
            "--seeds",
            "1",
            "2",
            "--probes",
            "attention_entropy",
            "10",
        ]
    )
    runs = gi.open_store(tmp_path / "runs").select()
    assert "attention_entropy.mean" in runs[0].metrics
    capsys.readouterr()
    main(["probe", *store, "--probes", "fourier_concentration", "norms", "--epochs", "0", "30"])
    shown = capsys.readouterr().out
    assert all(run.id[:8] in shown for run in runs)
    lines = [line for line in shown.splitlines() if "fourier_concentration" in line]
    value = gi.PROBES["fourier_concentration"](runs[0].snapshot(30))["value"]
    assert any(line.split()[-1] == f"{value:.4g}" for line in lines)
    main(["probe", runs[1].id[:6], *store, "--leads", "--probes", "fourier_concentration"])
    shown = capsys.readouterr().out
    assert runs[0].id[:8] not in shown
    # It reaches 1, or comes to rest.
    assert "2 of 2 rules were not met" in shown


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--probes", "fourier"],
            "unknown probe 'fourier'; did you mean fourier_concentration or fourier_plane?",
        ),
        (["--epochs", "7"], "has no checkpoint at epoch 7; the nearest are 0, 10, 20, 30"),
        (["zzz"], "no run of"),
    ],
)
def test_a_wrong_probe_command_is_one_sentence(tmp_path, capsys, options, sentence):
    gi.train([SMALL_RUN], store=tmp_path)
    with pytest.raises(SystemExit):
        main(["probe", *options, "--store", str(tmp_path)])
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error


def test_training_under_an_intervention(tmp_path):
    store = ["--store", str(tmp_path)]
    main(
        ["train", *SMALL_OPTIONS, *store, "--intervene", "UnitNorm:mlp,from_epoch=3,until_epoch=9"]
    )
    [run] = gi.open_store(tmp_path).select()
    assert run.config.train.interventions == (
        gi.hooks.UnitNorm("mlp", from_epoch=3, until_epoch=9),
    )
    main(["train", *SMALL_OPTIONS, *store])
    [plain] = [one for one in gi.open_store(tmp_path) if one.id != run.id]
    assert plain.metrics["train_loss"].iloc[-1] != run.metrics["train_loss"].iloc[-1]


def test_python_s_m_is_the_command_line():
    command = [sys.executable, "-m", "grokinterp", "--version"]
    assert subprocess.check_output(command, text=True) == f"grokinterp {gi.__version__}\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_the_terminal_cannot_write_is_replaced(encoding, monkeypatch):
    few = {"weight-decay": experiments.EXPERIMENTS["weight-decay"]}
    monkeypatch.setattr(experiments, "EXPERIMENTS", few)
    monkeypatch.setattr(
        "grokinterp.experiments.verdicts", partial(experiments.verdicts, read=SHIPPED)
    )
    terminal = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    main(["audit"])
    terminal.flush()
    said = terminal.buffer.getvalue()
    assert b"?" in said
    assert b"undecided" in said


def test_a_bug_is_one_line_and_debug_shows_its_place(tmp_path, monkeypatch, capsys):
    def bug(*arguments: object, **options: object) -> None:
        int("no number")

    monkeypatch.setattr("grokinterp.store.run_tables.table", bug)
    gi.train(SMALL_RUN, store=tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["runs", "--store", str(tmp_path)])
    assert stop.value.code == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("grokinterp: it failed with ValueError: invalid literal")
    assert "(runs.py, line" in line
    assert line.endswith("with --debug shows where")
    with pytest.raises(ValueError, match="invalid literal"):
        main(["runs", "--debug", "--store", str(tmp_path)])
    with pytest.raises(SystemExit):
        main(["runs", "--store", str(tmp_path / "none")])
    assert "Traceback" not in capsys.readouterr().err
    with pytest.raises(gi.StoreError):
        main(["runs", "--store", str(tmp_path / "none"), "--debug"])


@pytest.mark.parametrize(
    "command",
    [
        ["demo", "--p", "5", "--epochs", "20", "--figure"],
        ["report", "--out"],
        ["reproduce", "lattice", "--results"],
    ],
)
def test_an_output_that_cannot_be_written_is_told_before_the_work(tmp_path, command, capsys):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SystemExit):
        main([*command, str(tmp_path / "file" / "out"), "--store", str(tmp_path / "runs")])
    shown = capsys.readouterr()
    assert "cannot write" in shown.err
    assert "choose another path" in shown.err
    assert shown.out == ""
    assert not (tmp_path / "runs").exists()


def test_a_trained_model_that_ships_is_ablated_by_its_placement(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scores = {}
    for name in ("M", "mlp-pre"):
        main(["ablate", name, "--hook", "RemoveNorm:mlp", "--epoch", "136"])
        title, *table = capsys.readouterr().out.splitlines()
        assert title == "mlp-pre · seed 456, epoch 136: RemoveNorm:mlp"
        assert not any(line.startswith("Nothing changed") for line in table)
        scores[name] = {line.split()[0]: line.split()[1:] for line in table[2:4]}
    assert scores["M"] == scores["mlp-pre"]
    card = gi.pretrained_card("mlp-pre")["stages"]["memorised"]
    written = [f"{card[name]:.4f}" for name in ("train_accuracy", "test_accuracy")]
    assert [scores["M"]["intact"][place] for place in (1, 3)] == written
    assert scores["M"]["ablated"] != scores["M"]["intact"]
    # Where there is no norm to take out, it is said that nothing changed.
    main(["ablate", "off", "--hook", "RemoveNorm:mlp", "--epoch", "169"])
    assert "Nothing changed: what this takes out" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_ships_without_weights_is_told_from_one_that_is_not_there(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    run = gi.pretrained_card("mlp-pre")["run"]
    for id, sentence in ((run[:6], "have no weights; give a placement"), ("zz", "no run store")):
        with pytest.raises(SystemExit):
            main(["ablate", id, "--hook", "RemoveNorm:mlp"])
        assert sentence in capsys.readouterr().err


@pytest.mark.usefixtures("unchecked")
def test_audit_prints_the_claims_that_are_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    experiments = {name: gi.EXPERIMENTS[name] for name in ("weight-decay", "learning-rate")}
    monkeypatch.setattr("grokinterp.experiments.EXPERIMENTS", experiments)
    main(["audit", "--claim", "Decay", "--format", "json"])
    judged = {one["claim"] for one in json.loads(capsys.readouterr().out)}
    assert judged == {"weight_decay"}
    with pytest.raises(SystemExit):
        main(["audit", "--claim", "entrpy"])
    said = capsys.readouterr().err
    assert "no claim holds 'entrpy'; there are" in said
    assert "learning_rate" in said
