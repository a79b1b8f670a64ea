"""A store of format 1 is refused with the command that carries it over, and that loses nothing."""

import json
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256

import pytest
import torch
from grokinterp.hooks import INTERVENTIONS, Intervention
from runs_cases import SMALL_RUN, with_recipe

import grokinterp as gi
from grokinterp import upgrade
from grokinterp.cli import main
from grokinterp.files import fingerprint, read_json, write_json, write_table
from grokinterp.lock import RunLock
from grokinterp.results import shipped_runs
from grokinterp.training import Derived

DEFAULTS = gi.RunConfig().to_dict()
DEFAULTS["train"]["loss_dtype"] = None


def old_id(data):
    """As format 1 made it."""
    changed = {"seed": data["seed"], "start": data["start"]}
    for part in ("task", "model", "train"):
        changed[part] = {k: v for k, v in data[part].items() if v != DEFAULTS[part][k]}
    text = json.dumps(changed, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:16]


def old_fingerprint(run, epoch):
    weights = run.checkpoint(epoch).weights
    digest = sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].numpy().tobytes())
    return digest.hexdigest()[:16]


def write_old(run, store, start="seed", **train):
    """A run in format 1's layout; its id."""
    data = run.config.to_dict()
    data["start"] = start
    data["train"] |= {"loss_dtype": None, **train}
    folder = store / old_id(data)
    folder.mkdir(parents=True)
    write_json(folder / "config.json", data)
    write_json(store / "store.json", {"format": 1})
    for path in run.path.rglob("*"):
        if path.is_file() and path.name not in ("config.json", "provenance.json"):
            target = folder / path.relative_to(run.path)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    if (folder / "probes.parquet").exists():
        table = run.records.table[["epoch", "probe", "name", "value"]]
        write_table(folder / "probes.parquet", table)
    return folder.name


def numbers(folder):
    """Every file with numbers, byte for byte."""
    kept = (".parquet", ".safetensors")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.suffix in kept or path.name == "status.json"
    }


