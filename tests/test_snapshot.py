"""A run's snapshot is of the model that trained, under its interventions; and every probe sees
them, or says that it cannot."""

import math
from dataclasses import replace

import grokinterp.hooks as gh
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import TASK, perturbed_model, small_config
from runs_cases import with_model, with_recipe

import grokinterp as gi
from grokinterp.circuits import direct_logit_attribution, frequency_circles
from grokinterp.probes import PROBES
from grokinterp.snapshot import NotApplicable, Snapshot

INTERVENED = with_recipe(
    with_model(n_heads=2, placement="pre"), interventions=(gh.UniformAttention(from_epoch=15),)
)


def train(tmp_path, *interventions, **recipe) -> gi.Run:
    config = with_recipe(INTERVENED, interventions=interventions, **recipe)
    return gi.train([config], store=tmp_path)[0]


def entropy(shot) -> float:
    return PROBES["attention_entropy"](shot)["mean"]


def test_a_run_gives_the_model_as_it_trained_at_each_epoch(tmp_path):
    [run] = gi.train([INTERVENED], store=tmp_path)
    for epoch, uniform in ((0, False), (10, False), (20, True), (30, True)):
        bare = entropy(run.snapshot(epoch, interventions=False))
        assert bare < math.log(3) - 1e-9
        assert entropy(run.snapshot(epoch)) == pytest.approx(math.log(3) if uniform else bare)
        tokens = run.snapshot(epoch).train.tokens
        logits = [run.model(epoch, interventions=on)(tokens) for on in (True, False)]
        assert torch.equal(*logits) is not uniform


@pytest.mark.parametrize(
    "item",
    [
        gh.UniformAttention(),
        gh.FrozenPattern(),
        gh.AblateHead(1, kind="mean"),
        gh.ShuffleNorm("mlp"),
        gh.RemoveNorm("mlp"),
        gh.FreezeScale("q"),
    ],
)
def test_its_losses_are_those_of_the_training(tmp_path, item):
    """Also where the examples of the batch mix: train and test are the batches of training."""
    run = train(tmp_path, item, eval_every=1, checkpoint_every=1, epochs=4, dtype="float64")
    metrics = run.metrics.set_index("epoch")
    for epoch in (0, 1, 2, 3):
        for side, at in (("train", epoch + 1), ("test", epoch)):
            inputs = getattr(run.snapshot(epoch), side)
            loss = F.cross_entropy(inputs.logits, inputs.labels).item()
            if at > 0:
                assert loss == pytest.approx(metrics.loc[at, f"{side}_loss"], rel=1e-9)


def test_the_start_is_under_what_acts_on_the_first_update(tmp_path):
    run = train(tmp_path, gh.UniformAttention(until_epoch=10))
    assert entropy(run.snapshot(0)) == pytest.approx(math.log(3))
    assert entropy(run.snapshot(20)) < math.log(3) - 1e-9
    assert entropy(run.snapshot(20).other("initial")) == pytest.approx(math.log(3))
    assert entropy(run.snapshot(20).other("previous")) == pytest.approx(math.log(3))
    bare = run.snapshot(20, interventions=False)
    for which in ("initial", "previous", 10):
        assert entropy(bare.other(which)) < math.log(3) - 1e-9


def test_hooks_that_a_user_adds_act_after_the_run_s_and_go_alone(tmp_path):
    run = train(tmp_path, gh.UniformAttention())
    model, tokens = run.model(), run.snapshot().train.tokens
    seen = []
    with model.hooks(fwd_hooks=[("blocks.0.attn.hook_pattern", lambda x, hook: seen.append(x))]):
        before = model(tokens)
    assert torch.allclose(seen[0], torch.tensor(1 / 3))
    model.reset_hooks()
    assert torch.equal(model(tokens), before)
    model.reset_hooks(including_permanent=True)
    assert torch.equal(model(tokens), run.model(interventions=False)(tokens))


NOT_ONLINE = {"cka", "representation_drift", "trajectory", "llc", "ntk"}
"""They compare with other checkpoints, or take long, or refuse hooks."""
OF_THE_END = {"logit_formula", "restricted_loss", "excluded_loss"}


def test_probes_after_training_are_those_of_the_training(tmp_path):
    """Every probe that may be recorded under uniform attention, at epochs with it and without."""
    names = PROBES.keys() - NOT_ONLINE
    probes = {f"{name}:at=self" if name in OF_THE_END else name: 10 for name in names}
    uniform = gh.UniformAttention(from_epoch=15)
    run = train(tmp_path, uniform, probes=probes, dtype="float64")
    online = run.probes.set_index(["epoch", "probe", "name"])["value"]
    after = gi.probe([run], probes, epochs=[10, 20, 30]).set_index(["epoch", "probe", "name"])
    assert {probe for _, probe, _ in online.index} == probes.keys()
    assert len(online) > 300
    for key, value in online.items():
        assert after.loc[key, "value"] == pytest.approx(value, rel=1e-6, abs=1e-9), key


