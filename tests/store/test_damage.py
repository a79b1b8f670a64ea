"""One bad thing in a store is named and left out, and everything else stays readable."""

import shutil
from dataclasses import replace

import pytest
from runs_cases import SMALL_RUN, Interrupt, same_run, with_model

import grokinterp as gi
from grokinterp.cli import main
from grokinterp.experiments import EXPERIMENTS, verdicts
from grokinterp.reproduction.experiment import Results
from grokinterp.reproduction.plan import make_plan
from grokinterp.results import shipped, shipped_runs
from grokinterp.store.files import StoreError, read_json, write_json
from grokinterp.store.lock import RunLock
from grokinterp.store.progress import Observer

CONFIGS = [SMALL_RUN, replace(SMALL_RUN, seed=2), with_model(placement="off")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "runs"
    gi.probe(gi.train(CONFIGS, store=path), ["attention_entropy"])
    return path


@pytest.fixture
def store(whole, tmp_path):
    """A copy to damage, and its first run's folder."""
    return gi.open_store(shutil.copytree(whole, tmp_path / "runs"))


def bad(store):
    return store.recording(SMALL_RUN).path


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


class Heard(Observer):
    def __init__(self):
        self.left_out_of = []

    def left_out(self, run, reason):
        self.left_out_of.append((run.id, reason))


def said(capsys, *arguments):
    """What a command says to stdout, and to stderr."""
    main([*map(str, arguments)])
    return capsys.readouterr()


def test_a_copy_of_a_run_is_named_and_left_out(store, capsys):
    shutil.copytree(bad(store), store.path / f"{bad(store).name}.bak")
    assert {run.id for run in store} == {config.id for config in CONFIGS}
    assert len(store.select(id=SMALL_RUN.id)) == 1
    [(folder, problem)] = store.problems().items()
    assert folder == f"{bad(store).name}.bak"
    assert "looks like a copy" in problem
    assert "delete" not in problem
    listed = said(capsys, "runs", "--store", store.path)
    assert listed.out.count("finished") == 3
    assert f"{folder} is left out: " in listed.err
    assert store.problems(placement="off") == {}


@pytest.mark.parametrize("damage", ["truncated", "missing", "a list", "no run"])
def test_a_bad_config_leaves_the_other_runs(store, capsys, damage):
    path = bad(store) / "config.json"
    expected = {"truncated": "is damaged", "missing": "is missing", "a list": "is damaged"}
    match damage:
        case "truncated":
            truncate(path)
        case "missing":
            path.unlink()
        case "a list":
            path.write_text("[]")
        case _:
            path.write_text("{}")
    assert {run.id for run in store} == {config.id for config in CONFIGS[1:]}
    [(folder, problem)] = store.problems(seed=1).items()
    assert folder == bad(store).name
    assert f"{path} {expected.get(damage, 'describes no run')}" in problem
    assert "train the same run again, which writes it anew" in problem
    for command in (["runs"], ["probe", "--probes", "norms", "--epochs", "30"]):
        shown = said(capsys, *command, "--store", store.path)
        assert folder[:8] not in shown.out
        assert all(config.id[:8] in shown.out for config in CONFIGS[1:])
        assert problem in shown.err
    # As it says:
    path.unlink(missing_ok=True)
    [run] = gi.train([SMALL_RUN], store=store.path)
    assert gi.Run(run.path).config == SMALL_RUN
    assert store.problems() == {}


@pytest.mark.parametrize("file", ["status.json", "metrics.parquet"])
@pytest.mark.parametrize("damage", ["truncated", "foreign"])
def test_a_bad_status_or_table_leaves_the_other_runs(store, capsys, monkeypatch, file, damage):
    monkeypatch.setenv("COLUMNS", "200")  # In a narrower terminal tables become paragraphs.
    path = bad(store) / file
    if damage == "truncated":
        truncate(path)
    else:
        path.write_text("{}")
    assert len(store.select(seed=(1, 2))) == 3
    shown = said(capsys, "runs", "--store", store.path)
    [line] = [line for line in shown.out.splitlines() if SMALL_RUN.id[:8] in line]
    assert line.count("?") == 5
    assert shown.out.count("finished") == 2
    assert str(path) in shown.err
    shown = said(capsys, "runs", "--store", store.path, "--id", SMALL_RUN.id)
    assert str(path) in shown.out
    assert "d_model = 8" in shown.out
    shown = said(capsys, "probe", "--store", store.path, "--probes", "norms", "--epochs", "30")
    assert all(config.id[:8] in shown.out for config in CONFIGS[1:])
    assert str(path) in shown.err
    shown = said(capsys, "train", "--store", store.path, *SMALL_OPTIONS, "--seeds", "2")
    assert "finished" in shown.out


SMALL_OPTIONS = ["--p", "5", "--d-model", "8", "--n-heads", "2", "--epochs", "30"]
SMALL_OPTIONS += ["--eval-every", "5", "--checkpoint-every", "10"]


@pytest.mark.parametrize(
    ("file", "read"),
    [
        ("metrics.parquet", lambda run: run.metrics),
        ("status.json", lambda run: run.status),
        ("probes.parquet", lambda run: run.probes),
        ("probes/000010.safetensors", lambda run: run.arrays(10, "attention_entropy")),
        ("checkpoints/000010.safetensors", lambda run: run.model(10)),
    ],
)
def test_doing_what_is_said_of_one_file_makes_the_run_whole(store, whole, file, read):
    """No more than the file is to be deleted."""
    truncate(bad(store) / file)
    run, before = gi.Run(bad(store)), gi.Run(whole / bad(store).name)
    with pytest.raises(
        StoreError, match=r"is damaged .*; restore it, or delete this file"
    ) as error:
        read(run)
    (bad(store) / file).unlink()
    if "train the run again" in str(error.value):
        gi.train([SMALL_RUN], store=store.path)
        same_run(run, before)
        assert (run.status, run.epoch) == ("finished", 30)
    elif "with --again" in str(error.value):
        gi.probe([run], ["attention_entropy"], epochs=[10], again=True)
    elif "probe the run again" in str(error.value):
        gi.probe([run], ["attention_entropy"])
    else:
        assert "use the run's others" in str(error.value)
        assert run.checkpoint_epochs == (0, 20, 30)
        return
    assert str(read(run)) == str(read(before))


def test_a_finished_run_without_its_metrics_is_not_over(store):
    (bad(store) / "metrics.parquet").unlink()
    run = gi.Run(bad(store))
    assert (run.status, run.is_over) == ("finished", False)
    with pytest.raises(StoreError, match=r"metrics.parquet is missing; .*train the run again"):
        _ = run.metrics
    [again] = gi.train([SMALL_RUN], store=store.path)
    assert again.is_over
    assert len(again.metrics) == 7


def test_a_state_without_its_metrics_begins_anew(tmp_path):
    """Its earlier rows would be lost unseen."""
    with pytest.raises(KeyboardInterrupt):
        gi.train([SMALL_RUN], store=tmp_path, observer=Interrupt(20))
    [run] = gi.open_store(tmp_path).select()
    (run.path / "metrics.parquet").unlink()
    [run] = gi.train([SMALL_RUN], store=tmp_path)
    assert run.metrics["epoch"].tolist() == [1, 5, 10, 15, 20, 25, 30]


def test_a_damaged_state_says_what_becomes_of_the_run(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        gi.train([SMALL_RUN], store=tmp_path / "runs", observer=Interrupt(20))
    [run] = gi.open_store(tmp_path / "runs").select()
    truncate(run.path / "state.safetensors")
    with pytest.raises(StoreError, match=r"delete this file and .*begins anew from epoch 0"):
        gi.train([SMALL_RUN], store=tmp_path / "runs")
    (run.path / "state.safetensors").unlink()
    [run] = gi.train([SMALL_RUN], store=tmp_path / "runs")
    same_run(run, gi.train([SMALL_RUN], store=tmp_path / "whole")[0])


@pytest.mark.parametrize("name", ["._000012.safetensors", "notes.safetensors", "7.safetensors"])
def test_a_file_that_is_no_checkpoint_is_none(store, name, capsys):
    for place in (bad(store) / "checkpoints", bad(store), store.path):
        for foreign in (name, ".DS_Store"):
            (place / foreign).write_bytes(b"\0\5\26\7")
    (store.path / ".Trash").mkdir()
    shutil.copytree(bad(store), store.path / ".Trash" / bad(store).name)
    shutil.copytree(bad(store), store.path / f"._{bad(store).name}")
    assert gi.Run(bad(store)).checkpoint_epochs == (0, 10, 20, 30)
    assert len(store) == 3
    assert store.problems() == {}
    shown = said(capsys, "probe", SMALL_RUN.id, "--store", store.path, "--probes", "norms")
    assert "norms" in shown.out


def test_a_damaged_checkpoint_leaves_the_others_to_be_probed(store):
    truncate(bad(store) / "checkpoints" / "000010.safetensors")
    heard = Heard()
    table = gi.probe(store, ["norms"], observer=heard)
    assert table.groupby("run")["epoch"].nunique().to_dict() == {
        config.id: 3 if config == SMALL_RUN else 4 for config in CONFIGS
    }
    [(id, reason)] = heard.left_out_of
    assert id == SMALL_RUN.id
    assert reason.startswith("at epoch 10, ")
    assert "000010.safetensors is damaged" in reason


@pytest.mark.usefixtures("unchecked")
def test_a_value_that_is_none_is_not_said_to_be_of_a_later_version_alone(store):
    path = bad(store) / "config.json"
    path.write_text(path.read_text().replace('"lr": 0.001', '"lr": "abc"'))
    [problem] = store.problems().values()
    assert "lr must be a finite number above 0; got 'abc'" in problem
    assert "if it is neither, restore the file" in problem
    assert len(store) == 2


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("file", ["probes.parquet", "probes/000010.safetensors"])
def test_damaged_records_leave_the_other_runs_to_be_probed(store, file, again):
    truncate(bad(store) / file)
    heard = Heard()
    table = gi.probe(store, ["attention_entropy"], again=again, observer=heard)
    assert set(table["run"]) >= {config.id for config in CONFIGS[1:]}
    assert len(heard.left_out_of) == ("safetensors" not in file)


def test_a_run_without_checkpoints_leaves_the_others_to_be_probed(store):
    store.create(replace(SMALL_RUN, seed=77))
    heard = Heard()
    table = gi.probe(store, ["norms"], epochs=[0, 30], observer=heard)
    assert table["run"].nunique() == 3
    assert "has no checkpoint yet" in heard.left_out_of[0][1]


def test_where_nothing_can_be_read_probing_is_refused(store):
    shutil.rmtree(bad(store) / "checkpoints")
    said = "has no checkpoint yet"
    with pytest.warns(match=said), pytest.raises(StoreError, match=said):
        gi.probe(store.select(placement="M", seed=1), ["norms"], epochs=[0])


@pytest.mark.parametrize("damage", ["no metrics", "metrics", "config", "probes", "status"])
def test_what_ships_stands_in_for_a_damaged_run(tmp_path, damage, capsys, monkeypatch):
    """And no seed is dropped from a claim."""
    # Of two seeds and without figures: to read all that ships, and to draw it, takes seconds.
    whole = EXPERIMENTS["ln-position"]
    experiment = replace(whole, seeds=(456, 789), results=lambda done: Results())
    config = experiment.plan((456,))[0].config
    source = shipped(config.id)
    assert source is not None
    store = gi.open_store(tmp_path / "runs", create=True)
    folder = shutil.copytree(source.path, store.path / source.path.name)
    match damage:
        case "no metrics":
            (folder / "metrics.parquet").unlink()
        case "status":
            (folder / "status.json").write_text("{}")
        case _:
            suffix = ".json" if damage == "config" else ".parquet"
            truncate(folder / f"{damage}{suffix}")
    plan = make_plan(experiment, str(store.path), [456])
    assert plan.found[config.id].path == source.path
    assert set(plan.problems) == (set() if damage == "no metrics" else {folder.name})
    if damage == "metrics":
        problems = {}
        monkeypatch.setattr("grokinterp.experiments.EXPERIMENTS", {"ln-position": experiment})
        assert verdicts(str(store.path), problems=problems) == verdicts(str(tmp_path / "nowhere"))
        assert set(problems) == {folder.name}
        shown = said(capsys, "audit", "--store", store.path)
        assert "2 verdicts on 2 claims" in shown.out
        assert f"{folder.name} is left out: {folder / 'metrics.parquet'} is damaged" in shown.err
        results = ["--results", tmp_path / "results", "--no-train", "--seeds", "1"]
        shown = said(capsys, "reproduce", "ln-position", "--store", store.path, *results)
        assert "LN position" in shown.out
        assert shown.err.count("is left out") == 1


def test_a_damaged_owner_is_another_process(store):
    lock = RunLock(bad(store))
    for content in ("{}", "[", '{"pid": 3}'):
        (bad(store) / "owner.json").write_text(content)
        assert lock.owner == "another process"


def test_a_damaged_marker_says_what_it_must_hold(store):
    (store.path / "store.json").write_text("")
    with pytest.raises(StoreError, match=r'store.json is damaged .*write {"format": 2} into it'):
        gi.open_store(store.path)


def test_every_run_that_ships_can_be_read():
    assert shipped_runs().problems() == {}
    assert all(run.is_over for run in shipped_runs())


def test_an_unknown_status_is_a_sentence(store):
    path = bad(store) / "status.json"
    write_json(path, {**read_json(path), "status": "paused"})
    with pytest.raises(StoreError, match="does not say how far the run is; restore it, or"):
        _ = gi.Run(bad(store)).status
