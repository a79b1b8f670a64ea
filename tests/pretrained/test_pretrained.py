"""The models that ship are what their cards say, and are rebuilt by one function."""

from dataclasses import replace

import pytest
import torch
from runs_cases import SMALL_RUN, with_model

import grokinterp as gi
from grokinterp import pretrained
from grokinterp.model.build import build_model
from grokinterp.placement import PLACEMENTS
from grokinterp.pretrained import __main__ as rebuilding
from grokinterp.pretrained import pretrained_card
from grokinterp.probes import PROBES
from grokinterp.snapshot import NotApplicable
from grokinterp.store.files import StoreError

STAGES = ("init", "memorised", "grokked")


def accuracy(inputs) -> float:
    return (inputs.logits.argmax(-1) == inputs.labels).double().mean().item()


@pytest.mark.parametrize(
    ("placement", "stage"),
    [
        pytest.param(
            placement,
            stage,
            marks=() if stage == "grokked" or placement in ("off", "mlp-pre") else pytest.mark.slow,
        )
        for placement in PLACEMENTS
        for stage in STAGES
    ],
)
def test_a_model_is_what_its_card_says(placement, stage):
    card = pretrained_card(placement)
    shot = gi.pretrained_snapshot(placement, stage)
    described = card["stages"][stage]
    assert shot.epoch == described["epoch"]
    assert accuracy(shot.train) == described["train_accuracy"]
    assert accuracy(shot.test) == described["test_accuracy"]
    if stage == "memorised":
        assert described["train_accuracy"] >= 0.99
    if stage == "grokked" and not card["generalised_for_good"].startswith("not"):
        assert described["test_accuracy"] >= 0.95
    config = gi.RunConfig.from_dict(card["config"])
    assert config.id == card["run"]
    assert (config.model.placement, config.seed, config.task.p) == (placement, 456, 113)


def test_the_initial_models_are_the_seed_s():
    for placement in PLACEMENTS:
        config = gi.RunConfig.from_dict(pretrained_card(placement)["config"])
        fresh = build_model(config.model, config.task, config.seed)
        loaded = gi.load_pretrained(placement, "init")
        for name, value in fresh.state_dict().items():
            assert torch.equal(value, loaded.state_dict()[name]), (placement, name)


def test_metrics_end_where_the_card_says():
    for placement in PLACEMENTS:
        metrics, card = gi.pretrained_metrics(placement), pretrained_card(placement)
        assert str(gi.grokking_times(metrics).generalised) == card["generalised"]
        assert metrics["epoch"].iloc[-1] == card["stages"]["grokked"]["epoch"]
        last = metrics["test_accuracy"].iloc[-1]
        assert last == pytest.approx(card["stages"]["grokked"]["test_accuracy"], abs=1e-3)


def test_a_snapshot_knows_the_other_stages():
    shot = gi.pretrained_snapshot("M", "memorised")
    assert shot.other("initial").epoch == shot.other(0).epoch == 0
    assert shot.other("final").epoch == shot.other(10_000).epoch == 10_000
    assert PROBES["norms"](shot)["distance_from_initial"] > 1


@pytest.mark.parametrize("stage", STAGES)
def test_a_checkpoint_that_does_not_ship_is_not_replaced_by_a_stage(stage):
    shot = gi.pretrained_snapshot("M", stage)
    with pytest.raises(NotApplicable, match=r"the previous checkpoint .* does not ship"):
        shot.other("previous")
    with pytest.raises(NotApplicable, match=r"epoch 9,900 .* one of 0 \(init\), 136 \(mem"):
        shot.other(9_900)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("placement", "stage", "sentence"),
    [
        ("q+mlp", "grokked", r"no pretrained model for placement 'q\+mlp'; there are off,"),
        ("nowhere", "grokked", "unknown placement 'nowhere'"),
        ("off", "generalised", "unknown stage 'generalised'; choose one of init, memorised"),
    ],
)
def test_a_model_that_does_not_ship_is_a_sentence(placement, stage, sentence):
    with pytest.raises(ValueError, match=sentence):
        gi.load_pretrained(placement, stage)


def test_all_of_it_is_small():
    total = sum(path.stat().st_size for path in pretrained.FOLDER.iterdir() if path.is_file())
    assert total <= 30e6


@pytest.fixture(scope="module")
def small_runs(tmp_path_factory):
    recipe = replace(SMALL_RUN.train, epochs=400, checkpoint_every=50, weight_decay=0.1)
    small = replace(SMALL_RUN, train=recipe)
    return gi.train(
        [with_model(small, placement=name) for name in ("off", "mlp-pre", "peri")],
        store=tmp_path_factory.mktemp("rebuilt") / "runs",
    )


@pytest.fixture
def rebuilt(small_runs, tmp_path, monkeypatch):
    """Models of small runs in a folder of their own."""
    rebuilding.write(small_runs, tmp_path)
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    pretrained._cards.cache_clear()
    pretrained._snapshot.cache_clear()
    yield small_runs
    pretrained._cards.cache_clear()
    pretrained._snapshot.cache_clear()


def test_rebuilding_writes_each_run_s_checkpoints(rebuilt):
    for run in rebuilt:
        placement = run.config.model.placement
        for stage in STAGES:
            epoch = pretrained_card(placement)["stages"][stage]["epoch"]
            loaded = gi.load_pretrained(placement, stage).state_dict()
            for name, value in run.checkpoint(epoch).weights.items():
                assert torch.equal(loaded[name], value), (placement, stage, name)
    with pytest.raises(ValueError, match="no pretrained model for placement 'pre'"):
        gi.load_pretrained("pre")


def test_a_model_that_is_not_the_card_s_is_refused(rebuilt):
    folder = pretrained.FOLDER
    (folder / "off.grokked.safetensors").write_bytes(
        (folder / "off.memorised.safetensors").read_bytes()
    )
    with pytest.raises(ValueError, match="not what the card describes"):
        gi.load_pretrained("off", "grokked")
    (folder / "peri.grokked.safetensors").write_bytes(b"")
    with pytest.raises(StoreError, match=r"peri\.grokked"):
        gi.load_pretrained("peri", "grokked")
