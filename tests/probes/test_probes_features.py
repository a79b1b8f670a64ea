"""Readouts of features and their change: planted features, and noise that must show nothing."""

import math

import numpy as np
import pytest
import torch
from cases import TASK, perturbed_model, small_config

from grokinterp.model.build import build_model
from grokinterp.probes.linear_probe import (
    fourier_targets,
    linear_probe,
    logistic_accuracy,
    ridge_r2,
)
from grokinterp.probes.norm_readout import norm_readout, readout_of
from grokinterp.probes.similarity import (
    cka,
    linear_cka,
    procrustes_distance,
    representation_drift,
)
from grokinterp.snapshot import Snapshot
from grokinterp.task import ModularTask

P = 13
PAIRS = np.array(ModularTask(P).pairs())
LABELS = PAIRS.sum(1) % P
LARGER = ModularTask(P)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def rotation(d: int) -> np.ndarray:
    return np.linalg.qr(noise(d, d, seed=9))[0]


def snapshot(placement="off", task=LARGER, dtype="float64", seed=1, **options) -> Snapshot:
    return Snapshot(build_model(small_config(placement, **options), task, seed, dtype), task, 1)


# norm_readout


@pytest.mark.parametrize("shuffle", ["mirrored", "examples"])
def test_a_norm_that_encodes_the_label_reads_it_out(shuffle):
    found = readout_of(LABELS + 0.01 * noise(P * P), PAIRS, LABELS, shuffle)
    assert found["accuracy"] == 1
    assert found["shuffled_accuracy"] < 0.5
    assert found["rise"] == pytest.approx(1 - found["shuffled_accuracy"])


@pytest.mark.parametrize("shuffle", ["mirrored", "examples"])
def test_a_norm_without_the_label_does_no_better_than_shuffled(shuffle):
    found = readout_of(noise(P * P), PAIRS, LABELS, shuffle, shuffles=40)
    assert found["shuffled_accuracy"] > 2 / P  # Each example is its own neighbour.
    assert abs(found["rise"]) < 3 * found["shuffled_std"] + 0.01
    constant = readout_of(np.ones(P * P), PAIRS, LABELS, shuffle, shuffles=40)
    assert constant["accuracy"] == pytest.approx(1 / P)
    assert abs(constant["rise"]) < 3 * constant["shuffled_std"] + 0.01


def test_mirrored_pairs_of_one_norm_are_no_readout():
    norms = noise(P, P)
    norms = (norms + norms.T).ravel()
    counted = readout_of(norms, PAIRS, LABELS, "examples", shuffles=40)
    assert counted["rise"] > 5 * counted["shuffled_std"]
    found = readout_of(norms, PAIRS, LABELS, shuffles=40)
    assert abs(found["rise"]) < 3 * found["shuffled_std"]


def test_mirrored_pairs_of_different_labels_are_shuffled_apart():
    differences = (PAIRS[:, 0] - PAIRS[:, 1]) % P
    # Nothing is tied together, so a norm that only mirrors share cannot help the shuffled labels.
    norms = PAIRS.min(1) * P + PAIRS.max(1).astype(float)
    found = readout_of(norms, PAIRS, differences, n_neighbors=1, shuffles=40)
    apart = readout_of(norms, PAIRS, differences, "examples", n_neighbors=1, shuffles=40)
    assert found["shuffled_accuracy"] == pytest.approx(apart["shuffled_accuracy"], abs=0.03)


def nearest_neighbour_accuracy(norms: np.ndarray, labels: np.ndarray, k: int) -> float:
    hits = 0
    for norm, label in zip(norms, labels, strict=True):
        nearest = labels[np.argsort(np.abs(norms - norm), kind="stable")[:k]]
        hits += np.bincount(nearest).argmax() == label
    return hits / len(norms)


@pytest.mark.parametrize("source", ["mlp_input", "residual"])
def test_the_readout_is_of_the_input_of_the_mlp(source):
    shot = Snapshot(perturbed_model(small_config("mlp-pre")), TASK, seed=0)
    model, tokens = shot.model, shot.train.tokens
    _, cache = model.run_with_cache(tokens)
    x = cache["resid_mid", 0][:, -1]
    x = model.blocks[0].ln2(x[:, None])[:, 0] if source == "mlp_input" else x
    expected = nearest_neighbour_accuracy(
        x.norm(dim=-1).detach().numpy(), shot.train.labels.numpy(), 3
    )
    assert norm_readout(shot, source, n_neighbors=3)["accuracy"] == pytest.approx(expected)


