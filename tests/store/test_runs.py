"""The store: selection, and refusal of what is damaged or foreign."""

import json
import os
from dataclasses import replace

import pandas as pd
import pytest
import torch
from runs_cases import SMALL_RUN, with_model, with_recipe

import grokinterp as gi
from grokinterp.store.files import StoreError, fingerprint, read_tensors
from grokinterp.store.writer import RunWriter


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    configs = [SMALL_RUN, replace(SMALL_RUN, seed=2), with_model(placement="off")]
    return gi.train(configs, store=tmp_path_factory.mktemp("store") / "runs")


@pytest.fixture
def run(tmp_path):
    return gi.train([SMALL_RUN], store=tmp_path / "runs")[0]


def test_selects_by_config_fields(trained):
    store = gi.open_store(trained[0].path.parent)
    assert len(store) == 3
    assert [run.id for run in store.select(placement="mlp-pre", seed=2)] == [trained[1].id]
    assert [run.id for run in store.select(placement="No LN")] == [trained[2].id]
    assert len(store.select(placement=("off", "M"), seed=[1])) == 2
    assert [run.id for run in store.select(id=trained[0].id[:5])] == [trained[0].id]
    assert store.select(seed=99) == []
    with pytest.raises(ValueError, match="no config field 'sed'; did you mean seed"):
        store.select(sed=1)


def test_selects_a_recipe_by_its_text(tmp_path):
    recipes = [
        {"optimizer": "torch.optim.NAdam:momentum_decay=0.01,eps=1e-8", "weight_decay": 0.0},
        {"gradient_filters": ("orthogonal", "grokfast:alpha=0.9"), "loss": "mse"},
        {"lr_schedule": "warmup:2 + cosine"},
    ]
    configs = [with_recipe(epochs=1, **recipe) for recipe in recipes]
    nadam, filtered, scheduled = gi.train(configs, store=tmp_path)
    store = gi.open_store(tmp_path)

    def found(**fields):
        return {run.id for run in store.select(**fields)}

    spelt = "torch.optim.NAdam: eps=1e-08, momentum_decay = 0.010"
    assert found(optimizer=spelt) == {nadam.id}
    assert found(optimizer=["adamw", spelt]) == {nadam.id, filtered.id, scheduled.id}
    assert found(gradient_filters=("Orthogonal", "grokfast:0.9")) == {filtered.id}
    assert found(gradient_filters="grokfast:0.9") == set()
    assert found(gradient_filters=[None, "grokfast"]) == {nadam.id, scheduled.id}
    assert found(loss=("mse", "stablemax")) == {filtered.id}
    assert found(lr_schedule="warmup:2+cosine") == {scheduled.id}
    with pytest.raises(ValueError, match="unknown gradient filter 'grokfist'"):
        store.select(gradient_filters="grokfist")


