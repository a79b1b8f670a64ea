"""`train`: what a store holds afterwards, whatever happened before."""

import multiprocessing
import os
import re
import threading
import weakref
from dataclasses import dataclass, replace

import pandas as pd
import pytest
import torch
from runs_cases import (
    SMALL_RUN,
    Interrupt,
    as_ensembles,
    same_run,
    with_model,
    with_recipe,
)

import grokinterp as gi
from grokinterp.config.recorded import METRICS
from grokinterp.custom_loss import Loss
from grokinterp.model.build import build_model
from grokinterp.store.files import StoreError
from grokinterp.store.lock import RunLock
from grokinterp.store.progress import Observer
from grokinterp.store.writer import RunWriter
from grokinterp.training import row_blocks
from grokinterp.training import train as training


def test_a_trained_run_is_all_there(tmp_path):
    [run] = gi.train([SMALL_RUN], store=tmp_path)
    assert (run.status, run.epoch, run.message) == ("finished", 30, "")
    assert list(run.metrics.columns) == ["epoch", *METRICS]
    assert run.metrics["epoch"].tolist() == [1, 5, 10, 15, 20, 25, 30]
    assert run.checkpoint_epochs == (0, 10, 20, 30)
    assert run.config == SMALL_RUN
    assert {path.name for path in run.path.iterdir()} == {
        "checkpoints",
        "config.json",
        "lock",
        "metrics.parquet",
        "provenance.json",
        "status.json",
    }


def test_checkpoint_0_is_the_seeds_model_and_the_last_has_the_last_rows_loss(tmp_path):
    [run] = gi.train([SMALL_RUN], store=tmp_path)
    fresh = build_model(SMALL_RUN.model, SMALL_RUN.task, SMALL_RUN.seed)
    assert all(
        torch.equal(value, run.model(0).state_dict()[name])
        for name, value in fresh.state_dict().items()
    )
    split = SMALL_RUN.task.split(SMALL_RUN.seed)
    logits = run.model()(split.test_tokens)[:, -1]
    loss = torch.nn.functional.cross_entropy(logits, split.test_labels).item()
    assert loss == pytest.approx(run.metrics["test_loss"].iloc[-1], rel=1e-5)


def test_split_and_weights_are_drawn_apart(tmp_path):
    seeds = [(1, 1), (1, 2), (2, 1), (2, 2)]
    configs = [replace(SMALL_RUN, seed=split, weights_seed=weights) for split, weights in seeds]
    runs = dict(zip(seeds, gi.train(configs, store=tmp_path), strict=True))
    for (split, weights), run in runs.items():
        plain = runs[weights, weights].checkpoint(0).weights
        drawn = run.checkpoint(0).weights
        assert all(torch.equal(drawn[name], value) for name, value in plain.items())
        expected = SMALL_RUN.task.split(split).train_tokens
        assert torch.equal(run.snapshot(0).train.tokens, expected)
        chosen = gi.open_store(tmp_path).select(seed=split, weights_seed=weights)
        assert [one.id for one in chosen] == [run.id]
    assert not torch.equal(
        runs[1, 1].checkpoint(0).weights["embed.W_E"], runs[1, 2].checkpoint(0).weights["embed.W_E"]
    )
    losses = [run.metrics["test_loss"].iloc[-1] for run in runs.values()]
    assert len(set(losses)) == 4


def test_the_same_command_repeats_nothing(tmp_path, monkeypatch):
    gi.train([SMALL_RUN], store=tmp_path)
    monkeypatch.setattr(training, "ensembles", None)
    [run, again] = gi.train([SMALL_RUN, SMALL_RUN], store=tmp_path)
    assert run.path == again.path


