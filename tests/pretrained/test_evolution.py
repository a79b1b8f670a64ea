"""The checkpoints that ship of runs while they grok are what their card says."""

from dataclasses import replace

import pytest
import torch
from runs_cases import SMALL_RUN, with_model

import grokinterp as gi
from grokinterp import pretrained
from grokinterp.circuits import attention_heads, over_checkpoints
from grokinterp.pretrained import __main__ as rebuilding
from grokinterp.pretrained import evolution
from grokinterp.pretrained.evolution import EVOLVED
from grokinterp.snapshot import NotApplicable
from grokinterp.store.files import StoreError


def accuracy(inputs) -> float:
    return (inputs.logits.argmax(-1) == inputs.labels).double().mean().item()


@pytest.mark.parametrize("placement", EVOLVED)
def test_it_goes_from_memorising_to_generalising_as_its_card_says(placement):
    shots = gi.pretrained_evolution(placement)
    epochs = [*shots]
    assert epochs == sorted(epochs)
    assert len(epochs) == len(shots) == 10
    assert epochs[0] == 0
    assert epochs[-1] > 9_000
    config = gi.RunConfig.from_dict(shots.card["config"])
    assert (config.id, config.model.placement) == (shots.card["run"], placement)
    tests = []
    for epoch, described in shots.card["checkpoints"].items():
        shot = shots[int(epoch)]
        assert (shot.epoch, shot.seed) == (int(epoch), config.seed)
        assert accuracy(shot.train) == described["train_accuracy"]
        assert accuracy(shot.test) == described["test_accuracy"]
        tests.append(described["test_accuracy"])
    # Between: neither has it just memorised, nor does it know the task.
    assert sum(0.2 < one < 0.9 for one in tests) >= 2
    assert tests[-1] > 0.99


def test_the_first_is_the_seed_s_start():
    shots = gi.pretrained_evolution("M")
    config = gi.RunConfig.from_dict(shots.card["config"])
    start = gi.build_model(config.model, config.task, config.seed)
    assert torch.equal(shots[0].model.W_E, start.W_E.half().float())


def test_snapshots_know_each_other_and_no_others():
    shots = gi.pretrained_evolution("mlp-pre")
    middle, last = shots[[*shots][5]], max(shots)
    assert middle.other("initial").epoch == 0
    assert middle.other("final").epoch == middle.other(last).epoch == last
    with pytest.raises(NotApplicable, match="the previous checkpoint of this run does not ship"):
        middle.other("previous")
    with pytest.raises(NotApplicable, match=r"epoch 9,900 .* one of 0, .*500, "):
        middle.other(9_900)
    with pytest.raises(KeyError, match=r"no checkpoint of epoch 7 ships; choose one of 0, "):
        shots[7]
    assert 7 not in shots


@pytest.mark.parametrize(
    ("placement", "sentence"),
    [
        ("pre", "no evolution of placement 'pre' ships; there are off, mlp-pre"),
        ("nowhere", "unknown placement 'nowhere'"),
    ],
)
def test_another_placement_is_a_sentence(placement, sentence):
    with pytest.raises(ValueError, match=sentence):
        gi.pretrained_evolution(placement)


@pytest.fixture
def rebuilt(tmp_path, monkeypatch):
    """The evolution of a small run, in a folder of its own."""
    recipe = replace(SMALL_RUN.train, epochs=400, checkpoint_ratio=1.25)
    run = gi.train(with_model(replace(SMALL_RUN, train=recipe), placement="off"), store=tmp_path)
    rebuilding.write_evolutions([run], tmp_path)
    monkeypatch.setattr(evolution, "FOLDER", tmp_path)
    evolution._cards.cache_clear()
    yield run
    evolution._cards.cache_clear()


def test_rebuilding_rounds_the_run_s_checkpoints(rebuilt):
    shots = gi.pretrained_evolution("off")
    assert 5 <= len(shots) <= 10
    assert set(shots) <= set(rebuilt.checkpoint_epochs)
    assert {0, 400} <= set(shots)
    for epoch, shot in shots.items():
        loaded = shot.model.state_dict()
        for name, value in rebuilt.checkpoint(epoch).weights.items():
            assert torch.equal(loaded[name], value.half().float()), (epoch, name)
    # What the page of a slider draws.
    picture = over_checkpoints({epoch: attention_heads(one, 1, 2) for epoch, one in shots.items()})
    assert [frame.epoch for frame in picture.frames] == [*shots]

    with pytest.raises(ValueError, match=r"there are off$"):
        gi.pretrained_evolution("mlp-pre")
    file = evolution.FOLDER / "off.400.safetensors"
    file.write_bytes((evolution.FOLDER / "off.0.safetensors").read_bytes())
    with pytest.raises(ValueError, match="not what the card describes"):
        shots[400]
    file.write_bytes(b"")
    with pytest.raises(StoreError, match=r"off\.400"):
        shots[400]


def test_all_of_it_is_small():
    shipped = {path for name in EVOLVED for path in pretrained.FOLDER.glob(f"{name}.[0-9]*")}
    assert len(shipped) == 10 * len(EVOLVED)
    assert sum(path.stat().st_size for path in shipped) < 10e6
