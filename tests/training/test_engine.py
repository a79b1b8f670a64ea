"""The engine against the authors' curves, and itself alone."""

from dataclasses import dataclass, replace
from threading import Event

import pytest
import torch
from engine_cases import SMALL, TASK, run_together, start
from golden import ENTRIES, golden
from grokinterp.hooks import Intervention, UniformAttention, UnitNorm

from grokinterp.config import RunConfig, TrainConfig
from grokinterp.config.recorded import METRICS
from grokinterp.loss import effective_rank
from grokinterp.model.build import build_model
from grokinterp.store.state import RunState
from grokinterp.task import GroupTask, TableTask
from grokinterp.training import row_blocks
from grokinterp.training.engine import (
    Ensemble,
    ensembles,
    group_key,
    side_by_side,
    train_together,
)


@dataclass(frozen=True)
class Watch(Intervention):
    """Hooks the model and changes nothing: training must then go through the hooked model."""

    def hooks(self, model):
        return [("hook_embed", lambda x, hook: None)]


@pytest.mark.parametrize("interventions", [(), (UniformAttention(),)])
def test_examples_are_taken_in_blocks(monkeypatch, interventions):
    """The logits of all its pairs would take p³ numbers, and what is inside d_mlp times p²."""
    config = replace(SMALL, train=replace(SMALL.train, epochs=1, interventions=interventions))
    whole = run_together([config])[0]
    rows, block = [], row_blocks.last_block

    def spy(*arguments):
        found = block(*arguments)
        rows.append(found[0].shape[1])
        return found

    monkeypatch.setattr(row_blocks, "last_block", spy)
    monkeypatch.setattr(row_blocks, "ROWS_ON_CPU", 10)
    [[row]], [[expected_row]] = run_together([config])[0], whole
    assert rows == [8, 7, 9, 9, 9, 7]  # 15 to train with, 34 to test.
    assert row == pytest.approx(expected_row, rel=1e-12)


def test_a_hook_is_given_all_examples(monkeypatch):
    """It may mix those of a batch."""
    config = replace(SMALL, train=replace(SMALL.train, epochs=1, interventions=(Watch(),)))
    forward, rows = Ensemble._forward_hooked, []

    def spied(self, weights, tokens, active):
        rows.append(tokens.shape[1])
        return forward(self, weights, tokens, active)

    monkeypatch.setattr(Ensemble, "_forward_hooked", spied)
    monkeypatch.setattr(row_blocks, "ROWS_ON_CPU", 10)
    run_together([config])
    assert rows == [15, 34]


@pytest.mark.parametrize("interventions", [(), (Watch(),)], ids=["fast path", "hooked model"])
@pytest.mark.parametrize("runs", [1, 3])
def test_what_comes_out_does_not_depend_on_the_number_of_cores(monkeypatch, runs, interventions):
    monkeypatch.setattr(row_blocks, "ROWS_ON_CPU", 4)
    config = replace(SMALL, train=replace(SMALL.train, epochs=10, interventions=interventions))
    configs = [replace(config, seed=seed) for seed in range(runs)]
    found, before = [], torch.get_num_threads()
    for cores in (1, 2, 3):
        torch.set_num_threads(cores)
        try:
            found.append(run_together(configs)[:2])
            assert torch.get_num_threads() == cores
        finally:
            torch.set_num_threads(before)
    for rows, weights in found[1:]:
        assert rows == found[0][0]
        for one, other in zip(weights, found[0][1], strict=True):
            assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(("adam_eps", "flushed"), [(1e-8, True), (0.0, False)])
@pytest.mark.parametrize("cores", [1, 3])
def test_denormal_numbers_count_as_0_while_a_run_trains(monkeypatch, adam_eps, flushed, cores):
    """Where nothing divides by what may be one; and nowhere else."""
    monkeypatch.setattr(row_blocks, "ROWS_ON_CPU", 4)
    seen, block = [], row_blocks.last_block

    def spy(*arguments):
        seen.append((torch.tensor([1e-40]) * 1).item())
        return block(*arguments)

    monkeypatch.setattr(row_blocks, "last_block", spy)
    config = replace(SMALL, train=replace(SMALL.train, adam_eps=adam_eps))
    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        run_together([config])
    finally:
        torch.set_num_threads(before)
    # A thread that has just begun to help may have come too late for the first.
    assert {one == 0 for one in seen} == {flushed}
    assert (torch.tensor([1e-40]) * 1).item() > 0