@pytest.mark.parametrize("units", [training.units_of, as_ensembles])
def test_runs_together_store_what_each_would_alone(tmp_path, monkeypatch, units):
    monkeypatch.setattr(training, "units_of", units)
    configs = [SMALL_RUN, replace(SMALL_RUN, seed=2), with_recipe(lr=3e-3), with_model(norm="rms")]
    together = gi.train(configs, store=tmp_path / "together")
    for config, run in zip(configs, together, strict=True):
        [alone] = gi.train([config], store=tmp_path / config.id)
        same_run(run, alone)


@pytest.mark.parametrize("epoch", [1, 5, 10, 12, 15, 20, 25])
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path, epoch):
    [expected] = gi.train([SMALL_RUN], store=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        gi.train([SMALL_RUN], store=tmp_path / "cut", observer=Interrupt(epoch))
    [run] = gi.open_store(tmp_path / "cut").select()
    assert run.status in ("new", "running")
    [run] = gi.train([SMALL_RUN], store=tmp_path / "cut")
    same_run(run, expected)


def test_a_stop_rule_survives_an_interruption(tmp_path):
    config = with_recipe(epochs=200, lr=3e-3, stop_when="train_accuracy >= 0.99 for 30")
    [expected] = gi.train([config], store=tmp_path / "whole")
    assert expected.status == "stopped"
    with pytest.raises(KeyboardInterrupt):
        gi.train([config], store=tmp_path / "cut", observer=Interrupt(expected.epoch - 10))
    [run] = gi.train([config], store=tmp_path / "cut")
    assert run.message == expected.message
    same_run(run, expected)


@pytest.mark.parametrize("stop_when", [None, "train_loss <= 100 for 15"])
def test_a_kill_before_a_run_is_closed_loses_nothing(tmp_path, monkeypatch, stop_when):
    config = with_recipe(stop_when=stop_when)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "close", killed)
        with pytest.raises(KeyboardInterrupt):
            gi.train([config], store=tmp_path / "killed")
    [run] = gi.train([config], store=tmp_path / "killed")
    [whole] = gi.train([config], store=tmp_path / "whole")
    assert (run.status, run.epoch) == (whole.status, whole.epoch)
    assert run.status == ("finished" if stop_when is None else "stopped")
    same_run(run, whole)


@dataclass(frozen=True)
class Delicate(Loss):
    """Cross-entropy, of small logits alone."""

    def losses(self, logits, labels):
        if logits.abs().max() > 1e4:
            raise RuntimeError("these logits are too large for me")
        return -logits.log_softmax(-1).gather(-1, labels[..., None])[..., 0]


def test_a_run_that_cannot_be_trained_on_hides_no_other(tmp_path):
    class Told(Observer):
        def left_out(self, run, reason):
            said.append((run.config, reason))

    said = []
    delicate = with_recipe(optimizer="sgd", lr=100.0, weight_decay=0.0, loss=Delicate())
    with pytest.raises(RuntimeError, match="too large for me"):
        gi.train([delicate, SMALL_RUN], store=tmp_path, observer=Told())
    assert said == [(delicate, "it cannot be trained on: these logits are too large for me")]
    store = gi.open_store(tmp_path)
    assert store.find(SMALL_RUN).status == "finished"
    assert store.select(optimizer="sgd")[0].status == "new"
    with pytest.raises(RuntimeError, match="too large for me"):  # Nobody holds its lock.
        gi.train(delicate, store=tmp_path)


def test_a_run_that_diverges_under_a_penalty_on_the_rank_hides_no_other(tmp_path):
    penalty = with_recipe(
        optimizer="sgd", lr=1e4, weight_decay=0.0, effective_rank_penalty=0.1, epochs=50
    )
    bad, good = gi.train([penalty, SMALL_RUN], store=tmp_path)
    assert (bad.status, good.status) == ("diverged", "finished")