def test_a_probe_that_would_be_refused_is_refused_before_training(tmp_path):
    refused = r"cannot record .* ntk: the tangent kernel is a formula"
    for first in (1, 25):
        with pytest.raises(ValueError, match=refused):
            train(tmp_path / "runs", gh.UniformAttention(from_epoch=first), probes={"ntk": 30})
        assert not list(tmp_path.glob("runs/*/"))
    # What begins after the end never acts.
    run = train(tmp_path / "runs", gh.UniformAttention(from_epoch=31), probes={"ntk": 30})
    assert run.metrics["ntk.relative_distance"].notna().sum() == 1


# Under each intervention, and with these weights instead, the model is the same function.


def uniform_weights(model):
    model.blocks[0].attn.W_Q.zero_()


def dead_neurons(model):
    model.blocks[0].mlp.W_in[:, :6] = 0
    model.blocks[0].mlp.b_in[:6] = 0


def silent_head(model):
    model.blocks[0].attn.W_V[1] = 0


def filtered_embedding(model):
    item = gh.FilterEmbedding((1,))
    model.embed.W_E[: TASK.p] = item._filter(model.embed.W_E[: TASK.p].clone())


EQUIVALENT = {
    "uniform": (gh.UniformAttention(), uniform_weights, {"ntk"}),
    "neurons": (gh.AblateNeurons(tuple(range(6))), dead_neurons, {"ntk", "key_frequencies"}),
    "head": (gh.AblateHead(1), silent_head, {"ntk", "ov_table"}),
    "embedding": (
        gh.FilterEmbedding((1,)),
        filtered_embedding,
        {
            *("ntk", "fourier_concentration", "embedding_spectrum", "circularity"),
            *("irrep_shares", "singular_vectors"),
        },
    ),
}
OF_WEIGHTS = {"norms", "weight_spectra", "hessian", "commutator_defect", "trajectory", "llc"}
"""They read weights, or gradients and noise of weights, which are not the same."""
NEEDS_KEYS = {"logit_formula", "restricted_loss", "excluded_loss"}


@pytest.mark.parametrize("case", EQUIVALENT)
def test_a_probe_sees_the_hooks_or_says_that_it_cannot(case):
    item, change, refusing = EQUIVALENT[case]
    start = Snapshot(perturbed_model(small_config("pre"), seed=3), TASK, seed=1)
    hooked = gh.attach(perturbed_model(small_config("pre")), [item])
    bare = perturbed_model(small_config("pre"))
    with torch.no_grad():
        change(bare)
    shots = [Snapshot(model, TASK, seed=1, others=lambda which: start) for model in (hooked, bare)]
    torch.testing.assert_close(*(shot.grid.logits for shot in shots))
    for name in sorted(PROBES.keys() - OF_WEIGHTS):
        options = {"frequencies": (1, 2)} if name in NEEDS_KEYS else {}
        if name in refusing:
            with pytest.raises(NotApplicable, match="hooks act on this model") as refusal:
                PROBES[name](shots[0], **options)
            assert "interventions=False" in str(refusal.value)
            continue
        found, expected = (PROBES[name](shot, **options) for shot in shots)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            # Scores before the softmax that does not read them, and what a dead head had.
            if (case, name) == ("uniform", "qk_table"):
                continue
            np.testing.assert_allclose(
                found[key], value, rtol=1e-6, atol=1e-9, err_msg=f"{name} {key}"
            )


def test_the_hessian_is_of_the_hooked_loss():
    hooked = gh.attach(perturbed_model(small_config("pre")), [gh.UniformAttention()])
    bare = perturbed_model(small_config("pre"))
    with torch.no_grad():
        uniform_weights(bare)
    for model in (hooked, bare):
        model.blocks[0].attn.W_Q.requires_grad_(False)
        model.blocks[0].attn.W_K.requires_grad_(False)
    found, expected = (PROBES["hessian"](Snapshot(m, TASK, seed=1)) for m in (hooked, bare))
    assert found["largest"] == pytest.approx(expected["largest"], rel=1e-3)
    assert found["trace"] == pytest.approx(expected["trace"], rel=1e-9)


MIXING = [
    gh.FrozenPattern(),
    gh.AblateHead(0, kind="mean"),
    gh.AblateNeurons((1, 2), kind="resample"),
    gh.ShuffleNorm("mlp"),
    gh.FreezeScale("mlp"),
]