def test_cores_that_no_run_waits_for_help_with_the_others():
    waiting, seen, ended = [], [], Event()
    for epochs in (1, 3):
        config = replace(SMALL, train=replace(SMALL.train, epochs=epochs, eval_every=3))
        weights = start(config)
        waiting += ensembles([config], [weights], [RunState.initial(weights)])
    short, long = waiting
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        # After its second epoch the long one waits until the short one is over.
        for ensemble, reports in side_by_side(waiting, lambda one: one is long and ended.wait()):
            if ensemble is short:
                ended.set()
            else:
                seen.append((reports[0].epoch, ensemble.threads))
    finally:
        torch.set_num_threads(before)
    assert seen[-2:] == [(2, 2), (3, 2)]


def test_leaving_early_stops_every_core(monkeypatch):
    config = replace(SMALL, train=replace(SMALL.train, epochs=10**6, eval_every=10**6))
    weights = start(config)
    waiting = [*ensembles([config] * 2, [weights] * 2, [RunState.initial(weights)] * 2)]
    trained = side_by_side(waiting)
    next(trained)
    trained.close()  # Would take a million epochs if it waited for an evaluation.
    assert all(ensemble.epoch < 10**6 for ensemble in waiting)


@pytest.mark.parametrize("through", ["fast path", "hooked model"])
@pytest.mark.parametrize("key", ENTRIES)
def test_reproduces_the_authors_curves(key, through):
    entry = golden(key)
    config = RunConfig(
        task=entry.task,
        model=entry.model,
        train=TrainConfig(
            epochs=20,
            lr=entry.base_lr,
            couple_lr_to_readout=entry.couple_lr_to_readout,
            weight_decay=entry.weight_decay,
            adam_eps=entry.adam_eps,
            eval_every=1,
            dtype="float64",
            interventions=(Watch(),) if through == "hooked model" else (),
        ),
    )
    assert config.lr == pytest.approx(entry.lr, rel=1e-12)
    [rows], _, _ = run_together([config], [entry.weights])
    curve = entry.entry["curve"]
    assert [row["epoch"] for row in rows] == [row["epoch"] for row in curve] == [*range(1, 21)]
    for ours, theirs in zip(rows, curve, strict=True):
        assert set(METRICS) <= set(theirs)
        for name in METRICS:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-8), (name, ours["epoch"])


def five_runs(interventions=()):
    recipe = replace(SMALL.train, interventions=interventions)
    return [
        replace(SMALL, train=recipe, seed=seed, model=replace(SMALL.model, readout_scale=scale))
        if change is None
        else replace(
            SMALL,
            train=replace(recipe, **change),
            seed=seed,
            model=replace(SMALL.model, readout_scale=scale),
        )
        for seed, scale, change in [
            (1, 1.0, None),
            (2, 1.0, {"lr": 3e-3}),
            (3, 1.5, {"weight_decay": 0.1}),
            (4, 0.5, {"couple_lr_to_readout": True}),
            (5, 1.0, {"lr": 5e-3, "couple_decay_to_lr": True}),
        ]
    ]


@pytest.mark.parametrize("width", [1, 5])
@pytest.mark.parametrize("interventions", [(), (UnitNorm("mlp"),)], ids=["plain", "intervened"])
def test_runs_together_equal_runs_alone(width, interventions):
    configs = five_runs(interventions)
    together, weights, _ = run_together(configs, width=width)
    for config, rows, trained in zip(configs, together, weights, strict=True):
        [alone], [alone_weights], _ = run_together([config])
        for ours, theirs in zip(rows, alone, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-10)
        for name, value in alone_weights.items():
            torch.testing.assert_close(trained[name], value, rtol=1e-10, atol=1e-12)
    assert together[0][-1]["train_loss"] != pytest.approx(together[1][-1]["train_loss"], rel=1e-3)


