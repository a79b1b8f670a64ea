import doctest
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cases import LABELS, TOKENS, perturbed_model, small_config
from grokinterp.hooks import Patch, applied, axes, patching_table
from grokinterp.hooks.axes import sizes_of
from grokinterp.hooks.model_checks import SWITCHED
from torch import Tensor

MID, POST, Z = "blocks.0.hook_resid_mid", "blocks.0.mlp.hook_post", "blocks.0.attn.hook_z"
PATTERN, OUT = "blocks.0.attn.hook_pattern", "unembed.hook_out"
OTHER = TOKENS.flip(0)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-12)


def loss(logits: Tensor) -> Tensor:
    return F.cross_entropy(logits, LABELS)


def model_of(placement: str = "pre", seed: int = 0, **options):
    return perturbed_model(small_config(placement, **options), seed)


@pytest.mark.parametrize("gated_mlp", [False, True])
@pytest.mark.parametrize("placement", ["off", "pre", "post", "peri"])
def test_the_axes_of_every_hook_are_known(placement: str, gated_mlp: bool) -> None:
    model = model_of(placement, n_layers=2, final_norm="learned", gated_mlp=gated_mlp)
    _, cache = model.run_with_cache(TOKENS)
    assert len(cache) > 30
    for name, value in cache.items():
        assert [*value.shape] == [25, *sizes_of(model, name).values()], name


def test_docstring_example_of_the_axes() -> None:
    assert doctest.testmod(axes) == (0, 1)


def test_a_patch_of_the_whole_residual_stream_is_the_other_run() -> None:
    model = model_of()
    for hook in (MID, "hook_embed", "blocks.0.hook_resid_post", OUT):
        with applied(model, [Patch.from_model(hook, model, OTHER)]):
            patched = model(TOKENS)
        assert torch.equal(patched, model(OTHER))
    intact = model(TOKENS)
    # Negative control: its own activation changes nothing, bit for bit.
    for hook in model.run_with_cache(TOKENS)[1]:
        with applied(model, [Patch.from_model(hook, model, TOKENS)]):
            assert torch.equal(model(TOKENS), intact)


@pytest.mark.parametrize("source", ["another input", "another checkpoint", "another placement"])
def test_what_is_chosen_is_replaced_and_the_rest_stays(source: str) -> None:
    model = model_of()
    other, inputs = {
        "another input": (model, OTHER),
        "another checkpoint": (model_of(seed=4), TOKENS),
        "another placement": (model_of("off", seed=4), TOKENS),
    }[source]
    _, before = model.run_with_cache(TOKENS)
    _, theirs = other.run_with_cache(inputs)
    where = {
        (MID, (("positions", (0, 2)),)): (slice(None), [0, 2]),
        (Z, (("heads", (1,)),)): (slice(None), slice(None), 1),
        (Z, (("heads", (1,)), ("positions", (-1,)))): (slice(None), 2, 1),
        (PATTERN, (("heads", (0,)), ("positions", (2,)))): (slice(None), 0, 2),
        (POST, (("neurons", (3, 5)),)): (slice(None), slice(None), [3, 5]),
    }
    for (hook, chosen), index in where.items():
        expected = before[hook].clone()
        expected[index] = theirs[hook][index]
        patch = Patch.from_model(hook, other, inputs, **dict(chosen))
        with applied(model, [patch]):
            _, after = model.run_with_cache(TOKENS)
        assert torch.equal(after[hook], expected)
        assert not torch.equal(after[hook], before[hook])


def test_a_source_without_a_batch_goes_to_every_example() -> None:
    model = model_of()
    mean = model.run_with_cache(TOKENS)[1][POST].mean(0)
    for source in (mean, mean[None]):
        with applied(model, [Patch(POST, source)]):
            _, after = model.run_with_cache(TOKENS[:7])
        assert torch.equal(after[POST], mean.expand(7, 3, 12))


def test_gradients_flow_through_what_is_left_and_into_a_source_that_wants_them() -> None:
    model = model_of("off")
    source = torch.zeros(3, 8, dtype=torch.float64, requires_grad=True)
    with applied(model, [Patch(MID, source)]):
        value = loss(model(TOKENS)[:, -1])
        given, embedding = torch.autograd.grad(value, [source, model.W_E])
    # The mask keeps the embedding in the graph, with no effect.
    assert bool((embedding == 0).all())
    assert given[2].norm() > 1e-6
    assert bool((given[:2] == 0).all())
    assert Patch.from_model(MID, model, TOKENS).source.tensor.requires_grad is False


