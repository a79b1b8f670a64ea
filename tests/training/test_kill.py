"""SIGKILL at random moments, then the same command again: bit-identical results."""

import os
import random
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from forked import forking
from runs_cases import SMALL_RUN, same_run, with_recipe

import grokinterp as gi

RECIPES = [
    with_recipe(eval_every=2, checkpoint_every=4, **recipe)
    for recipe in (
        {},
        {"optimizer": "sgd", "gradient_filters": ("orthogonal", "grokfast"), "weight_decay": 1e-3},
        {"optimizer": "muon", "batch_size": 5, "lr_schedule": "warmup:50 + cosine"},
        {"optimizer": "torch.optim.NAdam", "max_norm": 15.0},
    )
]


def train_one(config: gi.RunConfig, store: Path) -> None:
    import torch

    torch.set_num_threads(1)
    gi.train([config], store=store)


@pytest.fixture
def context():
    """Of processes that begin at once, so that a kill meets training."""
    return forking()


def test_two_processes_with_one_run_train_it_once(tmp_path, context):
    children = [
        context.Process(target=train_one, args=(SMALL_RUN, tmp_path / "shared")) for _ in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    [shared] = gi.open_store(tmp_path / "shared").select()
    [alone] = gi.train([SMALL_RUN], store=tmp_path / "alone")
    assert shared.status == "finished"
    assert shared.checkpoint_epochs == alone.checkpoint_epochs
    assert shared.metrics["epoch"].tolist() == alone.metrics["epoch"].tolist()


@pytest.mark.parametrize(
    ("wanted", "epochs"), [(8, 120), pytest.param(20, 400, marks=pytest.mark.slow)]
)
def test_killed_runs_end_bit_identical(tmp_path, context, wanted, epochs):
    moments = random.Random(0)
    kills, killed_at, seeds = 0, set(), []
    while kills < wanted:
        seeds.append(len(seeds))
        config = seeded(seeds[-1], epochs)
        over = False
        until = wanted * len(seeds) / len(RECIPES)  # So that each recipe has its share.
        while not over:
            child = context.Process(target=train_one, args=(config, tmp_path / "killed"))
            child.start()
            if kills < until:
                # Measured in epochs, so that the kill meets training on any machine.
                ahead = 0 if moments.random() < 0.2 else moments.randint(1, epochs // 5)
                reached = epoch_of(tmp_path / "killed", config)
                while child.exitcode is None and (
                    epoch_of(tmp_path / "killed", config) < reached + ahead
                ):
                    child.join(0.002)
                child.join(moments.uniform(0, 0.02))
            else:
                child.join()
            if child.exitcode is None:
                assert child.pid is not None
                os.kill(child.pid, signal.SIGKILL)
                child.join()
                kills += 1
                killed_at.add((config.seed, epoch_of(tmp_path / "killed", config)))
            over = child.exitcode == 0
            assert child.exitcode in (0, -signal.SIGKILL)
    assert len(killed_at) >= wanted // 4, f"kills met too few moments: {killed_at}"
    assert len(seeds) >= len(RECIPES), "not every recipe was killed"
    for seed in seeds:
        child = context.Process(target=train_one, args=(seeded(seed, epochs), tmp_path / "whole"))
        child.start()
        child.join()
        [run] = gi.open_store(tmp_path / "killed").select(seed=seed)
        [whole] = gi.open_store(tmp_path / "whole").select(seed=seed)
        assert (run.status, whole.status) == ("finished", "finished")
        same_run(run, whole)


def seeded(seed: int, epochs: int) -> gi.RunConfig:
    """One recipe after another."""
    return replace(with_recipe(RECIPES[seed % len(RECIPES)], epochs=epochs), seed=seed)


def epoch_of(store: Path, config: gi.RunConfig) -> int:
    """How far the run is saved."""
    return gi.Store(store).recording(config).epoch