def test_a_store_is_as_readable_as_the_user_s_other_files(run, tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    for path in run.path.rglob("*.*"):
        assert path.stat().st_mode == plain.stat().st_mode, path


def test_a_missing_checkpoint_names_the_nearest(trained):
    with pytest.raises(ValueError, match="epoch 14; the nearest are 0, 10, 20, 30"):
        trained[0].model(epoch=14)


def test_a_last_checkpoint_that_is_gone_is_not_replaced_by_the_one_before_it(run):
    run.checkpoint_path(30).unlink()
    said = "last checkpoint at epoch 30, and the store no longer holds it; .* are 0, 10, 20"
    for read in (run.snapshot, run.model, run.checkpoint):
        with pytest.raises(StoreError, match=said):
            read()
    assert run.snapshot(20).epoch == 20


def test_the_last_checkpoint_is_that_of_how_far_the_run_came(run):
    run.checkpoint_path(30).unlink()
    for status, epoch, last in (("running", 29, 20), ("diverged", 30, 20), ("running", 19, 20)):
        RunWriter(run).save_status(status, epoch)
        assert run.find_checkpoint() == last
    RunWriter(run).save_status("stopped", 25)
    with pytest.raises(StoreError, match="at epoch 25"):
        run.snapshot()


@pytest.mark.parametrize("damage", ["truncated", "empty"])
@pytest.mark.parametrize(
    ("file", "read"),
    [
        ("metrics.parquet", lambda run: run.metrics),
        ("checkpoints/000010.safetensors", lambda run: run.model(10)),
        ("config.json", lambda run: gi.Run(run.path).config),
    ],
)
def test_a_damaged_file_is_named_and_refused(run, file, read, damage):
    path = run.path / file
    data = path.read_bytes()
    path.write_bytes({"truncated": data[: len(data) // 2], "empty": b""}[damage])
    with pytest.raises(StoreError, match=path.name):
        read(run)


@pytest.mark.parametrize("file", ["metrics.parquet", "checkpoints/000010.safetensors"])
def test_no_flipped_bit_changes_a_number_unseen(run, file):
    path = run.path / file
    whole, metrics, weights = path.read_bytes(), run.metrics, run.checkpoint(10).weights
    refused = []
    for position in range(0, len(whole), 61):
        damaged = bytearray(whole)
        damaged[position] ^= 0x04
        path.write_bytes(damaged)
        try:
            again, weights_again = run.metrics, run.checkpoint(10).weights
        except StoreError as error:
            refused.append(str(error))
        else:  # The bit was in a note that no reader takes numbers from.
            pd.testing.assert_frame_equal(again, metrics, check_exact=True)
            assert all(torch.equal(weights_again[name], weights[name]) for name in weights)
    assert len(refused) > 10
    assert all(path.name in message for message in refused)


def test_a_damaged_state_is_refused_when_training_goes_on(run):
    (run.path / "status.json").unlink()
    (run.path / "state.safetensors").write_bytes(b"half")
    with pytest.raises(StoreError, match=r"state\.safetensors is damaged"):
        gi.train([SMALL_RUN], store=run.path.parent)


def test_an_edited_config_is_refused(run):
    path = run.path / "config.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "seed": 7}))
    with pytest.raises(StoreError, match="it was changed after"):
        _ = gi.Run(run.path).config


def test_an_edit_of_what_a_config_says_was_recorded_is_refused(run):
    path = run.path / "config.json"
    data = json.loads(path.read_text())
    data["train"]["keep_optimizer"] = True
    path.write_text(json.dumps(data))
    with pytest.raises(StoreError, match="it was changed after"):
        _ = gi.Run(run.path).config


def test_foreign_folders_and_other_formats_are_refused(tmp_path, run):
    with pytest.raises(StoreError, match="there is no run store at"):
        gi.open_store(tmp_path / "nowhere")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(StoreError, match="is not a run store"):
        gi.open_store(tmp_path / "mine", create=True)
    (run.path.parent / "store.json").write_text('{"format": 99}')
    with pytest.raises(StoreError, match="has format 99; this version"):
        gi.open_store(run.path.parent)


def test_fingerprints_tell_shapes_and_dtypes_apart():
    zeros = torch.zeros(2, 6)
    others = (zeros.view(3, 4), zeros.view(6, 2), zeros.int(), zeros.view(12))
    assert len({fingerprint({"w": one}) for one in (zeros, *others)}) == 5


def test_nothing_is_pickled(run):
    for path in run.path.rglob("*.safetensors"):
        assert read_tensors(path)[0]
    assert {path.suffix for path in run.path.rglob("*") if path.is_file()} == {
        "",
        ".json",
        ".parquet",
        ".safetensors",
    }


def test_files_follow_the_umask_of_when_they_are_written(tmp_path):
    before = os.umask(0o027)
    try:
        gi.train(SMALL_RUN, store=tmp_path)
    finally:
        os.umask(before)
    files = [
        path for path in tmp_path.rglob("*") if path.suffix in (".json", ".safetensors", ".parquet")
    ]
    assert {path.suffix for path in files} == {".json", ".safetensors", ".parquet"}
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o640"}
