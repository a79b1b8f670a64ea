"""A TransformerBridge in a Snapshot: what its hooks say is right, or they are refused by name.

Its native models are of TransformerLens 4.
"""

import warnings

import grokinterp.hooks as gh
import numpy as np
import pytest
import torch
from grokinterp.hooks.bridge import untrue_hooks
from lens import HookedTransformer

import grokinterp as gi
from grokinterp.model.shape import ModelShape
from grokinterp.model.transformer import PlacedTransformer
from grokinterp.snapshot import NotApplicable, Snapshot

if HookedTransformer is None:  # TransformerLens 4
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

TASK = gi.ModularTask(7)
TOKENS = TASK.encode(TASK.pairs())[0]
SIZES = {"n_layers": 1, "d_model": 16, "d_head": 8, "n_heads": 2, "n_ctx": 3, "d_mlp": 32}
SIZES |= {"d_vocab": 8, "d_vocab_out": 8, "normalization_type": None}


@pytest.fixture
def ours():
    model = PlacedTransformer(ModelShape(**SIZES, device="cpu", dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.normal_(0, 0.4, generator=generator)
    model.requires_grad_(False)
    model.task = TASK
    return model


TRUE = ["hook_resid_post", "hook_mlp_out", "mlp.hook_pre", "hook_resid_mid", "hook_attn_out"]
TRUE += ["attn.hook_z", "attn.hook_attn_scores"]


@pytest.mark.parametrize("hook", TRUE)
def test_a_hook_that_holds_something_else_is_named(ours, hook):
    logits, cache = ours.run_with_cache(TOKENS)
    said = dict(cache.cache_dict)
    assert untrue_hooks(ours, said, logits) == []
    name = f"blocks.0.{hook}"
    said[name] = said[name].roll(1, 0)
    assert name in untrue_hooks(ours, said, logits)


def test_a_readout_of_other_logits_is_named(ours):
    logits, cache = ours.run_with_cache(TOKENS)
    assert untrue_hooks(ours, cache.cache_dict, 2 * logits) == ["unembed.hook_in"]


if HookedTransformer is None:

    @pytest.fixture
    def bridge(ours):
        """The same weights in TransformerLens' native model."""
        cfg = TransformerBridgeConfig(
            **SIZES, act_fn="relu", attention_dir="bidirectional", seed=0, dtype=torch.float64
        )
        bridge = TransformerBridge.boot_native(cfg).to(torch.float64)
        attn, mlp = bridge.blocks[0].attn, bridge.blocks[0].mlp
        with torch.no_grad():
            for name in ("W_E", "W_pos", "W_U"):
                getattr(bridge, name).copy_(getattr(ours, name))
            for name in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O"):
                getattr(attn, name).copy_(getattr(ours.blocks[0].attn, name))
            for name in ("W_in", "b_in", "W_out", "b_out"):
                getattr(mlp, name).copy_(getattr(ours.blocks[0].mlp, name))
            ours.unembed.b_U.zero_()
        torch.testing.assert_close(bridge(TOKENS), ours(TOKENS))
        return bridge

    def snapshot(model):
        return Snapshot(model, TASK, seed=0, others=lambda which: Snapshot(model, TASK, seed=0))

    # These are of all trainable parameters, of which a bridge has others.
    OF_PARAMETERS = {"norms", "hessian", "commutator_defect", "trajectory", "llc", "ntk"}

    def test_every_probe_is_as_of_our_model_or_names_the_hook(bridge, ours):
        ours.requires_grad_(True)
        probes = [*gi.PROBES.keys() - OF_PARAMETERS]
        theirs, expected = (gi.measure(snapshot(model), probes) for model in (bridge, ours))
        assert theirs.inapplicable == {"qk_table"}
        said = "blocks.0.attn.hook_attn_scores of this TransformerBridge does not hold"
        assert said in theirs.failures["qk_table"]
        for key, value in expected.scalars.items():
            if key[0] != "qk_table":
                np.testing.assert_allclose(theirs.scalars[key], value, rtol=1e-6, atol=1e-9)

    @pytest.mark.parametrize(
        "item",
        [gh.UniformAttention(), gh.UnitNorm("mlp"), gh.AblateHead(1), gh.AblateNeurons((1, 2))],
        ids=lambda item: type(item).__name__,
    )
    def test_an_intervention_acts_as_on_our_model(bridge, ours, item):
        before = bridge(TOKENS)
        with gh.applied(bridge, [item]), gh.applied(ours, [item]):
            torch.testing.assert_close(bridge(TOKENS), ours(TOKENS))
            assert not torch.allclose(bridge(TOKENS), before)

    def test_an_edit_that_is_discarded_is_refused(bridge):
        with (
            warnings.catch_warnings(action="ignore"),
            pytest.raises(
                ValueError, match=r"edit at blocks\.0\.attn\.hook_attn_scores .* is disc"
            ),
        ):
            gh.attach(bridge, [gh.Temperature(2.0)])

    def test_an_edit_of_something_else_is_refused(bridge):
        patch = gh.Patch("blocks.0.hook_resid_mid", torch.zeros(3, 16))
        with pytest.raises(ValueError, match=r"blocks\.0\.hook_resid_post stays as it was"):
            gh.attach(bridge, [patch])

    def test_a_hook_that_is_not_there_is_named(bridge):
        with pytest.raises(ValueError, match=r"has no hook 'blocks\.0\.attn\.hook_q_in'"):
            gh.attach(bridge, [gh.UnitNorm("q")])

    def test_what_transformer_lens_attached_is_no_intervention(bridge):
        assert gi.PROBES["circularity"](snapshot(bridge))["value"] > 0
        with (
            bridge.hooks(fwd_hooks=[("hook_embed", lambda x, hook: 2 * x)]),
            pytest.raises(NotApplicable, match="hooks act on this model"),
        ):
            gi.PROBES["circularity"](snapshot(bridge))

    @pytest.mark.parametrize("normalization", [None, "LN", "RMS"])
    @pytest.mark.parametrize("gated", [False, True])
    def test_bridges_of_other_parts_are_read(normalization, gated):
        sizes = SIZES | {"normalization_type": normalization, "gated_mlp": gated, "n_layers": 2}
        cfg = TransformerBridgeConfig(**sizes, act_fn="silu", attention_dir="causal", seed=0)
        bridge = TransformerBridge.boot_native(cfg)
        untrue = snapshot(bridge).grid.cache.untrue
        assert untrue == [f"blocks.{layer}.attn.hook_attn_scores" for layer in range(2)]