def test_patches_compose_in_their_order() -> None:
    model = model_of()
    ones, twos = (torch.full((3, 8), value, dtype=torch.float64) for value in (1.0, 2.0))
    with applied(model, [Patch(MID, ones), Patch(MID, twos, positions=(1,))]):
        _, after = model.run_with_cache(TOKENS)
    assert torch.equal(after[MID][:, :, 0], torch.tensor([1.0, 2.0, 1.0]).double().expand(25, 3))


def test_the_table_is_the_metric_of_each_patch() -> None:
    model, other, off = model_of(), model_of(seed=4), model_of("off", seed=2)
    sources = {"epoch 100": other, "off": off, "other input": (model, OTHER), "itself": model}
    hooks = ["hook_embed", MID, POST, "blocks.0.hook_resid_post", OUT]
    table = patching_table(model, sources, hooks, TOKENS, loss)
    assert [*table.index] == hooks
    assert [*table.columns] == [*sources]
    assert (table.index.name, table.columns.name) == ("hook", "source")
    assert table.to_numpy().dtype == float
    for label, source in sources.items():
        run, inputs = source if isinstance(source, tuple) else (source, TOKENS)
        for hook in hooks:
            with applied(model, [Patch.from_model(hook, run, inputs)]):
                assert table.loc[hook, label] == loss(model(TOKENS)[:, -1]).item()
    # Closed forms: the logits of the source, its own, and the readout of the source's residual.
    assert table.loc[OUT, "off"] == loss(off(TOKENS)[:, -1]).item()
    assert set(table["itself"]) == {loss(model(TOKENS)[:, -1]).item()}
    residual = other.run_with_cache(TOKENS)[1]["resid_post", 0]
    expected = loss((residual @ model.W_U)[:, -1]).item()
    assert table.loc["blocks.0.hook_resid_post", "epoch 100"] == pytest.approx(expected, rel=1e-12)
    last = patching_table(model, {"off": off}, [MID], TOKENS, loss, positions=[-1])
    first = patching_table(model, {"off": off}, [MID], TOKENS, loss, positions=[0])
    assert last.loc[MID, "off"] == table.loc[MID, "off"]
    assert first.loc[MID, "off"] == table.loc[MID, "itself"]
    assert model.list_hooks() == other.list_hooks() == {}


def test_a_table_runs_each_source_once_and_each_cell_once() -> None:
    model, other = model_of(), model_of(seed=4)
    passes = []
    for each in (model, other):
        each.register_forward_hook(lambda module, *_: passes.append(module))
    patching_table(model, {"a": other, "b": (model, OTHER)}, [MID, POST, Z], TOKENS, loss)
    assert passes.count(other) == 1
    assert passes.count(model) == 1 + 6


def test_a_hook_that_one_of_them_has_not() -> None:
    model, off = model_of(), model_of("off")
    with pytest.raises(ValueError, match=r"source 'off': .*no hook 'blocks.0.ln2.hook_scale'"):
        patching_table(model, {"off": off}, ["blocks.0.ln2.hook_scale"], TOKENS, loss)
    with pytest.raises(ValueError, match=r"^the model has no hook 'hook_embd'; close .*hook_embed"):
        patching_table(model, {"off": off}, ["hook_embd"], TOKENS, loss)
    with pytest.raises(ValueError, match=r"no hook 'hook_embd'; close ones: hook_embed"):
        Patch.from_model("hook_embd", model, TOKENS)
    assert model.list_hooks() == off.list_hooks() == {}


def test_a_source_that_does_not_fit_is_named() -> None:
    model, wider = model_of(), perturbed_model(replace(small_config("pre"), d_model=12))
    with pytest.raises(ValueError, match=r"source 'wider': .* d_model 8\], and the source is"):
        patching_table(model, {"wider": wider}, [MID], TOKENS, loss)
    assert model.list_hooks() == {}