FLOAT32 = with_recipe(loss_dtype="float32", probes={"cheap": 10, "shortcut:split=test": 30})
BESIDE = with_recipe(FLOAT32, eval_every=3, probes={})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, the same with another thing recorded, and its forks."""
    path = tmp_path_factory.mktemp("trained")
    run, beside = gi.train([FLOAT32, BESIDE], store=path)
    gi.probe([run], ["norms"], epochs=[10])
    shorter = with_recipe(BESIDE, epochs=10)
    derived = Derived(f"{run.id}@20, unchanged", lambda: run.checkpoint(20).weights)
    forks = [
        gi.train([shorter], store=path, init=init)[0]
        for init in (run.checkpoint(20), run.model(30), derived)
    ]
    return run, beside, forks


@pytest.fixture
def old(tmp_path, trained):
    """The same store in format 1, and the old ids."""
    run, beside, (checkpoint, weights, derived) = trained
    store = tmp_path / "runs"
    id = write_old(run, store)
    ids = [
        id,
        write_old(beside, store),
        write_old(checkpoint, store, f"{id}@20:{old_fingerprint(run, 20)}"),
        write_old(weights, store, old_fingerprint(run, 30)),
        write_old(derived, store, f"{id}@20, unchanged"),
    ]
    return store, ids


def test_an_old_store_is_refused_with_the_command_that_carries_it_over(old, capsys):
    store, _ = old
    command = f"python -m grokinterp.upgrade {store}"
    with pytest.raises(gi.StoreError, match=f"has format 1, .* carry it over with: {command}"):
        gi.open_store(store)
    with pytest.raises(SystemExit):
        main(["runs", "--store", str(store)])
    assert command in capsys.readouterr().err
    before = sorted(store.rglob("*"))
    with pytest.raises(gi.StoreError, match="has format 1"):
        gi.train([SMALL_RUN], store=store)
    assert sorted(store.rglob("*")) == before


def test_every_run_keeps_its_numbers_and_gets_its_present_id(old, trained):
    store, ids = old
    before = {id: numbers(store / id) for id in ids}
    out = subprocess.check_output([sys.executable, "-m", "grokinterp.upgrade", str(store)])
    assert out == b""
    run, beside, forks = trained
    opened = gi.open_store(store)
    assert len(opened) == 4
    for id, one in zip(ids, [run, beside, *forks], strict=True):
        [kept] = [
            found for found in opened.recordings(one.id) if found.provenance[0]["format_1_id"] == id
        ]
        assert kept.config == one.config
        assert kept.path.name == one.path.name
        assert numbers(kept.path) == before[id]
        assert kept.metrics.equals(one.metrics)
        assert kept.provenance[0]["torch"] is None
    kept = opened.recordings(run.id)[0]
    assert kept.definitions.keys() == run.definitions.keys()
    assert set(kept.definitions.values()) == {"1"}
    assert kept.records.table["definition"].unique().tolist() == ["1"]
    assert kept.records.table["provenance"].unique().tolist() == ["{}"]
    assert kept.probes.equals(run.probes)


def test_nothing_is_trained_again_after_it(old, trained, monkeypatch):
    store, _ = old
    upgrade.upgrade(store)
    monkeypatch.setattr("grokinterp.training.train_together", None)
    run, _, (checkpoint, weights, _) = trained
    gi.train([FLOAT32, BESIDE], store=store)
    shorter = with_recipe(BESIDE, epochs=10)
    [kept] = gi.open_store(store).recordings(run.id)[:1]
    assert gi.train([shorter], store=store, init=kept.checkpoint(20))[0].id == checkpoint.id
    assert gi.train([shorter], store=store, init=kept.model(30))[0].id == weights.id


@pytest.mark.parametrize("writes", range(1, 13))
def test_a_killed_upgrade_is_finished_by_the_same_command(old, trained, monkeypatch, writes):
    store, ids = old
    before = {id: numbers(store / id) for id in ids}
    count = 0

    def killed(*arguments):
        nonlocal count
        count += 1
        if count == writes:
            raise KeyboardInterrupt
        write_json(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(upgrade, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            upgrade.upgrade(store)
    assert upgrade.upgrade(store) == []
    run, beside, forks = trained
    names = {one.path.name for one in (run, beside, *forks)}
    assert {path.name for path in store.iterdir()} == {*names, "store.json"}
    for found in gi.open_store(store).recordings(run.id):
        assert numbers(found.path) == before[found.provenance[0]["format_1_id"]]


def test_what_cannot_be_carried_over_is_moved_aside_and_said(old, trained):
    store, ids = old
    (store / ids[1] / "config.json").write_text("{")
    data = read_json(store / ids[2] / "config.json")
    write_json(store / ids[2] / "config.json", {**data, "seed": 5})
    run, _, _ = trained
    twice = write_old(run, store, loss_dtype="float32")
    said = {one.split(":")[0].removeprefix("run "): one for one in upgrade.upgrade(store)}
    assert "it cannot be read" in said.pop(ids[1])
    assert "its config.json was changed after the run began" in said.pop(ids[2])
    kept = {run.provenance[0]["format_1_id"] for run in gi.open_store(store).recordings(run.id)}
    [same] = {ids[0], twice} - kept
    assert f"it is the same as {kept.pop()}, and was moved to" in said.pop(same)
    assert said == {}
    assert {path.name for path in (store / "format-1").iterdir()} == {*ids[1:3], same}
    assert len(gi.open_store(store)) == 3


def test_a_parent_that_is_not_there_leaves_its_name(tmp_path, trained):
    _, _, (checkpoint, weights, derived) = trained
    store = tmp_path / "runs"
    old = [
        write_old(checkpoint, store, "0123456789abcdef@20:fedcba9876543210"),
        write_old(weights, store, "fedcba9876543210"),
        write_old(derived, store, "0123456789abcdef@20, unchanged"),
    ]
    said = upgrade.upgrade(store, {"0123456789abcdef": "aaaaaaaaaaaaaaaa"})
    assert [one.split(":")[0] for one in said] == [f"run {id}" for id in sorted(old[:2])]
    starts = {run.provenance[0]["format_1_id"]: run.config.start for run in gi.open_store(store)}
    assert starts == {
        old[0]: "0123456789abcdef@20:fedcba9876543210",
        old[1]: "fedcba9876543210",
        old[2]: "aaaaaaaaaaaaaaaa@20, unchanged",
    }


def test_a_run_under_a_user_s_intervention_is_kept_and_not_taken_for_another(tmp_path, trained):
    @dataclass(frozen=True)
    class Mine(Intervention):
        share: float = 0.5

    try:
        run, *_ = trained
        item = {"name": "Mine", "share": 0.5, "from_epoch": 1, "until_epoch": None}
        write_old(run, tmp_path, interventions=[item])
        assert upgrade.upgrade(tmp_path) == []
        [kept] = tmp_path.glob("*-*")
        [written] = read_json(kept / "config.json")["train"]["interventions"]
        assert written["definition"] is None
        config = with_recipe(FLOAT32, interventions=(Mine(),))
        assert gi.Store(tmp_path).recordings(config.id) == []
        with pytest.raises(gi.StoreError, match="intervention Mine is defined otherwise now"):
            _ = gi.Run(kept).config
    finally:
        del INTERVENTIONS["Mine"]


def test_a_run_that_is_being_trained_is_waited_for(old):
    store, ids = old
    lock = RunLock(store / ids[0])
    assert lock.acquire(wait=False)
    with pytest.raises(gi.StoreError, match=f"is training run {ids[0]}"):
        upgrade.upgrade(store)
    lock.release()
    assert upgrade.upgrade(store) == []


def test_runs_that_come_later_are_carried_over_too(old, trained):
    """As from a branch that still has format 1: forks find parents that were carried over."""
    store, ids = old
    aside = store.parent / ids[4]
    (store / ids[4]).rename(aside)
    upgrade.upgrade(store)
    aside.rename(store / ids[4])
    assert upgrade.upgrade(store) == []
    *_, derived = trained[2]
    assert gi.open_store(store).find(derived.config) is not None


def test_only_run_stores_are_carried_over(tmp_path):
    with pytest.raises(gi.StoreError, match=r"store\.json is missing"):
        upgrade.upgrade(tmp_path)
    with pytest.raises(SystemExit, match=r"usage: python -m grokinterp\.upgrade STORE"):
        upgrade.main([])
    with pytest.raises(SystemExit, match=r"grokinterp: .*store\.json is missing"):
        upgrade.main([str(tmp_path)])
    write_json(tmp_path / "store.json", {"format": 99})
    with pytest.raises(gi.StoreError, match="has format 99; only format 1 is carried over"):
        upgrade.upgrade(tmp_path)


def test_marks_of_what_was_tracked_follow(old):
    store, ids = old
    (store / "tracking" / "tensorboard" / "mlp-pre" / f"seed-1-{ids[0]}").mkdir(parents=True)
    write_json(store / "tracking" / f"wandb-{ids[0]}.json", {"epoch": 30})
    upgrade.upgrade(store)
    assert (store / "tracking" / f"wandb-{FLOAT32.id}.json").exists()
    assert (store / "tracking" / "tensorboard" / "mlp-pre" / f"seed-1-{FLOAT32.id}").exists()


def test_the_shipped_runs_ids_of_before_are_those_that_format_1_gave():
    for run in shipped_runs():
        [stretch] = run.provenance
        data = run.config.to_dict()
        if run.config.start != "seed":
            continue
        ids = set()
        for loss_dtype in (data["train"]["loss_dtype"], None):
            data["train"]["loss_dtype"] = loss_dtype
            ids.add(upgrade.old_identity(data))
        assert stretch["format_1_id"] in ids


def test_fingerprints_tell_shapes_and_dtypes_apart():
    zeros = torch.zeros(2, 6)
    others = (zeros.view(3, 4), zeros.view(6, 2), zeros.int(), zeros.view(12))
    found = {fingerprint({"w": one}) for one in (zeros, *others)}
    assert len(found) == 5
    assert len({upgrade.old_fingerprint({"w": one}) for one in (zeros, *others)}) == 1