@pytest.mark.parametrize(
    "task", [GroupTask("S3", 0.5), TableTask.from_function(max, 7, 0.5)], ids=str
)
def test_any_task_trains_as_the_hooked_model_does(task):
    config = replace(SMALL, task=task)
    hooked = replace(config, train=replace(config.train, interventions=(Watch(),)))
    [rows], [weights], _ = run_together([config])
    [expected_rows], [expected], _ = run_together([hooked])
    for row, expected_row in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(expected_row, rel=1e-9)
    for name, value in weights.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12)


def test_coupled_rates():
    runs = five_runs()
    assert runs[3].lr == pytest.approx(1e-3 / 0.5**2)
    assert runs[4].lr * runs[4].weight_decay == pytest.approx(1e-3)


def test_runs_of_different_architecture_are_refused():
    other = replace(SMALL, model=replace(SMALL.model, placement="off"))
    assert group_key(other) != group_key(SMALL)
    with pytest.raises(ValueError, match="must share task, architecture and recipe"):
        run_together([SMALL, other])


def test_uniform_attention_is_as_fast_as_no_intervention_and_equals_the_hooked_model():
    uniform = (UniformAttention(from_epoch=3, until_epoch=7),)
    # The same act, head by head, goes through the hooked model.
    heads = (UniformAttention(heads=(0, 1), from_epoch=3, until_epoch=7),)
    assert SMALL.model.n_heads == 2
    curves = []
    for interventions in (uniform, heads, ()):
        config = replace(SMALL, train=replace(SMALL.train, interventions=interventions))
        curves.append([row["train_loss"] for row in run_together([config])[0][0]])
    fast, hooked, plain = curves
    assert fast == pytest.approx(hooked, rel=1e-10)
    assert fast != pytest.approx(plain, rel=1e-10)


def test_intervention_acts_only_in_its_span():
    spans = [(), (UnitNorm("mlp", from_epoch=5, until_epoch=8),), (UnitNorm("mlp", from_epoch=5),)]
    curves = []
    for interventions in spans:
        config = replace(SMALL, train=replace(SMALL.train, interventions=interventions))
        curves.append([row["train_loss"] for row in run_together([config])[0][0]])
    plain, spanned, onwards = curves
    assert spanned[:4] == pytest.approx(plain[:4], rel=1e-12)
    assert spanned[4] != pytest.approx(plain[4], rel=1e-3)
    assert spanned[:8] == pytest.approx(onwards[:8], rel=1e-12)
    assert spanned[8] != pytest.approx(onwards[8], rel=1e-3)


def test_subtracted_prediction_starts_at_chance_and_predicts_with_raw_logits():
    config = replace(SMALL, train=replace(SMALL.train, subtract_initial_prediction=True))
    [rows], _, _ = run_together([config])
    [plain], _, _ = run_together([SMALL])
    assert rows[0]["train_loss"] == pytest.approx(torch.tensor(8.0).log().item(), rel=1e-6)
    assert rows[0]["train_accuracy"] == plain[0]["train_accuracy"]


def test_loss_logit_scale_is_a_readout_scale_that_predictions_do_not_see():
    tempered = replace(SMALL, train=replace(SMALL.train, loss_logit_scale=1.5))
    scaled = replace(SMALL, model=replace(SMALL.model, readout_scale=1.5))
    assert run_together([tempered])[0][0] == [
        pytest.approx(row, rel=1e-10) for row in run_together([scaled])[0][0]
    ]


def test_effective_rank_penalty_lowers_the_effective_rank():
    assert effective_rank(torch.eye(8)[None, :5]).item() == pytest.approx(5, rel=1e-5)
    ranks = []
    for penalty in (0.0, 0.1):
        recipe = replace(SMALL.train, effective_rank_penalty=penalty, epochs=100)
        config = replace(SMALL, train=recipe)
        _, [weights], _ = run_together([config])
        model = build_model(config.model, TASK, 1, "float64")
        model.load_state_dict(weights, strict=False)
        _, cache = model.run_with_cache(TASK.split(1).train_tokens)
        ranks.append(effective_rank(cache["resid_post", 0][None, :, -1]).item())
    assert ranks[1] < ranks[0]


def test_loss_in_float64_keeps_what_float32_rounds_away():
    recipe = replace(SMALL.train, dtype="float32", loss_logit_scale=400.0, epochs=40)
    plain = replace(SMALL, train=replace(recipe, loss_dtype="float32"))
    exact = replace(SMALL, train=replace(recipe, loss_dtype="float64"))
    losses = [run_together([config])[0][0][-1]["train_loss"] for config in (plain, exact)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.5, abs=1e-6)