def test_one_hook_and_one_index_are_a_list_of_them() -> None:
    model, other = model_of(), model_of(seed=4)
    one = patching_table(model, {"other": other}, Z, TOKENS, loss, heads=1)
    assert one.equals(patching_table(model, {"other": other}, [Z], TOKENS, loss, heads=(1,)))
    assert Patch.from_model(Z, model, TOKENS, heads=1).heads == (1,)


@pytest.mark.parametrize(
    ("hook", "setting"),
    [
        ("blocks.0.attn.hook_result", "attn_result"),
        ("blocks.0.hook_attn_in", "attn_in"),
        ("blocks.0.hook_q_input", "split_qkv_input"),
        ("blocks.0.hook_mlp_in", "hook_mlp_in"),
    ],
)
def test_a_hook_that_no_pass_goes_through_is_refused_until_it_is_set(
    hook: str, setting: str
) -> None:
    model = model_of()
    said = rf"no pass goes through '{hook}' .* call model.set_use_{setting}\(True\) first"
    with pytest.raises(ValueError, match=said):
        Patch.from_model(hook, model, TOKENS)
    intact = model(TOKENS)
    getattr(model, f"set_use_{setting}")(True)
    patch = Patch.from_model(hook, model, TOKENS)
    zeros = Patch(hook, torch.zeros_like(patch.source.tensor))
    with applied(model, [patch]):
        torch.testing.assert_close(model(TOKENS), intact)
    with applied(model, [zeros]):
        assert not torch.allclose(model(TOKENS), intact)


def test_the_hooks_that_a_setting_switches_are_all_that_do_not_fire() -> None:
    model = model_of()
    silent = {*model.hook_dict} - {*model.run_with_cache(TOKENS)[1]}
    assert silent == {name for name in model.hook_dict if name.endswith(tuple(SWITCHED))}


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        (
            lambda: Patch(MID, torch.zeros(25, 3, 9)),
            r"is \[batch, pos 3, d_model 8\], and the source is \[25, 3, 9\]",
        ),
        (lambda: Patch(MID, torch.zeros(8)), r"the source is \[8\]"),
        (lambda: Patch(MID, torch.zeros(1, 25, 3, 8)), r"the source is \[1, 25, 3, 8\]"),
        (lambda: Patch("blocks.1.hook_resid_mid", torch.zeros(3, 8)), "the model has no hook"),
        (lambda: Patch(MID, torch.zeros(3, 8), positions=(3,)), "position 3 is not there"),
        (lambda: Patch(Z, torch.zeros(3, 2, 4), heads=(7,)), "head 7 is not there.*has 2 heads"),
        (lambda: Patch(POST, torch.zeros(3, 12), neurons=(12,)), "neuron 12 is not there"),
    ],
)
def test_what_does_not_fit_the_model(patch, said: str) -> None:
    model = model_of()
    with pytest.raises(ValueError, match=said), applied(model, [patch()]):
        pass
    assert model.list_hooks() == {}


def test_a_pass_of_other_examples_than_the_source() -> None:
    model = model_of()
    intact = model(TOKENS)
    with (
        pytest.raises(ValueError, match=r"is \[25, 3, 8\]; .* this pass is \[4, 3, 8\]"),
        applied(model, [Patch.from_model(MID, model, TOKENS)]),
    ):
        model(TOKENS[:4])
    assert model.list_hooks() == {}
    assert torch.equal(model(TOKENS), intact)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Patch(MID, 3.0), r"source must be a tensor; got 3.0. Patch.from_model\("),
        (lambda: Patch(3, torch.zeros(1)), "hook must be a name"),
        (
            lambda: Patch(MID, torch.zeros(3, 8), heads=(0,)),
            r"hook_resid_mid is \[batch, pos, d_model\]: it has no heads to choose",
        ),
        (lambda: Patch(Z, torch.zeros(3, 2, 4), neurons=(0,)), "has no neurons to choose"),
        (lambda: Patch(MID, torch.zeros(3, 8), positions=(-2,)), "at least -1; got -2"),
    ],
)
def test_arguments_that_make_no_sense(unchecked, make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_patches_compare_by_what_they_hold() -> None:
    one, same, other = (Patch(MID, torch.full((3, 8), value)) for value in (1.0, 1.0, 2.0))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != Patch(MID, torch.ones(3, 8, dtype=torch.float64))
    assert "Held([3, 8], " in repr(one)
