"""Forks of a checkpoint with the optimiser's state: what goes on, and what is refused."""

from dataclasses import dataclass

import pytest
import torch
from runs_cases import Interrupt, same_run, with_model, with_recipe

import grokinterp as gi
from grokinterp.gradient_filter import GradientFilter


def parent_of(store, **recipe):
    recipe = {"keep_optimizer": True, "weight_decay": 0.1, **recipe}
    config = with_recipe(**recipe)
    return config, gi.train(config, store=store)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon", "torch.optim.NAdam"])
def test_a_fork_may_freeze_what_its_parent_trained(tmp_path, optimizer):
    config, parent = parent_of(tmp_path, optimizer=optimizer, gradient_filters="grokfast")
    frozen = with_model(config, freeze_ln=True, freeze_mlp_biases=True)
    fork = gi.train(frozen, store=tmp_path, init=parent.checkpoint(10))
    ours, begun = fork.checkpoint(), parent.checkpoint(10).weights
    assert torch.equal(ours.weights["blocks.0.ln2.w"], begun["blocks.0.ln2.w"])
    assert not torch.equal(ours.weights["embed.W_E"], begun["embed.W_E"])
    assert all("blocks.0.ln2.w" not in kept for kept in ours.optimizer.optimizer.values())


@pytest.mark.parametrize("optimizer", ["torch.optim.NAdam", "torch.optim.Adagrad"])
def test_what_a_filter_remembers_is_not_the_optimiser_s(tmp_path, optimizer):
    recipe = {"optimizer": optimizer, "gradient_filters": ("orthogonal", "grokfast")}
    config, whole = parent_of(tmp_path / "whole", **recipe)
    for epoch in (10, 20):
        with pytest.raises(KeyboardInterrupt):
            gi.train(config, store=tmp_path / "cut", observer=Interrupt(epoch))
    cut = gi.train(config, store=tmp_path / "cut")
    same_run(cut, whole)
    ours, theirs = (run.checkpoint().optimizer.optimizer for run in (cut, whole))
    assert ours.keys() == theirs.keys()
    for slot, by_name in ours.items():
        for name, value in by_name.items():
            assert torch.equal(value, theirs[slot][name]), (slot, name)


@pytest.mark.parametrize("optimizer", ["adamw", "torch.optim.AdamW", "torch.optim.Adagrad"])
def test_a_fork_in_float64_goes_on_from_what_was_kept_in_float32(tmp_path, optimizer):
    config, parent = parent_of(tmp_path, optimizer=optimizer)
    double = with_recipe(config, dtype="float64", epochs=3)
    fork = gi.train(double, store=tmp_path, init=parent.checkpoint(10))
    for by_name in fork.checkpoint().optimizer.optimizer.values():
        assert {value.dtype for value in by_name.values() if value.ndim} <= {torch.float64}


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("torch.optim.SGD:momentum=0.9", "torch.optim.SGD:momentum=0.0"),
        ("torch.optim.SGD:momentum=0.9", "torch.optim.SGD:momentum=0.9,maximize=True"),
        ("torch.optim.NAdam", "torch.optim.NAdam:momentum_decay=0.5,eps=0.1"),
        ("torch.optim.AdamW", "torch.optim.AdamW:eps=0.1"),
    ],
)
def test_a_fork_trains_by_its_own_options(tmp_path, was, now):
    config, parent = parent_of(tmp_path, optimizer=was, lr=0.01)
    same, other = (
        gi.train(with_recipe(config, optimizer=one, epochs=5), tmp_path, init=parent.checkpoint())
        for one in (was, now)
    )
    assert not torch.equal(same.checkpoint().weights["embed.W_E"], other.model().W_E)
    if "maximize" in now:
        assert other.metrics["train_loss"].iloc[-1] > same.metrics["train_loss"].iloc[-1]


def test_a_fork_of_epoch_0_begins_anew_from_its_own_store(tmp_path):
    _, parent = parent_of(tmp_path / "parents")
    short = with_recipe(epochs=10)
    fork = gi.train(short, store=tmp_path / "forks", init=parent.checkpoint(0))
    more = with_recipe(fork.config, eval_every=2)
    again = gi.train(more, store=tmp_path / "forks")
    assert again.id == fork.id
    assert again.path != fork.path
    assert torch.equal(again.model().W_E, fork.model().W_E)


@dataclass(frozen=True)
class Largest(GradientFilter):
    """Remembers under the name that Grokfast's average has, and something else."""

    remembers = ("average",)

    def filtered(self, tensor, gradient, memory):
        return torch.maximum(memory["average"], gradient.abs(), out=memory["average"])


# Other tests list the classes that there are.
OWN = {"Largest": (GradientFilter, GradientFilter.classes.pop("Largest"))}


@pytest.fixture(autouse=True)
def known(monkeypatch):
    for name, (root, kind) in OWN.items():
        monkeypatch.setitem(root.classes, name, kind)


def test_a_fork_does_not_take_another_filter_s_memory_for_its_own(tmp_path):
    config, parent = parent_of(tmp_path, gradient_filters="grokfast")
    start = parent.checkpoint(10)
    for filters in (Largest(), ("orthogonal", "grokfast")):
        other = with_recipe(config, gradient_filters=filters)
        with pytest.raises(ValueError, match=r"whose memory .* cannot go on with by"):
            gi.train(other, store=tmp_path, init=start)
        assert gi.train(other, store=tmp_path, init=start.weights).status == "finished"
    # Another weight of the same filter goes on, and so does a fork that has none.
    for filters in ("grokfast:weight=1", (), "orthogonal"):
        other = with_recipe(config, gradient_filters=filters, epochs=11)
        assert gi.train(other, store=tmp_path, init=start).status == "finished"
    assert start.gradient_filters == config.train.gradient_filters