def test_normalisation_takes_the_norm_away():
    # At initialisation the gain is 1 and the bias 0, so every norm is √d_model but for rounding.
    shot = snapshot("mlp-pre")
    values = [norm_readout(shot, shuffles=40, seed=seed) for seed in range(2)]
    for found in values:
        assert abs(found["rise"]) < 3 * found["shuffled_std"]
    assert values[0]["shuffled_accuracy"] != values[1]["shuffled_accuracy"]


@pytest.mark.usefixtures("unchecked")
def test_what_a_readout_does_not_know_is_a_sentence():
    with pytest.raises(ValueError, match="unknown source 'x'; choose one of mlp_input, residual"):
        norm_readout(snapshot(), "x")
    with pytest.raises(ValueError, match="unknown shuffle 'x'; choose one of mirrored, examples"):
        norm_readout(snapshot(), shuffle="x")
    with pytest.raises(ValueError, match="shuffles must be an integer of at least 1"):
        norm_readout(snapshot(), shuffles=0)
    for n_neighbors in (0, 10_000):
        with pytest.raises(ValueError, match="n_neighbors must lie between 1 and the 51 train"):
            norm_readout(snapshot(), n_neighbors=n_neighbors)
    with pytest.raises(ValueError, match="alpha must be a finite number of at least 0; got -1"):
        linear_probe(snapshot(), alpha=-1)
    with pytest.raises(ValueError, match="seed must be an integer of at least 0; got -1"):
        linear_probe(snapshot(), seed=-1)


# linear_probe


