"""Each hook point holds what it says, in every placement."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from cases import EVERY_PLACEMENT, TOKENS, perturbed_model, small_config
from torch import Tensor

from grokinterp.model.transformer import PlacedTransformer

every_model = pytest.mark.parametrize(
    "config",
    [small_config(name, norm=norm) for name in EVERY_PLACEMENT for norm in ("layer", "rms")],
    ids=lambda config: f"{config.placement}-{config.norm}",
)


def expected_norm(model: PlacedTransformer, name: str, x: Tensor) -> Tensor:
    """The norm of x, written out."""
    norm = model.blocks[0].get_submodule(name)
    if hasattr(norm, "b"):
        x = x - x.mean(-1, keepdim=True)
    x = x / (x.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.w
    return x + norm.b if hasattr(norm, "b") else x


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@every_model
def test_each_pathway_reads_the_residual_stream_or_its_norm(config) -> None:
    model = perturbed_model(config)
    _, cache = model.run_with_cache(TOKENS)
    x, y = cache["resid_pre", 0], cache["resid_mid", 0]
    for pathway in "qkv":
        normed = getattr(config.ln, pathway)
        close(
            cache[f"blocks.0.attn.hook_{pathway}_in"],
            expected_norm(model, "ln1", x) if normed else x,
        )
    close(cache["blocks.0.mlp.hook_in"], expected_norm(model, "ln2", y) if config.ln.mlp else y)
    close(cache["unembed.hook_in"], cache["resid_post", 0])


@every_model
def test_each_input_hook_holds_what_its_weights_multiply(config) -> None:
    model = perturbed_model(config)
    logits, cache = model.run_with_cache(TOKENS)
    for pathway in "qkv":
        weights = getattr(model.blocks[0].attn, f"W_{pathway.upper()}")
        x = cache[f"blocks.0.attn.hook_{pathway}_in"]
        close(cache[pathway, 0], torch.einsum("bpm,hmd->bphd", x, weights))
    mlp = model.blocks[0].mlp
    close(cache["pre", 0], cache["blocks.0.mlp.hook_in"] @ mlp.W_in + mlp.b_in)
    close(logits, cache["unembed.hook_in"] @ model.W_U)


@every_model
def test_what_is_added_to_the_residual(config) -> None:
    model = perturbed_model(config)
    _, cache = model.run_with_cache(TOKENS)
    attn = torch.einsum("bphd,hdm->bpm", cache["z", 0], model.blocks[0].attn.W_O)
    mlp = cache["post", 0] @ model.blocks[0].mlp.W_out + model.blocks[0].mlp.b_out
    if config.placement == "peri":
        attn, mlp = expected_norm(model, "ln1_post", attn), expected_norm(model, "ln2_post", mlp)
    close(cache["attn_out", 0], attn)
    close(cache["mlp_out", 0], mlp)
    mid, post = cache["resid_pre", 0] + attn, cache["resid_mid", 0] + mlp
    if config.placement == "post":
        mid, post = expected_norm(model, "ln1", mid), expected_norm(model, "ln2", post)
    close(cache["resid_mid", 0], mid)
    close(cache["resid_post", 0], post)


@every_model
def test_each_of_these_hooks_fires_once_and_can_be_edited(config) -> None:
    model = perturbed_model(config)
    inputs = ["attn.hook_q_in", "attn.hook_k_in", "attn.hook_v_in", "mlp.hook_in"]
    norms = [
        f"{ln}.{hook}" for ln in config.ln.norm_names for hook in ("hook_scale", "hook_normalized")
    ]
    names = [f"blocks.0.{name}" for name in (*inputs, *norms)] + ["unembed.hook_in"]
    # No other norm has a hook: an unused one would fire, or be a parameter too many.
    assert {name for name in model.hook_dict if ".ln" in name} == {f"blocks.0.{n}" for n in norms}
    fired: Counter[str] = Counter()
    count = [(name, lambda x, hook: fired.update([hook.name])) for name in names]
    logits = model.run_with_hooks(TOKENS, fwd_hooks=count)
    assert fired == dict.fromkeys(names, 1)

    def stretch(x: Tensor, hook) -> Tensor:
        # Not by one factor: a norm behind the hook would take it out again.
        return x * torch.linspace(0.5, 1.5, x.shape[-1], dtype=x.dtype)

    for name in names:
        edited = model.run_with_hooks(TOKENS, fwd_hooks=[(name, stretch)])
        assert (edited - logits)[:, -1].abs().max() > 1e-6, name


def test_gated_mlp_hooks() -> None:
    model = perturbed_model(small_config("mlp-pre", gated_mlp=True))
    _, cache = model.run_with_cache(TOKENS)
    mlp, x = model.blocks[0].mlp, cache["blocks.0.mlp.hook_in"]
    gate, linear = x @ mlp.W_gate + mlp.b_gate, x @ mlp.W_in + mlp.b_in
    close(cache["pre", 0], gate)
    close(cache["pre_linear", 0], linear)
    close(cache["post", 0], linear * F.silu(gate))


@pytest.mark.parametrize("final_norm", ["learned", "center-only"])
@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_the_readout_hook_is_after_the_final_norm(final_norm: str, norm: str) -> None:
    model = perturbed_model(small_config("off", final_norm=final_norm, norm=norm))
    logits, cache = model.run_with_cache(TOKENS)
    x = cache["resid_post", 0]
    x = x - x.mean(-1, keepdim=True) if norm == "layer" else x
    x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    if final_norm == "learned":
        x = x * model.ln_final.w
        x = x + model.ln_final.b if norm == "layer" else x
    close(cache["unembed.hook_in"], x)
    close(logits, x @ model.W_U)


def test_readout_scale_multiplies_the_logits() -> None:
    one, half = (
        perturbed_model(small_config("off", readout_scale=alpha))(TOKENS) for alpha in (1.0, 0.5)
    )
    close(half, 0.5 * one)


@pytest.mark.parametrize("placement", EVERY_PLACEMENT)
def test_attention_has_no_mask(placement: str) -> None:
    _, cache = perturbed_model(small_config(placement, n_layers=2)).run_with_cache(TOKENS)
    for layer in range(2):
        assert (cache["pattern", layer] > 0).all()