def test_a_diverged_run_keeps_what_it_had_and_is_not_tried_again(tmp_path, monkeypatch):
    broken = with_recipe(lr=1e200)
    [run, beside] = gi.train([broken, SMALL_RUN], store=tmp_path)
    assert (run.status, run.message) == ("diverged", "diverged at epoch 1: test_loss is nan")
    assert run.checkpoint_epochs == (0,)
    assert beside.status == "finished"
    monkeypatch.setattr(training, "ensembles", None)
    assert gi.train([broken], store=tmp_path)[0].status == "diverged"


def test_init_from_a_model_a_state_dict_and_a_checkpoint_agree(tmp_path):
    [parent] = gi.train([SMALL_RUN], store=tmp_path)
    config = with_recipe(lr=3e-3)
    model = parent.model(20)
    forks = [
        gi.train([config], store=tmp_path / str(i), init=init)[0]
        for i, init in enumerate((model, model.state_dict(), parent.checkpoint(20)))
    ]
    for fork in forks:
        assert fork.config.start != "seed"
        pd.testing.assert_frame_equal(fork.metrics, forks[0].metrics, check_exact=True)
    assert forks[2].config.start.startswith(f"{parent.id}@20:")
    assert torch.equal(forks[0].model(0).W_E, model.W_E)


def test_a_fork_with_the_optimizer_goes_on_as_its_parent_did(tmp_path):
    config = with_recipe(keep_optimizer=True)
    [parent] = gi.train([config], store=tmp_path)
    shorter = with_recipe(keep_optimizer=True, epochs=20)
    [fork] = gi.train([shorter], store=tmp_path, init=parent.checkpoint(10))
    for name, value in fork.checkpoint(20).weights.items():
        assert torch.equal(value, parent.checkpoint(30).weights[name]), name
    [cold] = gi.train([shorter], store=tmp_path, init=parent.model(10))
    assert not torch.equal(cold.checkpoint(20).weights["embed.W_E"], fork.model().W_E)


def test_a_fork_does_not_take_another_optimiser_s_state_for_its_own(tmp_path):
    parent = gi.train(with_recipe(keep_optimizer=True), store=tmp_path)
    by_sgd = with_recipe(optimizer="sgd", lr=0.1, weight_decay=0.0)
    with pytest.raises(
        ValueError, match=r"trained by adamw, whose state .* cannot go on with by sgd"
    ):
        gi.train(by_sgd, store=tmp_path, init=parent.checkpoint(10))
    fork = gi.train(by_sgd, store=tmp_path, init=parent.checkpoint(10).weights)
    assert fork.status == "finished"
    by_adam = with_recipe(optimizer="adam")
    assert gi.train(by_adam, store=tmp_path, init=parent.checkpoint(10)).status == "finished"


RECIPES = {
    "adam": {"lr_schedule": "warmup:20 + step:30=0.5", "max_norm": 20.0},
    "sgd": {"gradient_filters": ("orthogonal", "grokfast")},
    "muon": {"batch_size": 5},
    "torch.optim.NAdam": {"gradient_filters": "grokfast", "batch_size": 5},
    "torch.optim.ASGD": {"lr_schedule": "warmup:20"},
    "torch.optim.Rprop": {"weight_decay": 0.0},
}


