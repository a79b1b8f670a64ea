"""Label noise: which train answers are wrong, and what the probe says of a model that knows."""

from dataclasses import replace

import pytest
import torch
from planted import lookup

import grokinterp as gi

TASKS = [
    gi.ModularTask(7, label_noise=0.3),
    gi.ModularTask(7, "xor", operand=5, label_noise=0.3),
    gi.GroupTask("S3", test_fraction=0.5, label_noise=0.3),
    gi.TableTask.from_function(max, 6),
]


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_the_share_of_train_pairs_has_another_answer_and_nothing_else_changes(task):
    task = replace(task, label_noise=0.3)
    clean = replace(task, label_noise=0.0)
    for seed in range(3):
        found, expected = task.split(seed), clean.split(seed)
        wrong = task.wrong_labels(seed)
        assert len(wrong) == int(0.3 * task.n_train) > 0
        changed = (found.train_labels != expected.train_labels).nonzero().flatten().tolist()
        assert changed == [*wrong]
        answers = {task.label(a, b) for a, b in task.pairs()}
        assert {*found.train_labels.tolist()} <= answers
        for name in ("train_tokens", "test_tokens", "test_labels"):
            assert getattr(found, name).equal(getattr(expected, name))
    assert task.wrong_labels(1) != task.wrong_labels(2)
    assert task.wrong_labels(1) == task.wrong_labels(1)
    assert clean.wrong_labels(1) == {}


def test_the_wrong_answers_are_all_others_alike():
    """Of 12,000 draws each of the six others has a sixth, within four standard deviations."""
    counts = torch.zeros(7)
    task = gi.ModularTask(7, test_fraction=0.5, label_noise=0.9)
    total = 0
    for seed in range(560):
        pairs, _ = task.split_pairs(seed)
        for row, wrong in task.wrong_labels(seed).items():
            counts[(wrong - task.label(*pairs[row])) % 7] += 1
            total += 1
    assert counts[0] == 0
    deviation = (total * 5 / 36) ** 0.5
    assert (counts[1:] - total / 6).abs().max() < 4 * deviation


@pytest.mark.parametrize("noise", [-0.1, 1.0, float("nan"), True, "0.1"])
@pytest.mark.usefixtures("unchecked")
def test_a_share_that_is_none_is_refused(noise):
    with pytest.raises(ValueError, match="label_noise must"):
        gi.ModularTask(7, label_noise=noise)


@pytest.mark.parametrize(
    "task", [gi.ModularTask(5, "and", operand=0), gi.TableTask([[0, 0], [0, 0]], test_fraction=0.5)]
)
def test_where_there_is_one_answer_none_is_wrong(task):
    with pytest.raises(ValueError, match="label_noise needs a task of two answers"):
        replace(task, label_noise=0.5)


def test_a_run_without_noise_is_the_run_it_was():
    assert gi.RunConfig(gi.ModularTask(label_noise=0.0)).id == gi.RunConfig().id
    noisy = gi.RunConfig(gi.ModularTask(label_noise=0.1))
    assert noisy.id != gi.RunConfig().id
    assert gi.RunConfig.from_dict(noisy.to_dict()) == noisy


def test_the_engine_trains_on_them_and_the_probe_tells_them_apart(tmp_path):
    """A small model memorises right and wrong answers alike."""
    recipe = gi.TrainConfig(
        epochs=400, lr=5e-3, weight_decay=0.0, checkpoint_every=None, probes={"label_noise": 100}
    )
    task = gi.ModularTask(7, test_fraction=0.4, label_noise=0.2)
    run = gi.train(gi.RunConfig(task, gi.ModelConfig(d_model=32), recipe, seed=1), store=tmp_path)
    last = run.metrics.iloc[-1]
    assert last["train_accuracy"] == 1
    assert last["label_noise.clean_accuracy"] == last["label_noise.noisy_accuracy"] == 1
    assert last["label_noise.restored_accuracy"] == 0
    first = run.metrics.set_index("epoch").loc[100]
    share = len(task.wrong_labels(1)) / task.n_train
    by_parts = (1 - share) * first["label_noise.clean_accuracy"]
    by_parts += share * first["label_noise.noisy_accuracy"]
    # The row is of before the epoch's update, and the probe of after it.
    assert by_parts == pytest.approx(first["train_accuracy"], abs=0.2)


def test_a_model_that_knows_the_rule_restores_the_answers():
    task = gi.ModularTask(7, label_noise=0.25)
    logits = torch.zeros(49, 7)
    logits[range(49), [task.label(a, b) for a, b in task.pairs()]] = 5.0
    found = gi.PROBES["label_noise"](gi.Snapshot(lookup(task, logits), task, seed=3))
    assert found == {"clean_accuracy": 1.0, "noisy_accuracy": 0.0, "restored_accuracy": 1.0}


def test_without_noise_every_pair_is_clean():
    task = gi.ModularTask(7)
    shot = gi.Snapshot(gi.build_model(gi.ModelConfig(d_model=16), task), task, seed=0)
    right = shot.train.logits.argmax(-1) == shot.train.labels
    assert gi.PROBES["label_noise"](shot) == {"clean_accuracy": right.double().mean().item()}


def test_the_share_is_rounded_and_not_cut():
    """0.29 · 100 is 28.999999999999996 to a float."""
    task = gi.ModularTask(11, train_pairs=tuple(gi.ModularTask(11).pairs()[:100]), label_noise=0.29)
    assert len(task.wrong_labels(0)) == 29
