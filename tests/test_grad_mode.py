"""Under no_grad and inference_mode, as a notebook's first cell may switch them on: the same."""

from functools import cache

import numpy as np
import pytest
import torch
from grokinterp.hooks import AblateHead, FreezeScale, FrozenPattern, Patch, applied
from runs_cases import SMALL_RUN, same_run, with_recipe

import grokinterp as gi
from grokinterp.ablation import ablate
from grokinterp.probes import PROBES

MODES = {
    "no_grad": torch.no_grad,
    "set_grad_enabled": lambda: torch.set_grad_enabled(False),
    "inference_mode": torch.inference_mode,
}
OPTIONS = {
    "llc": {
        "step_size": 1e-3,
        "localization": 100.0,
        "chains": 2,
        "draws": 5,
        "burn_in": 2,
        "batch_size": 4,
    }
}
OF_GRADIENTS = ("commutator_defect", "gradient_symmetricity", "hessian", "llc", "ntk")
mode = pytest.fixture(params=MODES.values(), ids=MODES)(lambda request: request.param)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return gi.train([SMALL_RUN], store=tmp_path_factory.mktemp("grad") / "runs")[0]


def fresh(run):
    """Nothing of it is loaded yet."""
    return gi.Run(run.path).snapshot(20)


@pytest.fixture(scope="module")
def expected(run):
    """What a probe gives where gradients are taken, by name."""
    return cache(lambda name: PROBES[name](fresh(run), **OPTIONS.get(name, {})))


def same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


TRAINED = with_recipe(
    probes={"hessian": 10, "norms": 10},
    interventions=(AblateHead(1, "mean", from_epoch=11),),
    subtract_initial_prediction=True,
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run, and one that begins with its weights, trained where gradients are taken."""
    store = tmp_path_factory.mktemp("plain")
    [run] = gi.train([TRAINED], store=store)
    return run, *gi.train([SMALL_RUN], store=store, init=run.model(20, interventions=False))


def test_training_is_the_same_bit_for_bit(tmp_path, plain, mode):
    with mode():
        [run] = gi.train([TRAINED], store=tmp_path)
    same_run(run, plain[0])
    with mode():
        model = run.model(20, interventions=False)
    [fork] = gi.train([SMALL_RUN], store=tmp_path, init=model)
    same_run(fork, plain[1])


def test_a_mode_is_as_it_was_afterwards(tmp_path, mode):
    with mode():
        gi.train([SMALL_RUN], store=tmp_path)
        assert not torch.is_grad_enabled()
        PROBES["hessian"](fresh(gi.open_store(tmp_path).select()[0]))
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_probe_gives_the_same(run, expected, mode, name):
    options, plain = OPTIONS.get(name, {}), expected(name)
    with mode():
        same(PROBES[name](fresh(run), **options), plain)
    outside = fresh(run)
    with mode():
        same(PROBES[name](outside, **options), plain)


@pytest.mark.parametrize("name", OF_GRADIENTS)
def test_what_a_snapshot_keeps_can_be_used_where_gradients_are_taken(run, expected, mode, name):
    plain = expected(name)
    with mode():
        shot = fresh(run)
        for inputs in (shot.train, shot.test, shot.grid):
            assert inputs.logits is not None
        before = shot.train.gradients["embed.W_E"]
    same(PROBES[name](shot, **OPTIONS.get(name, {})), plain)
    assert torch.equal(before, fresh(run).train.gradients["embed.W_E"])


def test_a_model_built_there_can_be_trained(mode):
    with mode():
        model = gi.build_model(SMALL_RUN.model, SMALL_RUN.task, 0)
        pretrained = gi.load_pretrained("off")
    for one in (model, pretrained):
        one(torch.zeros(1, 3, dtype=torch.long)).sum().backward()
        assert one.W_E.grad is not None


def test_hooks_and_ablations_are_the_same(run, mode):
    expected = ablate(fresh(run), [AblateHead(1, "mean")], 1)
    with mode():
        assert ablate(fresh(run), [AblateHead(1, "mean")], 1).equals(expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda model, tokens: Patch.from_model("blocks.0.hook_mlp_out", model, tokens),
        lambda model, tokens: FrozenPattern.like(model, tokens),
        lambda model, tokens: FreezeScale.like(model, tokens, "mlp"),
    ],
)
def test_what_an_intervention_holds_can_be_used_where_gradients_are_taken(run, mode, make):
    shot = fresh(run)
    with mode():
        item = make(shot.model, shot.train.tokens)
    with applied(shot.model, [item]) as model:
        model(shot.train.tokens)[:, -1].sum().backward()
    assert shot.model.W_U.grad is not None


def test_probing_and_ablating_a_store_are_the_same(run, mode, tmp_path):
    expected = gi.probe([run], ["ntk", "norms"], again=True)
    with mode():
        found = gi.probe([run], ["ntk", "norms"], again=True)
    assert found.equals(expected)