def test_frozen_norms_stay_and_count_towards_the_weight_norm():
    config = replace(SMALL, model=replace(SMALL.model, freeze_ln=True))
    [rows], [weights], _ = run_together([config])
    assert bool((weights["blocks.0.ln2.w"] == 1).all())
    [free], [trained], _ = run_together([SMALL])
    assert not bool((trained["blocks.0.ln2.w"] == 1).any())
    assert free[0]["weight_norm"] == pytest.approx(rows[0]["weight_norm"], rel=1e-12)


def test_a_diverging_run_stops_alone():
    configs = [SMALL, replace(SMALL, seed=2, train=replace(SMALL.train, lr=1e200))]
    for width in (1, 2):
        rows, _, last = run_together(configs, width=width)
        assert last[1].status == "diverged"
        assert last[1].message.startswith("diverged at epoch")
        assert "loss is" in last[1].message
        assert last[0].status == "finished"
        assert rows[0] == [pytest.approx(row, rel=1e-10) for row in run_together([SMALL])[0][0]]


def test_with_adam_eps_0_a_neuron_that_is_never_on_only_decays():
    config = replace(SMALL, train=replace(SMALL.train, adam_eps=0.0, epochs=5))
    before = start(config)
    before["blocks.0.mlp.b_in"][0] = -100.0
    _, [after], [report] = run_together([config], [before])
    assert report.status == "finished"
    decayed = (1 - config.lr * config.weight_decay) ** 5
    for name, neuron in (("W_in", (slice(None), 0)), ("W_out", 0)):
        name = f"blocks.0.mlp.{name}"
        expected = before[name][neuron] * decayed
        torch.testing.assert_close(after[name][neuron], expected, rtol=1e-12, atol=0)
    # The first step is ±lr wherever there is a gradient, however small it is.
    once = replace(config, train=replace(config.train, epochs=1, weight_decay=0.0))
    _, [after], _ = run_together([once], [before])
    step = (after["unembed.W_U"] - before["unembed.W_U"]).abs()
    torch.testing.assert_close(step, torch.full_like(step, config.lr), rtol=1e-9, atol=0)


def test_stop_rule_holds_for_its_epochs():
    recipe = replace(SMALL.train, epochs=400, stop_when="train_accuracy >= 0.99 for 30", lr=3e-3)
    [rows], _, [report] = run_together([replace(SMALL, train=recipe)])
    met = next(row["epoch"] for row in rows if row["train_accuracy"] >= 0.99)
    assert report.status == "stopped"
    assert rows[-1]["epoch"] == report.epoch == met + 30


def test_evaluation_cadence_does_not_change_training():
    every = run_together([SMALL])[0][0]
    seldom = run_together([replace(SMALL, train=replace(SMALL.train, eval_every=5))])[0][0]
    assert [row["epoch"] for row in seldom] == [1, 5, 10, 12]
    assert seldom == [row for row in every if row["epoch"] in (1, 5, 10, 12)]


def test_state_resumes_bit_for_bit():
    config = replace(SMALL, train=replace(SMALL.train, dtype="float32"))
    weights = start(config)
    ensemble = Ensemble({0: config}, [weights], [RunState.initial(weights)])
    for _ in range(5):
        ensemble.advance()
    [(_, reports)] = list(train_together([config], [weights], [ensemble.state(0)]))[-1:]
    [rows], _, _ = run_together([config])
    assert reports[0].row == {name: rows[-1][name] for name in METRICS}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("width", [1, 5])
def test_cuda_computes_what_the_cpu_does(width):
    configs = five_runs()
    on_gpu = [replace(c, train=replace(c.train, device="cuda")) for c in configs]
    for ours, theirs in zip(
        run_together(on_gpu, width=width)[0], run_together(configs)[0], strict=True
    ):
        assert ours == [pytest.approx(row, rel=1e-8) for row in theirs]


def test_missing_devices_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="needs a CUDA GPU; this machine has 0"):
        run_together([replace(SMALL, train=replace(SMALL.train, device="cuda"))])
