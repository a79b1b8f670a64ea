"""Minibatches: each example once, in an order of the run's own, and steps as torch takes them."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from engine_cases import SMALL, TASK, run_together

from grokinterp.model.build import build_model
from grokinterp.training.minibatches import minibatches, shuffled
from grokinterp.training.row_blocks import Batch

BATCHED = replace(SMALL, train=replace(SMALL.train, batch_size=4, epochs=6, weight_decay=0.1))


def test_an_epoch_has_each_example_once_in_an_order_of_its_own():
    tokens = torch.arange(2 * 11 * 3).view(2, 11, 3)
    labels = torch.arange(22).view(2, 11)
    logits = torch.randn(2, 11, 5)
    batches = [*minibatches(Batch(tokens, labels, logits), 4, [7, 8], epoch=3)]
    assert [one.labels.shape[1] for one in batches] == [4, 4, 3]
    order = torch.cat([one.labels for one in batches], dim=1)
    assert order.sort(1).values.equal(labels)
    for run in range(2):
        rows = order[run] - 11 * run
        assert rows.tolist() == shuffled(11, 7 + run, 3).tolist() != [*range(11)]
        assert torch.cat([one.tokens for one in batches], dim=1)[run].equal(tokens[run, rows])
        assert torch.cat([one.initial_logits for one in batches], 1)[run].equal(logits[run, rows])
    orders = {tuple(shuffled(11, seed, epoch).tolist()) for seed in (1, 2) for epoch in (1, 2)}
    assert len(orders) == 4


@pytest.mark.parametrize("width", [1, 2])
def test_steps_equal_torch_s(width):
    configs = [BATCHED, replace(BATCHED, seed=2)]
    rows, weights, _ = run_together(configs, width=width)
    for config, of_run, found in zip(configs, rows, weights, strict=True):
        model = build_model(config.model, TASK, config.seed, "float64")
        reference = torch.optim.AdamW(
            model.parameters(), lr=1e-3, weight_decay=0.1, betas=(0.9, 0.98)
        )
        split = TASK.split(config.seed)
        tokens, labels = split.train_tokens, split.train_labels
        for epoch in range(1, 7):
            whole = F.cross_entropy(model(tokens)[:, -1], labels).item()
            assert of_run[epoch - 1]["train_loss"] == pytest.approx(whole, rel=1e-9)
            for chosen in shuffled(len(labels), config.seed, epoch).split(4):
                reference.zero_grad()
                F.cross_entropy(model(tokens[chosen])[:, -1], labels[chosen]).backward()
                reference.step()
        for name, value in model.named_parameters():
            torch.testing.assert_close(found[name], value.detach(), rtol=1e-8, atol=1e-11)


def test_the_whole_set_is_another_run():
    [rows], [weights], _ = run_together([BATCHED])
    [of_whole], [whole], _ = run_together(
        [replace(BATCHED, train=replace(BATCHED.train, batch_size=None))]
    )
    assert rows[0]["train_loss"] == of_whole[0]["train_loss"]  # Before the first step.
    assert rows[-1]["train_loss"] != of_whole[-1]["train_loss"]
    assert not weights["embed.W_E"].allclose(whole["embed.W_E"])
