"""Ablations against their definition, and their random controls."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from grokinterp.hooks import (
    AblateHead,
    AblateNeurons,
    FilterFrequencies,
    UnitNorm,
    applied,
    distinct_controls,
    random_controls,
)
from planted import planted

import grokinterp as gi
from grokinterp.ablation import SCORES, ablate, cluster, parse, scalars, summarise
from grokinterp.cli import main
from grokinterp.model.build import build_model
from grokinterp.snapshot import Snapshot
from grokinterp.task import ModularTask

TASK = ModularTask(p=7)


def snapshot(placement="mlp-pre") -> Snapshot:
    config = gi.ModelConfig(placement, d_model=16, n_heads=4)
    return Snapshot(build_model(config, TASK, 1, "float64"), TASK, seed=1)


def test_the_scores_are_those_of_the_intact_and_of_the_ablated_model():
    shot = snapshot()
    table = ablate(shot, [UnitNorm("mlp"), AblateHead(1)], controls=0).set_index("condition")
    for side in ("train", "test"):
        inputs = getattr(shot, side)
        for condition, interventions in (
            ("intact", []),
            ("ablated", [UnitNorm("mlp"), AblateHead(1)]),
        ):
            with torch.no_grad(), applied(shot.model, interventions) as model:
                logits = model(inputs.tokens)[:, -1]
            row = table.loc[condition]
            expected = F.cross_entropy(logits, inputs.labels).item()
            assert row[f"{side}_loss"] == pytest.approx(expected, rel=1e-12)
            accuracy = (logits.argmax(-1) == inputs.labels).double().mean().item()
            assert row[f"{side}_accuracy"] == accuracy
    assert table.loc["ablated", "train_loss"] != table.loc["intact", "train_loss"]


def test_the_control_is_the_same_on_as_many_others():
    shot = snapshot()
    chosen = AblateNeurons((0, 1, 2))
    table = ablate(shot, [chosen], controls=5, seed=3)
    controls = table[table["condition"] == "control"]
    assert len(controls) == 5
    [drawn] = random_controls([chosen], shot.model, 4)
    assert len(drawn.neurons) == 3
    assert not set(drawn.neurons) & {0, 1, 2}
    with torch.no_grad(), applied(shot.model, [drawn]) as model:
        loss = F.cross_entropy(model(shot.test.tokens)[:, -1], shot.test.labels).item()
    assert controls["test_loss"].iloc[1] == pytest.approx(loss, rel=1e-12)
    assert controls["test_loss"].nunique() == 5
    summary = summarise(table)
    assert summary["n"].to_dict() == {
        "intact": 1,
        "ablated": 1,
        "control": 5,
        "control (std)": 5,
    }
    assert list(summary.index) == ["intact", "ablated", "control", "control (std)"]
    assert summary.loc["control", "test_loss"] == pytest.approx(controls["test_loss"].mean())
    assert scalars(table)["control_std.test_loss"] == pytest.approx(controls["test_loss"].std())


def test_the_control_of_several_is_of_their_size_together():
    shot = snapshot()
    for seed in range(20):
        drawn = random_controls([AblateHead(1), UnitNorm("mlp"), AblateHead(2)], shot.model, seed)
        assert drawn[1] == UnitNorm("mlp")
        assert {drawn[0].head, drawn[2].head} == {0, 3}
    several = [AblateNeurons((0, 1)), AblateNeurons(tuple(range(2, 30)))]
    neurons = [one for item in random_controls(several, shot.model, 0) for one in item.neurons]
    assert len(set(neurons) | set(range(30))) == 60
    with pytest.raises(ValueError, match="3 of 4 heads are chosen, which leaves 1 others"):
        random_controls([AblateHead(i) for i in range(3)], shot.model, 0)


def test_controls_are_as_many_as_there_are_and_all_different():
    shot = snapshot()
    table = ablate(shot, [AblateHead(2)], controls=20)
    controls = table[table["condition"] == "control"]
    expected = []
    for head in (0, 1, 3):
        with torch.no_grad(), applied(shot.model, [AblateHead(head)]) as model:
            logits = model(shot.test.tokens)[:, -1]
        expected.append(F.cross_entropy(logits, shot.test.labels).item())
    assert sorted(controls["test_loss"]) == pytest.approx(sorted(expected))
    summary = summarise(table)
    assert summary.loc["control", "n"] == summary.loc["control (std)", "n"] == 3
    std = np.std(expected, ddof=1)
    assert summary.loc["control (std)", "test_loss"] == pytest.approx(std)
    assert scalars(table)["control.n"] == 3


def test_one_control_has_no_spread():
    # Heads 0 and 3 are the only two others, in whatever order.
    table = ablate(snapshot(), [AblateHead(1), AblateHead(2)], controls=20)
    summary = summarise(table)
    assert list(summary.index) == ["intact", "ablated", "control"]
    assert summary.loc["control", "n"] == 1
    assert not summary.isna().any(axis=None)
    assert not any("std" in name for name in scalars(table))


def test_every_distinct_control_is_drawn_and_fewer_are_a_random_part():
    model = snapshot().model
    several = [AblateHead(0), AblateNeurons((0, 1)), UnitNorm("mlp")]
    drawn = distinct_controls(several, model, 50, seed=1)
    assert len({repr(control) for control in drawn}) == len(drawn) == 50
    assert drawn == distinct_controls(several, model, 50, seed=1)
    assert drawn != distinct_controls(several, model, 50, seed=2)
    assert all(control[2] == UnitNorm("mlp") for control in drawn)
    # Few: all three; the first of them by the seed.
    few = [distinct_controls([AblateHead(0)], model, 1, seed)[0][0].head for seed in range(30)]
    assert set(few) == {1, 2, 3}
    # Which of two unlike interventions is on which of two others matters; of two like ones, not.
    unlike = [AblateHead(0, kind="mean"), AblateHead(1)]
    assert len(distinct_controls(unlike, model, 50)) == 2
    assert len(distinct_controls([AblateHead(0), AblateHead(1)], model, 50)) == 1


def test_what_two_interventions_share_their_controls_share():
    model = snapshot().model
    shared = [AblateNeurons((0, 1, 2)), AblateNeurons((2, 3), kind="mean"), AblateHead(1)]
    for seed in range(5):
        first, second, head = random_controls(shared, model, seed)
        assert len(set(first.neurons) & set(second.neurons)) == 1
        assert len(set(first.neurons) | set(second.neurons)) == 4
        assert not {0, 1, 2, 3} & {*first.neurons, *second.neurons}
        assert head.head != 1


def test_a_whole_pathway_has_no_control_and_nothing_ablated_is_intact():
    table = ablate(snapshot(), [UnitNorm("mlp")])
    assert list(table["condition"]) == ["intact", "ablated"]
    nothing = ablate(snapshot(), []).set_index("condition")
    pd.testing.assert_series_equal(
        nothing.loc["intact", list(SCORES)],
        nothing.loc["ablated", list(SCORES)],
        check_names=False,
    )


def test_the_cluster_of_a_frequency():
    shot = planted((2,))
    with torch.no_grad():  # Every neuron linear, so each varies at frequency 2 alone.
        shot.model.blocks[0].mlp.b_in.fill_(10.0)
        shot.model.blocks[0].mlp.W_in[:, 100:] = 0
    assert cluster(shot, 2).neurons == tuple(range(100))
    assert parse(shot, "cluster:2,kind=mean") == AblateNeurons(tuple(range(100)), kind="mean")
    with pytest.raises(ValueError, match=r"no neuron serves frequency 3; .* with a cluster: 2"):
        cluster(shot, 3)
    with pytest.raises(ValueError, match="cluster takes a frequency, and kind, as in cluster:5"):
        parse(shot, "cluster:five")


def test_the_command_prints_and_saves(tmp_path, capsys):
    config = gi.RunConfig(
        task=ModularTask(p=5),
        model=gi.ModelConfig(d_model=8, n_heads=2),
        train=gi.TrainConfig(epochs=20, checkpoint_every=10),
        seed=1,
    )
    [run] = gi.train([config], store=tmp_path)
    command = ["ablate", run.id[:6], "--store", str(tmp_path), "--controls", "4"]
    main([*command, "--hook", "AblateNeurons:neurons=(1,2)", "--epoch", "10"])
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("intact", "ablated", "control (std)", "test_accuracy"))
    [probe] = set(run.probes["probe"])
    assert probe == "ablation:AblateNeurons:neurons=(1,2)"
    values = run.probes.set_index("name")["value"]
    expected = scalars(ablate(run.snapshot(10), [AblateNeurons((1, 2))], controls=4))
    assert values.to_dict() == pytest.approx(expected)
    assert set(run.probes["epoch"]) == {10}


@pytest.mark.parametrize(
    ("hook", "sentence"),
    [
        ("NoSuch:x=1", "unknown intervention"),
        ("AblateHead:9", "9"),
        ("cluster:3", "no neuron serves frequency 3"),
    ],
)
def test_a_wrong_hook_is_one_sentence_and_saves_nothing(tmp_path, capsys, hook, sentence):
    config = gi.RunConfig(
        task=ModularTask(p=5),
        model=gi.ModelConfig(d_model=8, n_heads=2),
        train=gi.TrainConfig(epochs=10),
    )
    [run] = gi.train([config], store=tmp_path)
    with pytest.raises(SystemExit):
        main(["ablate", run.id[:6], "--store", str(tmp_path), "--hook", hook])
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert run.probes.empty


def test_what_is_over_the_grid_is_scored_on_the_pairs_of_each_side():
    shot = snapshot()
    hook = "blocks.0.mlp.hook_post"
    filtered = FilterFrequencies(hook, (2,), keep=False)
    table = ablate(shot, [filtered], controls=3)
    assert (table["condition"] == "control").sum() == 2
    with torch.no_grad(), applied(shot.model, [filtered]) as model:
        logits = model(shot.grid.tokens)[:, -1]
    scores = table.set_index("condition").loc["ablated"]
    for side in ("train", "test"):
        inputs = shot.inputs(side)
        rows = [shot.task.pairs().index((a, b)) for a, b, _ in inputs.tokens.tolist()]
        expected = F.cross_entropy(logits[rows].double(), inputs.labels).item()
        assert scores[f"{side}_loss"] == pytest.approx(expected, rel=1e-12)
    # All but nothing is everything.
    nothing = ablate(shot, [FilterFrequencies(hook, (), keep=False)])
    for name in SCORES:
        assert nothing.loc[1, name] == pytest.approx(nothing.loc[0, name], rel=1e-5)


def test_an_ablation_that_cannot_be_kept_is_shown(tmp_path, capsys, monkeypatch):
    config = gi.RunConfig(
        task=ModularTask(p=5),
        model=gi.ModelConfig(d_model=8, n_heads=2),
        train=gi.TrainConfig(epochs=10),
    )
    run = gi.train(config, store=tmp_path)

    def refuse(*arguments: object) -> None:
        raise PermissionError("the store is read-only")

    monkeypatch.setattr("grokinterp.store.probe_records.Records.add", refuse)
    hook = "FilterFrequencies:blocks.0.mlp.hook_post,frequencies=(1,),keep=false"
    main(["ablate", run.id[:6], "--store", str(tmp_path), "--hook", hook])
    shown = capsys.readouterr()
    assert "ablated" in shown.out
    assert "not kept: the store is read-only" in shown.err
    assert run.probes.empty