@pytest.mark.parametrize("optimizer", RECIPES)
def test_another_recipe_goes_on_bit_for_bit(tmp_path, optimizer):
    recipe = {"weight_decay": 1e-3, **RECIPES[optimizer], "optimizer": optimizer}
    config = with_recipe(keep_optimizer=True, **recipe)
    whole = gi.train(config, store=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        gi.train(config, store=tmp_path / "cut", observer=Interrupt(20))
    same_run(gi.train(config, store=tmp_path / "cut"), whole)
    if "lr_schedule" not in recipe and "batch_size" not in recipe:
        shorter = with_recipe(config, epochs=20)
        fork = gi.train(shorter, store=tmp_path / "fork", init=whole.checkpoint(10))
        for name, value in fork.checkpoint(20).weights.items():
            assert torch.equal(value, whole.checkpoint(30).weights[name]), name


@pytest.mark.parametrize(
    ("optimizer", "sentence"),
    [
        ("torch.optim.NoSuch", "torch.optim.NoSuch cannot be imported"),
        ("torch.optim.NAdam:gamma=1", "has no option gamma; it takes"),
        ("torch.optim.Rprop", "has no weight decay; give weight_decay=0, got 1.0"),
        ("torch.optim.LBFGS", "LBFGS"),
        ("torch.optim.Adam:betas=(2,3)", "cannot train here: ValueError: Invalid beta"),
        ("torch.nn.Linear", "torch.nn.Linear"),
    ],
)
def test_an_optimiser_that_cannot_train_is_refused_and_leaves_nothing(
    tmp_path, optimizer, sentence
):
    decays = {"weight_decay": 0.0} if "LBFGS" in optimizer or "Linear" in optimizer else {}
    config = with_recipe(optimizer=optimizer, **decays)
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        gi.train(config, store=tmp_path / "runs")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_init_that_does_not_fit_is_refused_by_name_and_leaves_nothing(tmp_path):
    weights = build_model(SMALL_RUN.model, SMALL_RUN.task, 1).state_dict()
    weights["embed.W_E"] = weights["embed.W_E"][:3]
    weights["blocks.0.attn.b_Q"] += 1
    weights["extra"] = weights.pop("unembed.W_U")
    with pytest.raises(ValueError, match="init does not fit mlp-pre") as error:
        gi.train([SMALL_RUN], store=tmp_path / "runs", init=weights)
    for part in (
        "unembed.W_U is missing",
        "extra is not a parameter",
        "embed.W_E must be (6, 8) but is (3, 8)",
        "blocks.0.attn.b_Q must be zero",
    ):
        assert part in str(error.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        (gi.hooks.AblateHead(9), "head 9 is not there"),
        (gi.hooks.AblateHead(9, from_epoch=20), "head 9 is not there"),
        (gi.hooks.DropGainAndBias("q"), "needs a norm at the q pathway"),
        (gi.hooks.FilterFrequencies("hook_embed", (1,)), "needs all 25 pairs in row-major order"),
        (gi.hooks.FreezeScale("mlp", to=(1.0, 2.0)), "has 2 scales, and the model has 3"),
    ],
)
def test_an_intervention_that_does_not_fit_is_refused_before_anything_is_written(
    tmp_path, item, sentence
):
    config = with_recipe(interventions=(item,))
    for init in (None, build_model(SMALL_RUN.model, SMALL_RUN.task, 7).state_dict()):
        with pytest.raises(ValueError, match=sentence):
            gi.train([config], store=tmp_path / "runs", init=init)
        assert not list(tmp_path.glob("runs/*/"))


def test_a_run_that_another_process_trains_is_waited_for(tmp_path):
    store = gi.open_store(tmp_path / "runs", create=True)
    run = store.create(SMALL_RUN)
    lock = RunLock(run.path)
    assert lock.acquire(wait=False)
    said = []

    class Release(Observer):
        def waiting(self, run, owner):
            said.append(owner)
            lock.release()

    [trained] = gi.train([SMALL_RUN], store=store.path, observer=Release())
    assert trained.status == "finished"
    assert said[0].startswith("process ")


def test_what_another_process_trains_meanwhile_is_not_trained_again(tmp_path, monkeypatch):
    """Only the lock of the run in training is held, so that processes share the runs."""
    configs = [replace(SMALL_RUN, seed=seed) for seed in (1, 2)]
    heard = []

    class Other(Observer):
        def advanced(self, run, config, report):
            heard.append((config.seed, report.status))
            if heard == [(1, "running")]:
                gi.train(configs[1], store=tmp_path)
                monkeypatch.setattr(training, "_open", None)

    runs = gi.train(configs, store=tmp_path, observer=Other())
    assert [run.status for run in runs] == ["finished", "finished"]
    assert heard == [(1, "running")] * 6 + [(1, "finished"), (2, "finished")]