@pytest.mark.parametrize("item", MIXING)
def test_what_is_of_one_example_refuses_hooks_that_mix_them(item):
    shot = Snapshot(gh.attach(perturbed_model(small_config("pre")), [item]), TASK, seed=1)
    assert shot.train.examples_mix
    assert shot.grid.examples_mix
    for name in ("gradient_symmetricity", "llc", "qk_table", "ov_table"):
        with pytest.raises(NotApplicable, match="hooks"):
            PROBES[name](shot)


def test_a_split_s_loss_is_not_that_of_another_batch():
    item = gh.AblateHead(0, kind="mean")
    shot = Snapshot(gh.attach(perturbed_model(small_config("pre")), [item]), TASK, seed=1)
    found = PROBES["restricted_loss"](shot, frequencies=(1, 2))["full"]
    logits = shot.grid.logits[:, : TASK.p]
    assert found == pytest.approx(F.cross_entropy(logits, shot.grid.labels).item())
    for probe in ("restricted_loss", "excluded_loss"):
        with pytest.raises(NotApplicable, match="the loss of the train pairs is of one example at"):
            PROBES[probe](shot, split="train", frequencies=(1, 2))


@pytest.mark.parametrize(
    "item", [gh.UniformAttention(), gh.UnitNorm("mlp"), gh.RemoveNorm("q"), gh.AblateHead(0)]
)
def test_hooks_on_each_example_alone_do_not_mix_them(item):
    shot = Snapshot(gh.attach(perturbed_model(small_config("pre")), [item]), TASK, seed=1)
    assert not shot.train.examples_mix
    assert PROBES["gradient_symmetricity"](shot)["value"] <= 1


def test_gradients_of_a_snapshot_under_interventions_are_those_of_the_update(tmp_path):
    run = train(tmp_path, gh.FrozenPattern(), eval_every=1, checkpoint_every=1, dtype="float64")
    square = sum(g.square().sum() for g in run.snapshot(3).train.gradients.values())
    norm = run.metrics.set_index("epoch").loc[4, "grad_norm"]
    assert square.sqrt().item() == pytest.approx(norm, rel=1e-9)


@pytest.mark.parametrize("placement", ["pre", "post", "peri"])
def test_attribution_sums_to_the_logit_under_hooks_or_refuses(placement):
    for item in (gh.UniformAttention(), gh.AblateHead(1), gh.AblateNeurons((0, 3))):
        model = gh.attach(perturbed_model(small_config(placement)), [item])
        found = direct_logit_attribution(Snapshot(model, TASK))
        parts = found["heads"].sum() + found["neurons"].sum() + found["direct"] + found["biases"]
        assert parts == pytest.approx(found["correct_logit"], rel=1e-9)
    model = gh.attach(perturbed_model(small_config(placement)), [gh.UnitNorm("final")])
    with pytest.raises(NotApplicable, match=r"hooks act on this model, at unembed\.hook_in"):
        direct_logit_attribution(Snapshot(model, TASK))


def test_a_hook_on_a_module_may_be_anywhere():
    model = perturbed_model(small_config("pre"))
    model.blocks[0].attn.register_forward_hook(lambda module, inputs, output: 2 * output)
    for ask in (direct_logit_attribution, lambda shot: frequency_circles(shot, [1])):
        with pytest.raises(NotApplicable, match=r"at blocks\.0\.attn; give it the bare weights"):
            ask(Snapshot(model, TASK))


def test_what_no_example_decides_does_not_mix_them():
    model = perturbed_model(small_config("pre"))
    constant = torch.ones(3, 8, dtype=torch.float64)
    shot = Snapshot(gh.attach(model, [gh.Patch("blocks.0.hook_resid_post", constant)]), TASK, 0)
    assert not shot.train.examples_mix


def test_without_the_seed_of_the_split_only_what_needs_no_split_is_measured() -> None:
    model = perturbed_model(small_config("pre"))
    shot, known = Snapshot(model, TASK), Snapshot(model, TASK, 0)
    assert shot.grid.logits.equal(known.grid.logits)
    for read in (lambda: shot.train, lambda: shot.test, lambda: PROBES["softmax_collapse"](shot)):
        with pytest.raises(NotApplicable, match=r"give it, as in gi\.Snapshot\(model, task, seed="):
            read()
    assert "not known" in shot._repr_html_()
    explicit = replace(TASK, train_pairs=tuple(TASK.split_pairs(3)[0]))
    assert Snapshot(model, explicit).train.tokens.equal(Snapshot(model, explicit, 5).train.tokens)
    noisy = replace(explicit, label_noise=0.5)
    with pytest.raises(NotApplicable, match="give it"):
        _ = Snapshot(model, noisy).train
