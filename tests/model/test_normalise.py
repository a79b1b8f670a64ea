"""A vector of zeros normalises to zeros, in the model, in the fast path and under interventions;
everything else is as torch's own functions have it."""

import grokinterp.hooks as gh
import pytest
import torch
import torch.nn.functional as F
from cases import TASK, TOKENS, perturbed_model, small_config, values_and_gradients

from grokinterp.circuits import direct_logit_attribution
from grokinterp.model.normalise import layer_norm, rms_norm
from grokinterp.snapshot import Snapshot

TORCH_S = {
    "layer": lambda x, gain, bias, eps: F.layer_norm(x, x.shape[-1:], gain, bias, eps),
    "rms": lambda x, gain, bias, eps: F.rms_norm(x, x.shape[-1:], gain, eps),
}
OURS = {
    "layer": layer_norm,
    "rms": lambda x, gain, bias, eps: rms_norm(x, gain, eps),
}


def random(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


@pytest.mark.parametrize("eps", [0.0, 1e-5])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", OURS)
def test_it_is_torch_s_bit_for_bit(norm, dtype, affine, eps):
    x = random(2, 50, 16, dtype=dtype)
    gain, bias = (random(16, dtype=dtype, seed=i) if affine else None for i in (1, 2))
    inputs = [one for one in (x, gain, bias if norm == "layer" else None) if one is not None]
    upstream = random(2, 50, 16, dtype=dtype, seed=3).detach()
    found, expected = [
        (value := of[norm](x, gain, bias, eps), *torch.autograd.grad(value, inputs, upstream))
        for of in (OURS, TORCH_S)
    ]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", OURS)
def test_zeros_become_the_bias_and_have_no_gradient(norm, dtype):
    x = random(6, 8, dtype=dtype)
    with torch.no_grad():
        x[2] = 0
    gain, bias = random(8, dtype=dtype, seed=1), random(8, dtype=dtype, seed=2)
    value = OURS[norm](x, gain, bias, 0.0)
    assert torch.equal(value[2], bias if norm == "layer" else torch.zeros_like(bias))
    upstream = random(6, 8, dtype=dtype, seed=3).detach()
    [of_x, of_gain] = torch.autograd.grad(value, [x, gain], upstream, retain_graph=True)
    assert not of_x[2].any()
    others = [0, 1, 3, 4, 5]
    alone = OURS[norm](x[others], gain, bias, 0.0)
    assert torch.equal(value[others], alone)
    expected = torch.autograd.grad(alone, [x, gain], upstream[others])
    assert torch.equal(of_x, expected[0])
    torch.testing.assert_close(of_gain, expected[1])


@pytest.mark.parametrize("norm", OURS)
def test_its_derivatives_are_its_differences(norm):
    x, gain, bias = random(3, 5), random(5, seed=1), random(5, seed=2)
    arguments = (x, gain, bias, 0.0)
    assert torch.autograd.gradcheck(OURS[norm], arguments)
    assert torch.autograd.gradgradcheck(OURS[norm], arguments)


@pytest.mark.parametrize("norm", OURS)
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_small_and_large_vectors_are_no_zeros(norm, scale):
    x = random(4, 16, dtype=torch.float32).detach()
    found = OURS[norm](scale * x, None, None, 0.0)
    torch.testing.assert_close(found, OURS[norm](x, None, None, 0.0))
    assert OURS[norm](torch.full((1, 4), torch.nan), None, None, 0.0).isnan().all()


def zeros(x, hook):
    return 0 * x


WITH_ZEROS = {
    # What is ablated, and the placements that normalise it with an eps of 0.
    "blocks.0.hook_resid_mid": ["mlp-pre", "pre"],
    "blocks.0.hook_resid_pre": ["pre", "attn-pre-qk", "peri"],
    "blocks.0.attn.hook_z": ["peri"],
}


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize(
    ("hook", "placement"), [(hook, one) for hook, places in WITH_ZEROS.items() for one in places]
)
def test_an_ablated_input_of_a_norm_leaves_its_bias(hook, placement, norm):
    model = perturbed_model(small_config(placement, norm=norm))
    with model.hooks(fwd_hooks=[(hook, zeros)]):
        logits, cache = model.run_with_cache(TOKENS)
        assert logits.isfinite().all()
        gradients = torch.autograd.grad(
            model(TOKENS).square().sum(),
            list(model.parameters()),
            allow_unused=True,
            materialize_grads=True,
        )
    assert all(gradient.isfinite().all() for gradient in gradients)
    name = {"blocks.0.hook_resid_mid": "ln2", "blocks.0.hook_resid_pre": "ln1"}.get(
        hook, "ln1_post"
    )
    norm_module = model.blocks[0].get_submodule(name)
    assert not cache[f"blocks.0.{name}.hook_scale"].any()
    assert not cache[f"blocks.0.{name}.hook_normalized"].any()
    if hook == "blocks.0.attn.hook_z" and norm == "layer":
        assert torch.equal(cache["attn_out", 0], norm_module.b.expand_as(cache["attn_out", 0]))


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("placement", ["pre", "mlp-pre", "attn-pre", "post", "peri"])
def test_the_fast_path_is_the_same_function_at_zeros(placement, norm, runs):
    """One token's row is zero, the attention writes zero, and the MLP does: every norm meets it."""
    config = small_config(placement, norm=norm, n_layers=2)
    model = perturbed_model(config)
    with torch.no_grad():
        model.pos_embed.W_pos.zero_()
        model.embed.W_E[[0, TASK.p]] = 0
        for block in model.blocks:
            block.attn.W_O.zero_()
            block.mlp.W_out.zero_()
            block.mlp.b_out.zero_()
    named = dict(model.named_parameters())
    stacked = {n: torch.stack([p.detach()] * runs).requires_grad_() for n, p in named.items()}
    tokens = torch.stack([TOKENS] * runs)
    logits = model(TOKENS)[:, -1]
    assert logits.isfinite().all()
    scale = torch.ones(runs, dtype=torch.float64)
    of_logits = torch.stack([2 * logits.detach()] * runs)  # Of the sum of squares.
    fast, _, ours = values_and_gradients(config, stacked, tokens, scale, of_logits, None)
    for run in range(runs):
        torch.testing.assert_close(fast[run], logits)
    options = {"allow_unused": True, "materialize_grads": True}
    expected = torch.autograd.grad(logits.square().sum(), list(named.values()), **options)
    for name, other in zip(named, expected, strict=True):
        for run in range(runs):
            torch.testing.assert_close(ours[name][run], other, msg=name)


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize(
    "item",
    [
        gh.UnitNorm("mlp"),
        gh.ShuffleNorm("mlp"),
        gh.InsertNorm("mlp"),
        gh.InsertNorm("mlp", norm="rms"),
        gh.DropGainAndBias("mlp"),
        gh.FreezeScale("mlp"),
        gh.CenterOnly("mlp"),
    ],
    ids=str,
)
@pytest.mark.parametrize("which", ["all", "one"])
def test_an_intervention_leaves_zeros_zero(item, norm, which):
    model = perturbed_model(small_config("mlp-pre", norm=norm))
    rows = slice(None) if which == "all" else slice(3, 4)

    def some_zeros(x, hook):
        return x.index_fill(0, torch.arange(len(x))[rows], 0)

    seen = []
    silent = [("blocks.0.hook_resid_mid", some_zeros)]
    if not hasattr(item, "_rebuilder"):  # It works on what the norm gives, its bias included.
        silent.append(("blocks.0.mlp.hook_in", some_zeros))
    look = [("blocks.0.mlp.hook_in", lambda x, hook: seen.append(x))]
    with model.hooks(fwd_hooks=[*silent, *item.hooks(model), *look]):
        logits = model(TOKENS)
        gradients = torch.autograd.grad(
            logits.square().sum(),
            list(model.parameters()),
            allow_unused=True,
            materialize_grads=True,
        )
    assert logits.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)
    bias = model.blocks[0].ln2.b if norm == "layer" and isinstance(item, gh.FreezeScale) else 0
    assert torch.equal(seen[0][rows], torch.zeros_like(seen[0][rows]) + bias)
    if which == "one":
        assert seen[0][:3].abs().min() > 0


def test_an_attribution_through_a_norm_of_zeros_still_sums():
    model = perturbed_model(small_config("peri"))
    with torch.no_grad():
        model.blocks[0].attn.W_O.zero_()
    found = direct_logit_attribution(Snapshot(model, TASK))
    parts = found["heads"].sum() + found["neurons"].sum() + found["direct"] + found["biases"]
    assert not found["heads"].any()
    assert parts == pytest.approx(found["correct_logit"], rel=1e-9)