def test_a_full_disk_is_a_sentence_and_what_was_saved_stays(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        gi.train([SMALL_RUN], store=tmp_path, observer=Interrupt(10))

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("grokinterp.store.files.save_file", full)
        with pytest.raises(StoreError, match="No space left on device; what was saved"):
            gi.train([SMALL_RUN], store=tmp_path)
    [run] = gi.open_store(tmp_path).select()
    assert run.epoch == 10
    assert not list(run.path.glob("**/.*"))
    [expected] = gi.train([SMALL_RUN], store=tmp_path / "whole")
    same_run(gi.train([SMALL_RUN], store=tmp_path)[0], expected)


def test_a_store_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make a store at"):
        gi.train([SMALL_RUN], store=tmp_path / "file" / "runs")


def test_missing_gpu_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="this machine has 0"):
        gi.train([with_recipe(device="cuda")], store=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_one_config_is_one_run(tmp_path):
    run = gi.train(SMALL_RUN, store=tmp_path)
    assert isinstance(run, gi.Run)
    assert [one.id for one in gi.train([SMALL_RUN], store=tmp_path)] == [run.id]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_what_is_over_is_let_go(tmp_path, monkeypatch):
    """A sweep of a thousand runs holds as many as train at once."""
    alive, most = weakref.WeakSet(), []
    make = training.ensembles

    def watched(*arguments):
        for ensemble in make(*arguments):
            alive.add(ensemble)
            most.append(len(alive))
            yield ensemble

    monkeypatch.setattr(training, "ensembles", watched)
    gi.train([replace(SMALL_RUN, seed=seed) for seed in range(6)], store=tmp_path)
    assert len(most) == 6
    assert max(most) <= 2  # One trains, and one is just taken.


def test_threads_are_afterwards_what_they_were(tmp_path, two_threads):
    gi.train([replace(SMALL_RUN, seed=seed) for seed in range(2)], store=tmp_path)
    seen = [torch.get_num_threads()]
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [2, 2]
    assert not [one for one in threading.enumerate() if one.name.startswith("ThreadPool")]


@pytest.mark.parametrize("recipe", [{}, {"subtract_initial_prediction": True}], ids=str)
def test_what_is_recorded_does_not_depend_on_the_number_of_threads(tmp_path, recipe):
    config = replace(
        with_recipe(probes={"cheap": 10}, **recipe), model=gi.ModelConfig(d_model=64, n_heads=2)
    )
    config, found = replace(config, task=gi.ModularTask(p=31)), []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            run = gi.train(config, store=tmp_path / str(threads))
        finally:
            torch.set_num_threads(before)
        found.append(run.metrics)
    pd.testing.assert_frame_equal(*found, check_exact=True)


def train_in_child(store):
    gi.train(with_recipe(probes={"cheap": 10}), store=store)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_forked_process_trains_too(tmp_path, two_threads):
    """After its parent has trained with several threads, which it has not."""
    train_in_child(tmp_path / "parent")
    child = multiprocessing.get_context("fork").Process(
        target=train_in_child, args=(tmp_path / "child",)
    )
    child.start()
    child.join(120)
    alive = child.is_alive()
    child.kill()
    assert not alive
    assert child.exitcode == 0


def test_an_error_in_a_thread_leaves_no_thread(tmp_path, two_threads, monkeypatch):
    def broken(*arguments):
        raise MemoryError("no more")

    monkeypatch.setattr(row_blocks, "ROWS_ON_CPU", 4)
    monkeypatch.setattr(row_blocks, "losses_and_gradient", broken)
    with pytest.raises(MemoryError, match="no more"):
        gi.train(SMALL_RUN, store=tmp_path)
    assert not [one for one in threading.enumerate() if one.name.startswith("ThreadPool")]