def halves() -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(0).permutation(P * P)
    return order[: P * P // 2], order[P * P // 2 :]


def test_planted_frequencies_are_read_and_others_are_not():
    targets = fourier_targets(PAIRS.sum(1), (1, 2, 3), P)
    features = np.hstack([targets[:, :, 1], noise(P * P, 2)]) @ rotation(4)
    fit, held = halves()
    found = ridge_r2(features[fit], targets[fit], features[held], targets[held], alpha=1e-6)
    assert found["r2"][1] == pytest.approx(1)
    assert found["cos"][1] == pytest.approx(1)
    assert found["sin"][1] == pytest.approx(1)
    assert max(found["r2"][0], found["r2"][2]) < 0.1
    assert found["r2_max"] == found["r2"].max()
    assert found["r2_mean"] == pytest.approx(found["r2"].mean())


def test_noise_reads_no_frequency():
    fit, held = halves()
    targets = fourier_targets(PAIRS.sum(1), tuple(range(1, 7)), P)
    x = noise(P * P, 8)
    assert ridge_r2(x[fit], targets[fit], x[held], targets[held])["r2_max"] < 0.05


def test_ridge_is_its_normal_equations():
    fit, held = halves()
    targets = fourier_targets(PAIRS.sum(1), (1, 4), P)
    x = noise(P * P, 5) + 2 + targets[:, :, 0].sum(1, keepdims=True)
    found = ridge_r2(x[fit], targets[fit], x[held], targets[held], alpha=3.0)
    mean_x, mean_y = x[fit].mean(0), targets[fit].mean(0)
    centred = x[fit] - mean_x
    for side, name in enumerate(("cos", "sin")):
        y = targets[:, side]
        weights = np.linalg.solve(
            centred.T @ centred + 3 * np.eye(5), centred.T @ (y[fit] - mean_y[side])
        )
        residual = y[held] - (x[held] - mean_x) @ weights - mean_y[side]
        expected = 1 - (residual**2).mean(0) / y[held].var(0)
        assert found[name] == pytest.approx(expected, rel=1e-9)


def test_the_sine_that_is_zero_has_no_r2():
    targets = fourier_targets(np.arange(200) % 8, (1, 4), 8)
    found = ridge_r2(targets[:, 0], targets, targets[:, 0], targets, alpha=1e-9)
    assert np.isnan(found["sin"]).tolist() == [False, True]
    assert found["cos"] == pytest.approx([1, 1])
    assert found["r2"] == pytest.approx([0.5, 1])


def test_a_planted_label_is_read_and_noise_is_at_chance():
    fit, held = halves()
    planted = np.eye(P)[LABELS] @ rotation(P) * 5
    found = logistic_accuracy(planted[fit], LABELS[fit], planted[held], LABELS[held])
    assert found == {"accuracy": 1.0, "converged": 1.0}
    random = noise(4000, 6)
    labels = np.random.default_rng(1).integers(P, size=4000)
    chance = logistic_accuracy(random[:2000], labels[:2000], random[2000:], labels[2000:])
    assert chance["accuracy"] == pytest.approx(1 / P, abs=4 * (1 / P / 2000) ** 0.5)
    short = logistic_accuracy(planted[fit], LABELS[fit], planted[held], LABELS[held], max_iter=2)
    assert short["converged"] == 0


def planted_sum() -> Snapshot:
    """Its last residual is cos and sin ω_2(a + b) of the train and test examples alike."""
    shot = snapshot()
    for inputs in (shot.train, shot.test):
        circle = fourier_targets(inputs.tokens[:, :2].sum(1).numpy(), (2,), P)[:, :, 0]
        inputs.cache["blocks.0.hook_resid_post"][:, -1, :2] = torch.from_numpy(10 * circle)
    return shot


@pytest.mark.parametrize("fit", ["train", "test"])
def test_the_probe_finds_the_planted_frequency_at_its_hook(fit):
    found = linear_probe(planted_sum(), fit=fit, label=False)
    name = "blocks.0.hook_resid_post"
    assert found["frequencies"].tolist() == [1, 2, 3, 4, 5, 6]
    assert found[f"{name}.r2"][1] > 0.98
    assert found[f"{name}.r2"].argmax() == 1
    assert np.delete(found[f"{name}.r2"], 1).max() < 0.3
    assert found["blocks.0.hook_resid_mid.r2_max"] < 0.5
    chosen = linear_probe(planted_sum(), (name,), (2,), fit=fit, label=False)
    assert chosen[f"{name}.r2"] == pytest.approx(found[f"{name}.r2"][1:2])
    assert not any("accuracy" in key or "resid_mid" in key for key in chosen)


def test_the_label_of_a_mirrored_pair_is_not_held_out():
    # Random features that are alike on (a, b) and (b, a), as an untrained model's nearly are.
    task = ModularTask(23)
    shot = snapshot(task=task)
    wide = noise(23, 300, seed=3)
    for inputs in (shot.train, shot.test):
        pairs = inputs.tokens[:, :2].numpy()
        features = torch.from_numpy(np.cos(3 * (wide[pairs[:, 0]] + wide[pairs[:, 1]])))
        inputs.cache.cache_dict["planted"] = features[:, None].expand(-1, 3, -1)
    options = {"hooks": ("planted",), "frequencies": ()}
    leaked = linear_probe(shot, held_out="ordered", **options)["planted.accuracy"]
    assert leaked > 0.2
    assert linear_probe(shot, **options)["planted.accuracy"] < 0.1


def test_the_scored_pairs_are_those_held_out():
    known = {tuple(pair) for pair in snapshot().train.tokens[:, :2].tolist()}
    shot = snapshot()
    label = shot.test.labels.double()
    kept = torch.tensor([(b, a) not in known for a, b in shot.test.tokens[:, :2].tolist()])
    assert 0 < kept.sum() < len(kept)
    # A feature that is right wherever it is scored, and wrong elsewhere.
    right = {True: kept, False: ~kept}
    accuracies = {}
    for unmirrored, rows in right.items():
        shot = snapshot()
        for inputs, ok in ((shot.train, None), (shot.test, rows)):
            shown = (
                inputs.labels if ok is None else torch.where(ok, inputs.labels, label.long() + 1)
            )
            one_hot = 5 * torch.nn.functional.one_hot(shown % P, P).double()
            inputs.cache.cache_dict["planted"] = one_hot[:, None].expand(-1, 3, -1)
        found = linear_probe(shot, ("planted",), ())
        accuracies[unmirrored] = found["planted.accuracy"]
    assert accuracies == {True: 1.0, False: 0.0}


def test_the_halves_of_the_test_split_are_of_the_seed():
    values = [linear_probe(snapshot(), fit="test", seed=s, label=False) for s in (0, 0, 1)]
    first, same, other = (found["blocks.0.hook_resid_mid.r2_mean"] for found in values)
    assert first == same != other


@pytest.mark.parametrize("fit", ["train", "test"])
def test_what_was_fitted_is_not_scored(fit):
    # Enough random features to fit anything, and none that says anything of another pair.
    shot = snapshot()
    for seed, inputs in enumerate((shot.train, shot.test)):
        features = torch.from_numpy(noise(len(inputs.tokens), 200, seed=seed))
        inputs.cache.cache_dict["planted"] = features[:, None].expand(-1, 3, -1)
    found = linear_probe(shot, ("planted",), fit=fit, held_out="ordered")
    assert found["planted.r2_max"] < 0.1
    assert found["planted.accuracy"] < 0.3


def test_a_dead_mlp_knows_nothing():
    shot = snapshot()
    with torch.no_grad():
        shot.model.blocks[0].mlp.W_in.zero_()
    found = linear_probe(shot, ("blocks.0.mlp.hook_post", "blocks.0.hook_resid_pre"))
    for hook in ("blocks.0.mlp.hook_post", "blocks.0.hook_resid_pre"):
        assert found[f"{hook}.r2_max"] <= 0
        assert found[f"{hook}.accuracy"] < 0.3


def test_a_rotation_of_the_features_changes_nothing():
    shot, turned = planted_sum(), planted_sum()
    q = torch.from_numpy(rotation(8))
    hook = "blocks.0.hook_resid_post"
    for inputs in (turned.train, turned.test):
        inputs.cache.cache_dict[hook] = 3 * inputs.cache[hook] @ q + 1
    found, expected = (linear_probe(s, (hook,), label=False) for s in (turned, shot))
    assert found[f"{hook}.r2"] == pytest.approx(expected[f"{hook}.r2"], rel=1e-9)


def test_a_task_that_is_not_addition_has_labels_alone():
    shot = snapshot(task=ModularTask(P, "mul"))
    with pytest.raises(ValueError, match="linear_probe of frequencies is about addition"):
        linear_probe(shot)
    found = linear_probe(shot, frequencies=())
    assert 0 <= found["blocks.0.mlp.hook_post.accuracy"] <= 1
    assert not any("r2" in name for name in found)


def test_a_split_whose_test_pairs_all_mirror_train_pairs_is_a_sentence():
    task = ModularTask(5, train_pairs=tuple((a, b) for a in range(5) for b in range(a, 5)))
    with pytest.raises(ValueError, match="got 0 of 10: give held_out='ordered'"):
        linear_probe(snapshot(task=task))
    assert "blocks.0.hook_resid_mid.r2" in linear_probe(snapshot(task=task), held_out="ordered")


@pytest.mark.usefixtures("unchecked")
def test_what_a_probe_does_not_know_is_a_sentence():
    for options, sentence in [
        ({"fit": "x"}, "unknown fit 'x'; choose one of train, test"),
        ({"held_out": "x"}, "unknown held_out 'x'; choose one of unordered, ordered"),
        ({"frequencies": (7,)}, "between 1 and 6; got"),
        ({"hooks": ("x",)}, "the model has no hook 'x'; close ones: hook_embed"),
        ({"hooks": ("blocks.0.attn.hook_pattern",)}, "choose another hook"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            linear_probe(snapshot(), **options)


# cka and representation_drift


def test_cka_of_what_differs_by_a_rotation_scale_and_shift_is_one():
    x = noise(50, 6)
    assert linear_cka(x, -3 * x @ rotation(6) + noise(6)) == pytest.approx(1)
    assert linear_cka(x, x * np.array([9, 1, 1, 1, 1, 1.0])) < 0.9


def test_cka_of_independent_noise_is_d_over_n():
    x, y = noise(4000, 8), noise(4000, 8, seed=1)
    assert linear_cka(x, y) == pytest.approx(8 / 4000, rel=0.5)


def test_cka_is_its_definition_by_kernels():
    x, y = noise(30, 4), noise(30, 7, seed=1)
    y[:, :4] += x
    centring = np.eye(30) - 1 / 30
    k, m = centring @ x @ x.T @ centring, centring @ y @ y.T @ centring
    expected = (k * m).sum() / math.sqrt((k * k).sum() * (m * m).sum())
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-10)


def test_cka_of_constant_features_does_not_exist():
    assert math.isnan(linear_cka(np.full((10, 2), 0.1), noise(10, 2)))


def test_procrustes_of_known_changes():
    x = noise(40, 5)
    assert procrustes_distance(x, x @ rotation(5)) == pytest.approx(0, abs=1e-12)
    assert procrustes_distance(x, 1.5 * x @ rotation(5)) == pytest.approx(0.5)
    assert procrustes_distance(x, noise(40, 5, seed=1)) > 0.5


def test_procrustes_is_its_closed_form_and_no_rotation_is_better():
    x, y = noise(40, 5), noise(40, 5, seed=1)
    nuclear = np.linalg.svd(x.T @ y, compute_uv=False).sum()
    square = (x**2).sum() + (y**2).sum() - 2 * nuclear
    best = procrustes_distance(x, y)
    assert best == pytest.approx(math.sqrt(square / (x**2).sum()))
    for seed in range(20):
        q = np.linalg.qr(noise(5, 5, seed=seed))[0]
        assert np.linalg.norm(y - x @ q) / np.linalg.norm(x) >= best


def with_other(shot: Snapshot, other: Snapshot, asked: list | None = None) -> Snapshot:
    asked = [] if asked is None else asked
    return Snapshot(
        shot.model, shot.task, shot.seed, others=lambda which: asked.append(which) or other
    )


HOOKS = ["attn.hook_z", "hook_resid_mid", "mlp.hook_post", "hook_resid_post"]


@pytest.mark.parametrize("n_layers", [1, 2])
def test_cka_compares_the_same_hook_at_the_last_block(n_layers):
    shot, other = snapshot(n_layers=n_layers), snapshot(n_layers=n_layers, seed=2)
    asked = []
    found = cka(with_other(shot, other, asked))
    assert list(found) == [f"blocks.{n_layers - 1}.{hook}" for hook in HOOKS]
    assert asked == ["final"]
    for hook, value in found.items():
        x, y = (s.train.cache[hook][:, -1].flatten(1).numpy() for s in (shot, other))
        assert value == pytest.approx(linear_cka(x, y))
        assert value < 0.95
    same = cka(with_other(shot, snapshot(n_layers=n_layers)), "initial", split="grid")
    assert list(same.values()) == pytest.approx([1] * 4)


def test_a_hook_that_is_constant_has_no_cka():
    shot = with_other(snapshot(), snapshot(seed=2))
    assert math.isnan(cka(shot, hooks=("blocks.0.hook_resid_pre",))["blocks.0.hook_resid_pre"])


def test_a_model_in_rotated_coordinates_has_not_drifted():
    shot, turned = snapshot(), snapshot()
    q = torch.from_numpy(rotation(8))
    with torch.no_grad():
        attn, mlp = turned.model.blocks[0].attn, turned.model.blocks[0].mlp
        for weight in (turned.model.embed.W_E, turned.model.pos_embed.W_pos, attn.W_O, mlp.W_out):
            weight.copy_(weight @ q)
        for weight in (attn.W_Q, attn.W_K, attn.W_V, mlp.W_in, turned.model.unembed.W_U):
            weight.copy_(q.T @ weight)
    assert torch.allclose(turned.train.logits, shot.train.logits)
    asked = []
    found = representation_drift(with_other(turned, shot, asked))
    assert asked == ["previous"]
    assert found["value"] == pytest.approx(0, abs=1e-12)
    assert found["unaligned"] > 0.5
    # Other random weights are no rotation of these.
    other = representation_drift(with_other(snapshot(seed=2), shot))
    assert 0.2 < other["value"] < other["unaligned"]


def test_drift_is_relative_to_the_earlier_features():
    shot, grown = snapshot(), snapshot()
    x, y = (s.train.cache["unembed.hook_in"] for s in (shot, grown))
    y.copy_(3 * x)
    assert representation_drift(with_other(shot, grown))["value"] == pytest.approx(2 / 3)
    shot = snapshot()
    later = with_other(grown, shot)
    later.train.cache["unembed.hook_in"].copy_(3 * shot.train.cache["unembed.hook_in"])
    assert representation_drift(later)["value"] == pytest.approx(2)


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_compared_is_a_sentence():
    shot = snapshot()
    different = Snapshot(shot.model, shot.task, seed=2)
    with pytest.raises(ValueError, match="must have the same examples"):
        cka(with_other(shot, different))
    with pytest.raises(ValueError, match="unknown other 'x'; choose one of initial, final, prev"):
        cka(with_other(shot, shot), "x")
    with pytest.raises(ValueError, match="unknown split 'x'; choose one of train, test, grid"):
        representation_drift(with_other(shot, shot), split="x")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_probe_takes_either_precision_and_one_pass_over_each_input_set(dtype, monkeypatch):
    shot = snapshot("mlp-pre", dtype=dtype)
    calls = []
    run_with_cache = type(shot.model).run_with_cache
    monkeypatch.setattr(
        type(shot.model),
        "run_with_cache",
        lambda self, tokens, **o: calls.append(len(tokens)) or run_with_cache(self, tokens, **o),
    )
    shot = with_other(shot, snapshot("mlp-pre", dtype=dtype, seed=2))
    for probe in (norm_readout, linear_probe, cka, representation_drift):
        for _ in range(2):
            for value in probe(shot).values():
                assert isinstance(value, np.ndarray) or math.isfinite(value)
                assert type(value) in (np.ndarray, float)
    assert sorted(calls) == sorted([LARGER.n_train, LARGER.n_train, LARGER.n_test])
