"""What a run's config holds and this process does not know: listed, and made known by a file."""

import contextlib
import io
import json
import sys
from dataclasses import replace

import pytest
from forked import in_a_new_process
from grokinterp.hooks import INTERVENTIONS, UnitNorm, UnknownIntervention, intervention_from_dict
from grokinterp.hooks.unknown import stored_intervention
from runs_cases import SMALL_OPTIONS, SMALL_RUN

import grokinterp as gi
from grokinterp import experiments
from grokinterp.cli import COMMANDS, main
from grokinterp.definition import definition_of
from grokinterp.store.files import StoreError
from grokinterp.user_files import load_file

SOURCE = """
from dataclasses import dataclass

import grokinterp as gi
from grokinterp.hooks import Intervention
from grokinterp.task import OPERATIONS


@dataclass(frozen=True)
class Louder(Intervention):
    by: float = 2.0

    def hooks(self, model):
        return [("blocks.0.hook_mlp_out", lambda x, hook: self.by * x)]


OPERATIONS["a+2b"] = lambda a, b, p, s: (a + 2 * b) % p
gi.PROBES["answer"] = lambda snapshot: {"value": 42.0}
"""


@pytest.fixture(scope="module")
def my_module(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "my_module.py"
    path.write_text(SOURCE)
    return path


def say(*commands):
    """What each command says to stdout and stderr where nothing is loaded that they do not name."""
    return in_a_new_process(_say, [[*map(str, arguments)] for arguments in commands])


def _say(commands):
    # An audit reads what ships of all of them, which takes seconds.
    experiments.EXPERIMENTS = {"weight-decay": experiments.EXPERIMENTS["weight-decay"]}
    said = []
    for arguments in commands:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(arguments)
        said.append((out.getvalue(), err.getvalue()))
    return said


@pytest.fixture(scope="module")
def stores(tmp_path_factory, my_module):
    """A folder of two stores. `runs` holds nine runs of the package's own, and one under an
    intervention of a user's own; `probed` holds one that recorded a probe of a user's own."""
    path = tmp_path_factory.mktemp("stores")
    gi.train([replace(SMALL_RUN, seed=seed) for seed in range(1, 10)], store=path / "runs")
    train, known = ["train", *SMALL_OPTIONS], ["--load", my_module]
    say(
        [*train, "--seeds", 10, "--store", path / "runs", "--intervene", "Louder:by=3", *known],
        [*train, "--store", path / "probed", "--probes", "answer", "10", *known],
    )
    assert "Louder" not in INTERVENTIONS
    assert "answer" not in gi.PROBES
    return path


@pytest.fixture(scope="module")
def store(stores):
    return stores / "runs"


def test_a_run_under_an_unknown_intervention_leaves_the_others_readable(store):
    runs = list(gi.open_store(store))
    assert sorted(run.config.seed for run in runs) == [*range(1, 11)]
    assert gi.open_store(store).problems() == {}
    assert all(len(run.metrics) for run in runs)
    [own] = gi.open_store(store).select(seed=10)
    [item] = own.config.train.interventions
    assert isinstance(item, UnknownIntervention)
    assert (item.from_epoch, item.until_epoch) == (1, None)
    assert own.config.to_dict() == json.loads((own.path / "config.json").read_text())
    # It is trained to its end, and what is there is not trained again.
    assert gi.train([own.config], store=store)[0].metrics.equals(own.metrics)
    # What it trained under is not known, so it is not measured as another model; the others are.
    with pytest.warns(match=f"{own.id[:8]} is left out: .* Louder, which my_module defined"):
        table = gi.probe(runs, ["norms"], epochs=[30])
    assert set(table["run"]) == {run.id for run in runs} - {own.id}
    with pytest.raises(StoreError, match="Louder, which my_module defined, is unknown here"):
        own.snapshot()
    assert own.snapshot(interventions=False).train.logits.isfinite().all()


def test_every_command_lists_it_and_says_how_it_becomes_known(store, my_module):
    where = ["--store", store]
    listed, probed, audited, known = say(
        ["runs", *where],
        ["probe", *where, "--probes", "circularity", "--epochs", 30],
        ["audit", *where],
        ["runs", *where, "--load", my_module],
    )
    assert listed[0].count("finished") == 10
    assert "the intervention Louder" in listed[1]
    assert "--load" in listed[1]
    assert not {"damaged", "delete"} & set(listed[1].split())
    assert probed[0].count("circularity") == probed[0].count("generalised") == 9
    assert "Empty" not in probed[0]
    assert probed[1].count("the intervention Louder") == 1
    assert "the intervention Louder" in probed[1]
    assert " verdicts on " in audited[0]
    assert (known[0].count("finished"), known[1]) == (10, "")


def test_with_its_file_it_acts(store, my_module, tmp_path):
    [own] = gi.open_store(store).select(seed=10)
    where = ["--store", store, "--load", my_module]
    task = ["--operation", "a+2b", f"--load={my_module}"]
    ablated, probed, trained = say(
        ["ablate", own.id, *where, "--hook", "Louder:by=0"],
        ["probe", own.id, *where, "--probes", "answer"],
        ["train", *SMALL_OPTIONS, "--store", tmp_path / "runs", *task],
    )
    assert "ablated" in ablated[0]
    assert "42" in probed[0]
    assert "a+2b (p = 5)" in trained[0]
    # Without the file, that run is listed with its reason, and told apart by what can be read.
    opened = gi.open_store(tmp_path / "runs")
    assert opened.select() == []
    [(folder, problem)] = opened.problems().items()
    assert "unknown operation 'a+2b'" in problem
    assert "--load FILE" in problem
    assert opened.problems(seed=456, p=5, epochs=30, id=folder[:5]) == {folder: problem}
    assert opened.problems(seed=457) == opened.problems(betas=(0.5, 0.5)) == {}
    assert len(opened.problems(betas=(0.9, 0.98))) == 1


def test_a_recorded_probe_that_is_unknown_is_named(stores, my_module):
    where, known = ["--store", stores / "probed"], ["--load", my_module]
    [run] = gi.open_store(stores / "probed").select()
    listed, detailed, loaded = say(
        ["runs", *where], ["runs", "--id", run.id, *where], ["runs", *where, *known]
    )
    assert listed[0].count("finished") == 1
    for said in (listed[1], detailed[0]):
        assert "it records what is unknown here: unknown probe 'answer'" in said
        assert "--load FILE" in said
    assert loaded[1] == ""
    with pytest.raises(ValueError, match=r"unknown probe 'answer'.*--load FILE"):
        gi.probe(run, "answer")


def test_training_under_an_unknown_intervention_is_refused_and_writes_nothing(store, tmp_path):
    [own] = gi.open_store(store).select(seed=10)
    with pytest.raises(ValueError, match=r"Louder.* is unknown here"):
        gi.train([own.config], store=tmp_path / "runs")
    assert not list(tmp_path.glob("runs/*/"))


@pytest.mark.parametrize("send_back", [pytest.param([], marks=pytest.mark.slow), ["--send-back"]])
def test_workers_load_the_files_too(tmp_path, send_back, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("grokinterp.hooks.intervention.INTERVENTIONS", dict(INTERVENTIONS))
    path = tmp_path / f"of_workers_{len(send_back)}.py"
    path.write_text(SOURCE.replace("Louder", "Softer").split("OPERATIONS[")[0])
    options = [*SMALL_OPTIONS, "--seeds", "1", "--intervene", "Softer:by=0.5", "--load", str(path)]
    options += ["--probes", "norms", "10"]
    main(["sweep", *options, "--workers", "1", *send_back, "--store", str(tmp_path / "runs")])
    main(["train", *options, "--store", str(tmp_path / "train")])
    [run], [alone] = (gi.open_store(tmp_path / name).select() for name in ("runs", "train"))
    assert "norms.total" in run.metrics
    assert run.metrics.equals(alone.metrics)
    assert run.status == "finished"


@pytest.mark.parametrize("part", ["task", "model", "train", None])
def test_a_field_of_a_later_version_is_said_to_be_one(tmp_path, part, capsys):
    runs = gi.train([SMALL_RUN, replace(SMALL_RUN, seed=2)], store=tmp_path)
    path = runs[0].path / "config.json"
    data = json.loads(path.read_text())
    (data if part is None else data[part])["label_smoothing"] = 0.1
    path.write_text(json.dumps(data))
    store = gi.open_store(tmp_path)
    assert [run.config.seed for run in store] == [2]
    [problem] = store.problems(placement="M", seed=1).values()
    assert f"{part}.label_smoothing".removeprefix("None.") in problem
    assert "upgrade grokinterp" in problem.lower()
    assert not {"damaged", "delete"} & set(problem.split())
    assert store.problems(seed=2) == {}
    main(["runs", "--store", str(tmp_path)])
    said = capsys.readouterr()
    assert said.out.count("finished") == 1
    assert problem in said.err
    with pytest.raises(StoreError, match="label_smoothing"):
        _ = gi.Run(runs[0].path).config


def test_what_is_stored_and_cannot_be_made_is_kept_as_it_is():
    data = {"name": "Gone", "module": "there.mine", "definition": "0" * 16, "size": [1, 2]}
    item = stored_intervention({**data, "from_epoch": 5, "until_epoch": 9})
    assert item.to_dict() == {**data, "from_epoch": 5, "until_epoch": 9}
    assert [item.active(epoch) for epoch in (4, 5, 9, 10)] == [False, True, True, False]
    assert item == stored_intervention({"from_epoch": 5, "until_epoch": 9, **data})
    assert item != stored_intervention(data)
    assert len({item, stored_intervention(item.to_dict())}) == 1
    with pytest.raises(ValueError, match=r"Gone, which there.mine defined, .*--load mine.py"):
        item.hooks(None)
    later = stored_intervention({"name": "UnitNorm", "pathway": "mlp", "strength": 2})
    with pytest.raises(ValueError, match=r"UnitNorm takes pathway, .*; unknown: strength"):
        later.hooks(None)
    assert "UnknownIntervention" not in INTERVENTIONS


def test_another_definition_of_a_class_does_not_act_for_it():
    data = {"name": "UnitNorm", "pathway": "mlp", "module": "grokinterp.hooks.ln"}
    same = {**data, "definition": definition_of(UnitNorm)}
    assert stored_intervention(same) == intervention_from_dict(same) == UnitNorm("mlp")
    item = stored_intervention({**data, "definition": "abc"})
    with pytest.raises(ValueError, match=r"UnitNorm has changed since.*another \(abc"):
        item.hooks(None)
    with pytest.raises(ValueError, match="has changed since"):
        intervention_from_dict(item.to_dict())


def test_a_file_is_loaded_once_and_by_its_name(tmp_path):
    path = tmp_path / "counts_itself.py"
    path.write_text("import sys\nsys.times = getattr(sys, 'times', 0) + 1\n")
    assert load_file(path) is load_file(str(path)) is sys.modules["counts_itself"]
    assert sys.times == 1
    del sys.times


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nowhere.py", None, "--load takes Python files that are there; got"),
        ("notes.txt", "", "--load takes Python files"),
        ("json.py", "", "cannot be loaded as json, because another module is called so"),
        ("broken_file.py", "1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("not_python.py", "1 +", "cannot be loaded: SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_a_sentence(tmp_path, capsys, name, content, said):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SystemExit):
        main(["runs", "--load", str(tmp_path / name), "--store", str(tmp_path)])
    assert said in capsys.readouterr().err
    assert name == "json.py" or name.partition(".")[0] not in sys.modules


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "demo"])
def test_every_command_that_reads_or_trains_takes_files(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert "--load" in capsys.readouterr().out
